//! 128 bits as lanes of one width. Lane zero is the lowest.

/// Lanes of a fixed width.
pub trait Lanes: Copy {
    /// 128 bits of lanes.
    type All: AsRef<[Self]> + AsMut<[Self]> + Copy;
    /// Takes apart.
    fn split(value: u128) -> Self::All;
    /// Puts together.
    fn join(lanes: Self::All) -> u128;
}

macro_rules! lanes {
    ($lane:ty, $count:literal, $size:literal) => {
        impl Lanes for $lane {
            type All = [$lane; $count];
            #[inline]
            fn split(value: u128) -> Self::All {
                let bytes = value.to_le_bytes();
                std::array::from_fn(|lane| {
                    <$lane>::from_le_bytes(std::array::from_fn(|byte| bytes[lane * $size + byte]))
                })
            }
            #[inline]
            fn join(lanes: Self::All) -> u128 {
                let mut bytes = [0; 16];
                for (into, lane) in bytes.chunks_exact_mut($size).zip(lanes) {
                    into.copy_from_slice(&lane.to_le_bytes());
                }
                u128::from_le_bytes(bytes)
            }
        }
    };
}

lanes!(u8, 16, 1);
lanes!(i8, 16, 1);
lanes!(u16, 8, 2);
lanes!(i16, 8, 2);
lanes!(u32, 4, 4);
lanes!(i32, 4, 4);
lanes!(u64, 2, 8);
lanes!(i64, 2, 8);

/// `f` of every pair of lanes.
#[inline]
pub fn zip<L: Lanes>(a: u128, b: u128, f: impl Fn(L, L) -> L) -> u128 {
    let (mut a, b) = (L::split(a), L::split(b));
    for (x, y) in a.as_mut().iter_mut().zip(b.as_ref()) {
        *x = f(*x, *y);
    }
    L::join(a)
}

/// `f` of every lane.
#[inline]
pub fn map<L: Lanes>(a: u128, f: impl Fn(L) -> L) -> u128 {
    let mut a = L::split(a);
    for x in a.as_mut() {
        *x = f(*x);
    }
    L::join(a)
}
