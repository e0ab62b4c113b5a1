//! Options of create and amend, which the same feature inside qcow2 has with `encrypt.` before their names.

use block_core::{FindObject, Gate, OptionKind};
use crypto::luks::{CreateOptions, Header};
use crypto::{Algorithm, Hash, IvGen, Mode, Passphrase};
use qapi::{Dict, Error, OptionDesc, Result, Value, opts};

use super::volume::Change;
use crate::make::{self, invalid, option};

/// Options of create, in the order in which they are told.
pub(super) const CREATE: &[OptionDesc] = &[
    make::SIZE,
    option(
        "key-secret",
        OptionKind::Str,
        "ID of the secret that provides the keyslot passphrase",
    ),
    option(
        "cipher-alg",
        OptionKind::Str,
        "Name of encryption cipher algorithm",
    ),
    option(
        "cipher-mode",
        OptionKind::Str,
        "Name of encryption cipher mode",
    ),
    option(
        "ivgen-alg",
        OptionKind::Str,
        "Name of IV generator algorithm",
    ),
    option(
        "ivgen-hash-alg",
        OptionKind::Str,
        "Name of IV generator hash algorithm",
    ),
    option(
        "hash-alg",
        OptionKind::Str,
        "Name of encryption hash algorithm",
    ),
    ITER_TIME,
    option(
        "detached-header",
        OptionKind::Bool,
        "Create a detached LUKS header",
    ),
];

/// Options of amend.
pub(super) const AMEND: &[OptionDesc] = &[
    option(
        "state",
        OptionKind::Str,
        "Select new state of affected keyslots (active/inactive)",
    ),
    option(
        "keyslot",
        OptionKind::Number,
        "Select a single keyslot to modify explicitly",
    ),
    option(
        "old-secret",
        OptionKind::Str,
        "Select all keyslots that match this password",
    ),
    option(
        "new-secret",
        OptionKind::Str,
        "New secret to set in the matching keyslots. Empty string to erase",
    ),
    ITER_TIME,
];

const ITER_TIME: OptionDesc = option(
    "iter-time",
    OptionKind::Number,
    "Time to spend in PBKDF in milliseconds",
);

/// Options of one image: `prefix` is before their names.
pub(crate) struct Given<'a> {
    pub(crate) options: &'a Dict,
    pub(crate) prefix: &'static str,
}

impl<'a> Given<'a> {
    fn value(&self, name: &str) -> Option<&'a Value> {
        self.options.get(&format!("{}{name}", self.prefix))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        match self.value(name) {
            Some(Value::Str(text)) => Some(text),
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            Value::Int(n) => Some(*n),
            Value::Uint(n) => Some(n.cast_signed()),
            _ => None,
        }
    }

    fn named<T>(&self, name: &str, find: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        find(text)
            .map(Some)
            .ok_or_else(|| invalid(format!("Parameter '{name}' does not accept value '{text}'")))
    }

    /// The id of the secret that opens the image.
    pub(crate) fn key_secret(&self) -> Result<&'a str> {
        self.text("key-secret").ok_or_else(|| {
            invalid(format!(
                "Parameter '{}key-secret' is required for cipher",
                self.prefix
            ))
        })
    }

    /// What a new header is to be like.
    pub(crate) fn create(&self) -> Result<CreateOptions> {
        let default = CreateOptions::default();
        Ok(CreateOptions {
            algorithm: self
                .named("cipher-alg", Algorithm::named)?
                .unwrap_or(default.algorithm),
            mode: self
                .named("cipher-mode", Mode::named)?
                .unwrap_or(default.mode),
            ivgen: self
                .named("ivgen-alg", IvGen::named)?
                .unwrap_or(default.ivgen),
            ivgen_hash: self.named("ivgen-hash-alg", Hash::named)?,
            hash: self.named("hash-alg", Hash::named)?.unwrap_or(default.hash),
            time_ms: self
                .number("iter-time")
                .map_or(default.time_ms, i64::cast_unsigned),
        })
    }

    /// What is to become of slots.
    pub(crate) fn change<'b>(
        &'b self,
        secret: &'b str,
        force: bool,
        find: FindObject<'b>,
    ) -> Result<Change<'b>> {
        let activate = match self.text("state") {
            Some("active") => true,
            Some("inactive") => false,
            Some(other) => {
                return Err(invalid(format!(
                    "Parameter 'state' does not accept value '{other}'"
                )));
            }
            None => return Err(invalid("Parameter 'state' is missing")),
        };
        Ok(Change {
            activate,
            new_secret: self.text("new-secret"),
            old_secret: self.text("old-secret"),
            slot: self.number("keyslot"),
            time_ms: self.number("iter-time").map(i64::cast_unsigned),
            force,
            secret,
            find,
        })
    }
}

/// What `info` shows of a header.
pub(crate) fn describe(header: &Header) -> Dict {
    let spec = &header.spec;
    let mut out = Dict::new();
    out.insert("cipher-alg", spec.algorithm.name());
    out.insert("cipher-mode", spec.mode.name());
    out.insert("ivgen-alg", spec.ivgen.name());
    if let Some(hash) = spec.ivgen_hash.filter(|_| spec.ivgen == IvGen::Essiv) {
        out.insert("ivgen-hash-alg", hash.name());
    }
    out.insert("hash-alg", header.hash.name());
    out.insert("detached-header", header.payload_offset == 0);
    out.insert("payload-offset", header.payload_offset);
    out.insert("master-key-iters", u64::from(header.iterations));
    out.insert("uuid", header.uuid());
    let slots = header.slots().iter().map(|slot| {
        let mut out = Dict::new();
        out.insert("active", slot.active);
        if slot.active {
            out.insert("iters", u64::from(slot.iterations));
            out.insert("stripes", u64::from(slot.stripes));
        }
        out.insert("key-offset", slot.offset());
        Value::Dict(out)
    });
    out.insert("slots", Value::List(slots.collect()));
    out
}

/// A size that no file has.
pub(crate) fn too_large() -> Error {
    Error::new("The requested file size is too large").errno(27)
}

/// Options of an encrypted qcow or qcow2 image when it is opened.
pub(crate) struct EncryptOptions {
    format: Option<String>,
    pub(crate) secret: Option<String>,
}

impl EncryptOptions {
    /// Takes them out of the options of a node.
    pub(crate) fn take(options: &mut Dict) -> Result<Self> {
        let mut given = match options.remove("encrypt") {
            Some(Value::Dict(given)) => given,
            None => Dict::new(),
            Some(_) => {
                return Err(Error::new(
                    "Invalid parameter type for 'encrypt', expected: object",
                ));
            }
        };
        let found = Self {
            format: opts::take_str(&mut given, "format")?,
            secret: opts::take_str(&mut given, "key-secret")?,
        };
        match given.iter().next() {
            None => Ok(found),
            Some((name, _)) => Err(Error::new(format!(
                "Parameter 'encrypt.{name}' is unexpected"
            ))),
        }
    }

    /// Refuses a format that is not what the header says, "" for none.
    pub(crate) fn refuse_format(&self, found: &str) -> Result<()> {
        match self.format.as_deref() {
            Some(format) if found.is_empty() => Err(invalid(format!(
                "No encryption in image header, but options specified format '{format}'"
            ))),
            Some(format) if format != found => Err(invalid(format!(
                "Header reported '{found}' encryption format but options specify '{format}'"
            ))),
            _ => Ok(()),
        }
    }

    /// The passphrase that the options name.
    pub(crate) fn passphrase(&self, gate: &dyn Gate) -> Result<Passphrase> {
        let id = self
            .secret
            .as_deref()
            .ok_or_else(|| invalid("Parameter 'encrypt.key-secret' is required for cipher"))?;
        crypto::passphrase(gate.object(id), id)
    }
}
