//! What a command line asks for. Options are looked at in their order, so that the first wrong one is told.

use std::sync::Arc;

use block::core::DetectZeroes;
use block::{Aio, CacheMode, OBJECT_TYPES};
use crypto::tls::TlsCreds;
use object::Objects;
use qapi::{Error, Result, opts};

use crate::number;

/// Longest name and description that the protocol carries, in bytes.
const MAX_TEXT: usize = 4096;

/// `-l`: which internal snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Load {
    /// By either.
    IdOrName(String),
    /// By id, by name, or by both.
    Exactly {
        id: Option<String>,
        name: Option<String>,
    },
}

/// Everything.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one switch of the command line"
)]
pub(crate) struct Settings {
    pub(crate) bind: Option<String>,
    pub(crate) port: Option<String>,
    pub(crate) socket: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) disconnect: bool,
    pub(crate) list: bool,
    /// 0: any number.
    pub(crate) shared: u32,
    pub(crate) persistent: bool,
    pub(crate) verbose: bool,
    pub(crate) export_name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) handshake_limit_s: u32,
    pub(crate) offset: u64,
    pub(crate) allocation_depth: bool,
    /// The last one given comes first.
    pub(crate) bitmaps: Vec<String>,
    pub(crate) objects: Arc<Objects>,
    pub(crate) tls_creds: Option<String>,
    /// The credentials themselves.
    pub(crate) tls: Option<Arc<TlsCreds>>,
    pub(crate) tls_authz: Option<String>,
    pub(crate) tls_hostname: Option<String>,
    pub(crate) fork: bool,
    pub(crate) pid_file: Option<String>,
    pub(crate) selinux_label: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) read_only: bool,
    pub(crate) snapshot: bool,
    pub(crate) load: Option<Load>,
    pub(crate) cache: Option<CacheMode>,
    /// Discards reach the file.
    pub(crate) discard: Option<bool>,
    pub(crate) aio: Option<Aio>,
    pub(crate) detect_zeroes: DetectZeroes,
    pub(crate) image_opts: bool,
    pub(crate) trace: Vec<String>,
    /// The image, or with `-d` the device.
    pub(crate) file: String,
    /// Options of our own.
    pub(crate) json: bool,
    pub(crate) devices: bool,
    pub(crate) cleanup: bool,
    pub(crate) allow: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bind: None,
            port: None,
            socket: None,
            device: None,
            disconnect: false,
            list: false,
            shared: 1,
            persistent: false,
            verbose: false,
            export_name: None,
            description: None,
            handshake_limit_s: 10,
            offset: 0,
            allocation_depth: false,
            bitmaps: Vec::new(),
            objects: Arc::new(Objects::of(OBJECT_TYPES)),
            tls_creds: None,
            tls: None,
            tls_authz: None,
            tls_hostname: None,
            fork: false,
            pid_file: None,
            selinux_label: None,
            format: None,
            read_only: false,
            snapshot: false,
            load: None,
            cache: None,
            discard: None,
            aio: None,
            detect_zeroes: DetectZeroes::Off,
            image_opts: false,
            trace: Vec::new(),
            file: String::new(),
            json: false,
            devices: false,
            cleanup: false,
            allow: Vec::new(),
        }
    }
}

impl Settings {
    /// Takes one option.
    ///
    /// # Errors
    /// When its value is wrong, in QEMU's words.
    pub(crate) fn take(&mut self, name: &str, value: &str) -> Result<()> {
        let some = || Some(value.to_owned());
        match name {
            "s" => self.snapshot = true,
            "r" => self.read_only = true,
            "A" => self.allocation_depth = true,
            "d" => self.disconnect = true,
            "t" => self.persistent = true,
            "v" => self.verbose = true,
            "L" => self.list = true,
            "fork" => self.fork = true,
            "image-opts" => self.image_opts = true,
            "json" => self.json = true,
            "devices" => self.devices = true,
            "cleanup" => self.cleanup = true,
            "b" => self.bind = some(),
            "p" => self.port = some(),
            "c" => self.device = some(),
            "f" => self.format = some(),
            "B" => self.bitmaps.insert(0, value.to_owned()),
            "T" => self.trace.push(value.to_owned()),
            "tls-creds" => self.tls_creds = some(),
            "tls-hostname" => self.tls_hostname = some(),
            "tls-authz" => self.tls_authz = some(),
            "pid-file" => self.pid_file = some(),
            "selinux-label" => self.selinux_label = some(),
            "allow-path" => self.allow.push(value.to_owned()),
            "object" => self.objects.add(value)?,
            _ => self.take_checked(name, value)?,
        }
        Ok(())
    }

    /// Takes one of the options whose values have a form.
    fn take_checked(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "n" => self.take_cache("none")?,
            "cache" => self.take_cache(value)?,
            "aio" => self.take_aio(value)?,
            "discard" => self.take_discard(value)?,
            "detect-zeroes" => self.take_detect_zeroes(value)?,
            "l" => self.take_load(value)?,
            "k" => {
                if !value.starts_with('/') {
                    return Err(Error::new("socket path must be absolute"));
                }
                self.socket = Some(value.to_owned());
            }
            "o" => {
                self.offset = number::offset(value)
                    .ok_or_else(|| Error::new(format!("Invalid offset '{value}'")))?;
            }
            "e" => {
                self.shared = number::count(value)
                    .ok_or_else(|| Error::new(format!("Invalid shared device number '{value}'")))?;
            }
            "handshake-limit" => {
                self.handshake_limit_s = number::count(value)
                    .ok_or_else(|| Error::new(format!("Invalid handshake limit '{value}'")))?;
            }
            "x" => {
                if value.len() > MAX_TEXT {
                    return Err(Error::new(format!("export name '{value}' too long")));
                }
                self.export_name = Some(value.to_owned());
            }
            "D" => {
                if value.len() > MAX_TEXT {
                    return Err(Error::new(format!("export description '{value}' too long")));
                }
                self.description = Some(value.to_owned());
            }
            _ => return Err(Error::new(format!("option '{name}' is not supported"))),
        }
        Ok(())
    }

    fn take_cache(&mut self, value: &str) -> Result<()> {
        if self.cache.is_some() {
            return Err(Error::new("-n and --cache can only be specified once"));
        }
        let mode = CacheMode::parse(value)
            .ok_or_else(|| Error::new(format!("Invalid cache mode `{value}'")))?;
        self.cache = Some(mode);
        Ok(())
    }

    fn take_aio(&mut self, value: &str) -> Result<()> {
        if self.aio.is_some() {
            return Err(Error::new("--aio can only be specified once"));
        }
        let aio = Aio::parse(value);
        self.aio = Some(aio.ok_or_else(|| Error::new(format!("Invalid aio mode '{value}'")))?);
        Ok(())
    }

    fn take_discard(&mut self, value: &str) -> Result<()> {
        if self.discard.is_some() {
            return Err(Error::new("--discard can only be specified once"));
        }
        self.discard = Some(match value {
            "ignore" | "off" => false,
            "unmap" | "on" => true,
            _ => return Err(Error::new(format!("Invalid discard mode `{value}'"))),
        });
        Ok(())
    }

    fn take_detect_zeroes(&mut self, value: &str) -> Result<()> {
        self.detect_zeroes = match value {
            "off" => DetectZeroes::Off,
            "on" => DetectZeroes::On,
            "unmap" => DetectZeroes::Unmap,
            _ => {
                return Err(Error::new(format!(
                    "Failed to parse detect_zeroes mode: invalid parameter value: {value}"
                )));
            }
        };
        if self.detect_zeroes == DetectZeroes::Unmap && self.discard != Some(true) {
            return Err(Error::new(
                "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap",
            ));
        }
        Ok(())
    }

    fn take_load(&mut self, value: &str) -> Result<()> {
        self.read_only = true;
        if !value.starts_with("snapshot.") {
            self.load = Some(Load::IdOrName(value.to_owned()));
            return Ok(());
        }
        let (mut id, mut name) = (None, None);
        for (key, text) in opts::split(value, None) {
            match key.as_str() {
                "snapshot.id" => id = Some(text),
                "snapshot.name" => name = Some(text),
                _ => {
                    qapi::report(&Error::new(format!("Invalid parameter '{key}'")));
                    return Err(Error::new(format!(
                        "Failed in parsing snapshot param `{value}'"
                    )));
                }
            }
        }
        self.load = Some(Load::Exactly { id, name });
        Ok(())
    }

    /// Whether something is asked for that only makes sense with a disk.
    pub(crate) fn about_disk(&self) -> bool {
        self.export_name.is_some()
            || self.description.is_some()
            || self.offset != 0
            || self.device.is_some()
            || self.disconnect
            || self.format.is_some()
            || matches!(self.load, Some(Load::IdOrName(_)))
            || !self.bitmaps.is_empty()
            || self.allocation_depth
            || self.aio.is_some()
            || self.discard.is_some()
            || self.cache.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(options: &[(&str, &str)]) -> String {
        let mut settings = Settings::default();
        for (name, value) in options {
            if let Err(error) = settings.take(name, value) {
                return error.message().to_owned();
            }
        }
        String::new()
    }

    #[test]
    fn wrong_values_are_told_in_known_words() {
        assert_eq!(refusal(&[("k", "s")]), "socket path must be absolute");
        assert_eq!(refusal(&[("cache", "foo")]), "Invalid cache mode `foo'");
        assert_eq!(
            refusal(&[("n", ""), ("cache", "none")]),
            "-n and --cache can only be specified once"
        );
        assert_eq!(
            refusal(&[("discard", "unmap"), ("detect-zeroes", "unmap")]),
            ""
        );
        assert!(refusal(&[("detect-zeroes", "unmap")]).starts_with("setting detect-zeroes"));
        assert!(refusal(&[("x", &"y".repeat(4097))]).ends_with("too long"));
    }

    #[test]
    fn a_snapshot_makes_the_export_read_only() {
        let mut settings = Settings::default();
        settings.take("l", "snapshot.id=1,snapshot.name=a").unwrap();
        assert!(settings.read_only && !settings.about_disk());
        let exactly = Load::Exactly {
            id: Some("1".to_owned()),
            name: Some("a".to_owned()),
        };
        assert_eq!(settings.load, Some(exactly));
    }

    #[test]
    fn the_last_bitmap_comes_first() {
        let mut settings = Settings::default();
        settings.take("B", "a").unwrap();
        settings.take("B", "b").unwrap();
        assert_eq!(settings.bitmaps, ["b", "a"]);
    }
}
