//! Hash functions, by QEMU's names.

use digest::Digest;
use zeroize::Zeroizing;

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// RFC 1321
    Md5,
    /// FIPS 180
    Sha1,
    /// FIPS 180
    Sha224,
    /// FIPS 180
    Sha256,
    /// FIPS 180
    Sha384,
    /// FIPS 180
    Sha512,
    /// RIPEMD-160
    Ripemd160,
    /// GB/T 32905
    Sm3,
}

/// Runs a generic function with the type of a hash function.
macro_rules! with_hash {
    ($hash:expr, $function:ident($($arg:expr),*)) => {
        match $hash {
            $crate::Hash::Md5 => $function::<md5::Md5>($($arg),*),
            $crate::Hash::Sha1 => $function::<sha1::Sha1>($($arg),*),
            $crate::Hash::Sha224 => $function::<sha2::Sha224>($($arg),*),
            $crate::Hash::Sha256 => $function::<sha2::Sha256>($($arg),*),
            $crate::Hash::Sha384 => $function::<sha2::Sha384>($($arg),*),
            $crate::Hash::Sha512 => $function::<sha2::Sha512>($($arg),*),
            $crate::Hash::Ripemd160 => $function::<ripemd::Ripemd160>($($arg),*),
            $crate::Hash::Sm3 => $function::<sm3::Sm3>($($arg),*),
        }
    };
}
pub(crate) use with_hash;

impl Hash {
    /// All, in QEMU's order.
    pub const ALL: &[Self] = &[
        Self::Md5,
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Ripemd160,
        Self::Sm3,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Ripemd160 => "ripemd160",
            Self::Sm3 => "sm3",
        }
    }

    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|h| h.name() == name)
    }

    /// Length of a digest in bytes.
    #[must_use]
    pub fn digest_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 | Self::Ripemd160 => 20,
            Self::Sha224 => 28,
            Self::Sha256 | Self::Sm3 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of some parts, one behind the other.
    #[must_use]
    pub fn digest(self, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        with_hash!(self, digest(parts))
    }
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut state = D::new();
    for part in parts {
        state.update(part);
    }
    Zeroizing::new(state.finalize().to_vec())
}

#[cfg(test)]
mod tests {
    use super::Hash;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn digests_are_the_published_ones() {
        for (hash, want) in [
            (Hash::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (Hash::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                Hash::Sha224,
                "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
            ),
            (
                Hash::Sha256,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                Hash::Sha384,
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            ),
            (
                Hash::Sha512,
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            (Hash::Ripemd160, "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
            (
                Hash::Sm3,
                "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
            ),
        ] {
            let digest = hash.digest(&[b"a", b"bc"]);
            assert_eq!(hex(&digest), want, "{}", hash.name());
            assert_eq!(digest.len(), hash.digest_len());
            assert_eq!(Hash::named(hash.name()), Some(hash));
        }
    }
}
