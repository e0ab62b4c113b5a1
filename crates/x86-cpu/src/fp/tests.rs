//! Properties that hold by themselves; what the host's processor does is compared in `tests/cpu-diff`.

use super::bcd;
use super::compare::{Nans, Relation, compare};
use super::convert::{f80_from_signed, to_signed};
use super::env::{Env, Rounding, flag};
use super::raw::{F80, Raw};
use super::rem::{Kind, Progress, remainder};
use super::scalar;
use super::trans;

fn masked() -> Env {
    Env::from_mxcsr(0x1f80)
}

fn numbers() -> Vec<f64> {
    let mut numbers = vec![
        0.0,
        1.0,
        1.5,
        f64::MIN_POSITIVE,
        5e-324,
        1e308,
        0.1,
        3.0,
        1e-310,
    ];
    let mut state = 1_u64;
    for _ in 0..60 {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        numbers.push(f64::from_bits(state & 0x7fef_ffff_ffff_ffff));
    }
    numbers.extend(numbers.clone().iter().map(|x| -x));
    numbers
}

#[test]
fn exact_path_agrees_with_the_host_in_round_to_nearest() {
    for a in numbers() {
        for b in numbers() {
            let env = &mut masked();
            let (x, y) = (a.to_bits(), b.to_bits());
            let check = |ours: u64, host: f64| {
                assert!(ours == host.to_bits() || host.is_nan(), "{a:e} {b:e}");
            };
            check(scalar::add(env, x, y), a + b);
            check(scalar::sub(env, x, y), a - b);
            check(scalar::mul(env, x, y), a * b);
            check(scalar::div(env, x, y), a / b);
            check(scalar::fma(env, x, y, x, (false, false)), a.mul_add(b, a));
            check(scalar::sqrt(env, x), a.sqrt());
            let single = scalar::convert::<u64, u32>(env, x);
            let back: u64 = scalar::convert::<u32, u64>(env, single);
            let lost = (f64::from_bits(back) - a).abs();
            assert!(
                !lost.is_finite() || lost <= a.abs() / 16_777_216.0 || a.abs() < 1e-37,
                "{a:e}"
            );
        }
    }
}

#[test]
fn a_third_raises_precision_and_rounds_by_mode() {
    let third = |rounding| {
        let mut env = Env {
            rounding,
            ..masked()
        };
        let result = scalar::div(&mut env, 1_f64.to_bits(), 3_f64.to_bits());
        assert_eq!(env.flags, flag::PRECISION);
        result
    };
    assert_eq!(third(Rounding::Up), third(Rounding::Down) + 1);
    assert_eq!(third(Rounding::Zero), third(Rounding::Down));
}

#[test]
fn a_result_that_rounds_up_to_the_smallest_normal_is_not_tiny() {
    let convert = |x: f64| {
        let mut env = masked();
        let single = scalar::convert::<u64, u32>(&mut env, x.to_bits());
        (single, env.flags)
    };
    let smallest = f64::from(f32::MIN_POSITIVE);
    let bits = f32::MIN_POSITIVE.to_bits();
    let below = smallest * (1.0 - 2_f64.powi(-30));
    assert_eq!(convert(below), (bits, flag::PRECISION));
    let further = smallest * (1.0 - 2_f64.powi(-24));
    assert_eq!(convert(further), (bits, flag::PRECISION | flag::UNDERFLOW));
}

#[test]
fn decimal_survives_the_way_through_a_register() {
    let mut env = Env::from_control_word(0x37f);
    for value in [
        0,
        1,
        -1,
        42,
        -999_999_999_999_999_999,
        123_456_789_012_345_678,
    ] {
        let bytes = bcd::store(&mut env, f80_from_signed(value));
        let back = bcd::load(bytes);
        assert_eq!(
            to_signed(&mut env, Rounding::Nearest, F80, back, 64),
            Some(value)
        );
    }
    assert_eq!(
        bcd::store(&mut env, f80_from_signed(i64::MAX)),
        bcd::INDEFINITE
    );
}

#[test]
fn remainder_comes_in_steps_when_the_exponents_are_far_apart() {
    let mut env = Env::from_control_word(0x37f);
    let ten_to = |n: u32| {
        let mut value = f80_from_signed(1);
        for _ in 0..n {
            value = super::arith::mul(
                &mut Env::from_control_word(0x37f),
                F80,
                F80,
                value,
                f80_from_signed(10),
            );
        }
        value
    };
    let mut a = ten_to(25);
    let seven = f80_from_signed(7);
    let mut steps = 0;
    while let result = remainder(&mut env, a, seven, Kind::Truncated)
        && result.progress == Progress::Partial
    {
        a = result.value;
        steps += 1;
    }
    assert_eq!(steps, 1);
    let last = remainder(&mut env, a, seven, Kind::Truncated).value;
    // 10^25 modulo 7 is 3.
    assert_eq!(
        compare(&mut env, F80, last, f80_from_signed(3), Nans::Quiet),
        Relation::Equal
    );
}

#[test]
fn transcendental_functions_agree_with_the_library_to_its_precision() {
    let value = |w: super::wide::Wide| {
        let mut env = Env::from_control_word(0x37f);
        let raw = super::round::round(&mut env, super::raw::F64, w.0);
        f64::from_bits(raw.to_f64())
    };
    let near = |ours: f64, library: f64| {
        assert!(
            (ours - library).abs() <= library.abs() * 1e-14,
            "{ours} {library}"
        );
    };
    for i in 1..200 {
        let x = f64::from(i) * 0.037;
        let finite = Raw::from_f64(x.to_bits()).finite(super::raw::F64);
        let (s, c) = trans::sine_cosine(finite);
        near(value(s), x.sin());
        near(value(c), x.cos());
        near(value(trans::logarithm(finite)), x.log2());
        near(
            value(trans::angle(
                finite,
                Raw::from_f64(2_f64.to_bits()).finite(super::raw::F64),
            )),
            x.atan2(2.0),
        );
    }
}
