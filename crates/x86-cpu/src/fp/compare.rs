//! Comparing, and the minimum and maximum of SSE.

use super::env::{Env, flag};
use super::raw::{Class, Format, Raw, note_denormal};

/// How two numbers stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// a < b.
    Less,
    /// a = b.
    Equal,
    /// a > b.
    Greater,
    /// One of them is a NaN.
    Unordered,
}

/// Whether a quiet NaN is an invalid operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nans {
    /// Only signalling NaNs are invalid.
    Quiet,
    /// Every NaN is invalid.
    Signal,
}

/// Compares.
pub fn compare(env: &mut Env, format: Format, a: Raw, b: Raw, nans: Nans) -> Relation {
    let (a, b) = (a.flushed(env), b.flushed(env));
    let classes = [a.class(format), b.class(format)];
    let invalid = |c: &Class| match c {
        Class::Signalling | Class::Unsupported => true,
        Class::Quiet => nans == Nans::Signal,
        _ => false,
    };
    if classes.iter().any(invalid) {
        env.raise(flag::INVALID);
        return Relation::Unordered;
    }
    if classes.contains(&Class::Quiet) {
        return Relation::Unordered;
    }
    note_denormal(env, format, &[a, b]);
    order(a, b)
}

/// The order of two numbers, none of which is a NaN.
fn order(a: Raw, b: Raw) -> Relation {
    if a.sig == 0 && b.sig == 0 {
        return Relation::Equal;
    }
    let key = |x: Raw| (x.exp.max(1), x.sig);
    let magnitude = match key(a).cmp(&key(b)) {
        _ if a.sign != b.sign => std::cmp::Ordering::Greater,
        ordering => ordering,
    };
    match (magnitude, a.sign) {
        (std::cmp::Ordering::Equal, _) => Relation::Equal,
        (std::cmp::Ordering::Less, false) | (std::cmp::Ordering::Greater, true) => Relation::Less,
        _ => Relation::Greater,
    }
}

/// MIN: the second operand unless the first is less. (Also when one is a NaN or both are zero.)
pub fn min(env: &mut Env, format: Format, a: Raw, b: Raw) -> Raw {
    pick(env, format, a, b, Relation::Less)
}

/// MAX: the second operand unless the first is greater.
pub fn max(env: &mut Env, format: Format, a: Raw, b: Raw) -> Raw {
    pick(env, format, a, b, Relation::Greater)
}

fn pick(env: &mut Env, format: Format, a: Raw, b: Raw, first_when: Relation) -> Raw {
    let (a, b) = (a.flushed(env), b.flushed(env));
    if compare(env, format, a, b, Nans::Signal) == first_when {
        a
    } else {
        b
    }
}

/// The predicates of CMPPS and VCMPPS (five bits of the immediate).
pub fn predicate(env: &mut Env, format: Format, a: Raw, b: Raw, number: u8) -> bool {
    let number = number & 31;
    // Bit 4 turns the rule about quiet NaNs round.
    let signals = matches!(number & 15, 1 | 2 | 5 | 6 | 9 | 10 | 13 | 14);
    let nans = if signals != (number & 16 != 0) {
        Nans::Signal
    } else {
        Nans::Quiet
    };
    let relation = compare(env, format, a, b, nans);
    let (less, equal) = (relation == Relation::Less, relation == Relation::Equal);
    let unordered = relation == Relation::Unordered;
    match number & 15 {
        0 => equal,
        1 => less,
        2 => less || equal,
        3 => unordered,
        4 => !equal,
        5 => !less,
        6 => !(less || equal),
        7 => !unordered,
        8 => equal || unordered,
        9 => less || unordered,
        10 => less || equal || unordered,
        11 => false,
        12 => !equal && !unordered,
        13 => !less && !unordered,
        14 => relation == Relation::Greater,
        _ => true,
    }
}
