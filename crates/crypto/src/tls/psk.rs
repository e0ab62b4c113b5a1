//! Keys that both ends know, by OpenSSL, since rustls has none: TLS 1.3 with a key from outside, or TLS 1.2 with one of its
//! PSK ciphers.
//!
//! ```text
//! tls-creds-psk   dir=DIR with keys.psk (lines NAME:HEX), endpoint=server|client, username=NAME (of a client; `qemu`)
//! ```
//! Nobody is believed for a certificate: there are no authorities, and a server that shows one is refused.

use std::fs;
use std::path::Path;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use qapi::{Dict, Error, Result, opts};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;
use zeroize::Zeroizing;

use super::creds::{Endpoint, take_endpoint};

/// Largest file of keys that is read.
const MAX_FILE: u64 = 1 << 20;
/// Longest name; the protocol's limit is OpenSSL's.
const MAX_NAME: usize = 128;
/// A client's name when it is given none.
const NAME: &str = "qemu";
/// For TLS 1.2; ciphers with the server's certificate beside the key are left out.
const CIPHERS: &str = "kECDHEPSK:kDHEPSK:kPSK:!kRSAPSK:!eNULL";

/// A key with its name.
struct Key {
    name: String,
    secret: Zeroizing<Vec<u8>>,
}

/// What handshakes are done with.
pub(in crate::tls) struct Keys {
    context: SslContext,
    pub(in crate::tls) endpoint: Endpoint,
}

fn unusable(error: &ErrorStack) -> Error {
    Error::new(format!("Cannot use credentials: {error}"))
}

impl Keys {
    /// Reads the options of the object.
    pub(in crate::tls) fn new(options: &mut Dict) -> Result<Self> {
        let endpoint = take_endpoint(options)?;
        // There is nothing to verify but the key.
        opts::take_bool(options, "verify-peer")?;
        if options.remove("priority").is_some() {
            // GAP: which ciphers are used is OpenSSL's choice among those with keys.
            return Err(Error::new(
                "Parameter 'priority' is not supported: a priority string of GnuTLS",
            ));
        }
        let name = opts::take_str(options, "username")?;
        let dir = opts::take_str(options, "dir")?
            .ok_or_else(|| Error::new("Missing 'dir' property value"))?;
        let path = Path::new(&dir).join("keys.psk");
        let keys = read(&path)?;
        let context = match endpoint {
            Endpoint::Server if name.is_some() => {
                return Err(Error::new(
                    "username should not be set when endpoint=server",
                ));
            }
            Endpoint::Server => server(keys),
            Endpoint::Client => client(find(keys, name.as_deref().unwrap_or(NAME), &path)?),
        };
        Ok(Self {
            context: context.map_err(|e| unusable(&e))?,
            endpoint,
        })
    }

    /// Secures one end of a connection.
    ///
    /// # Errors
    /// When the other end does not have the key.
    pub(in crate::tls) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<SslStream<S>> {
        let ssl = Ssl::new(&self.context).map_err(|e| unusable(&e))?;
        let mut stream = SslStream::new(ssl, stream).map_err(|e| unusable(&e))?;
        let pinned = Pin::new(&mut stream);
        let shaken = match self.endpoint {
            Endpoint::Client => pinned.connect().await,
            Endpoint::Server => pinned.accept().await,
        };
        shaken.map_err(|e| Error::new(format!("TLS handshake failed: {e}")))?;
        Ok(stream)
    }
}

fn read(path: &Path) -> Result<Vec<Key>> {
    let failed = |e: &std::io::Error| {
        let what = format!("Unable to access credentials {}", path.display());
        Error::from_io(what, e)
    };
    let found = fs::metadata(path).map_err(|e| failed(&e))?;
    if found.len() > MAX_FILE || !found.is_file() {
        return Err(Error::new(format!(
            "Unable to access credentials {}: not a small file",
            path.display()
        )));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|e| failed(&e))?);
    Ok(text.lines().filter_map(key).collect())
}

/// One line of the file; what is no key is passed over, as GnuTLS does.
fn key(line: &str) -> Option<Key> {
    let (name, digits) = line.trim_end().split_once(':')?;
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
    };
    let secret = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    let secret = Zeroizing::new(secret.collect::<Option<Vec<u8>>>()?);
    let fits =
        rest.is_empty() && !secret.is_empty() && name.len() <= MAX_NAME && !name.contains('\0');
    fits.then(|| Key {
        name: name.to_owned(),
        secret,
    })
}

fn find(keys: Vec<Key>, name: &str, path: &Path) -> Result<Key> {
    let found = keys.into_iter().find(|key| key.name == name);
    found.ok_or_else(|| {
        Error::new(format!(
            "Username {name} not found in PSK file {}",
            path.display()
        ))
    })
}

fn common(method: SslMethod) -> std::result::Result<SslContextBuilder, ErrorStack> {
    let mut builder = SslContext::builder(method)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_cipher_list(CIPHERS)?;
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    Ok(builder)
}

fn client(key: Key) -> std::result::Result<SslContext, ErrorStack> {
    let mut builder = common(SslMethod::tls_client())?;
    // Authorities there are none, so that whoever has a certificate and not the key is refused.
    builder.set_verify(SslVerifyMode::PEER);
    builder.set_psk_client_callback(move |_, _, name, secret| {
        let (from, to) = (key.name.as_bytes(), key.name.len());
        // The name ends with a zero byte.
        if to >= name.len() || key.secret.len() > secret.len() {
            return Ok(0);
        }
        name[..to].copy_from_slice(from);
        name[to] = 0;
        secret[..key.secret.len()].copy_from_slice(&key.secret);
        Ok(key.secret.len())
    });
    Ok(builder.build())
}

fn server(keys: Vec<Key>) -> std::result::Result<SslContext, ErrorStack> {
    let mut builder = common(SslMethod::tls_server())?;
    builder.set_num_tickets(0)?;
    builder.set_psk_server_callback(move |_, name, secret| {
        let found = keys.iter().find(|key| Some(key.name.as_bytes()) == name);
        // No bytes: no such key.
        let Some(key) = found.filter(|key| key.secret.len() <= secret.len()) else {
            return Ok(0);
        };
        secret[..key.secret.len()].copy_from_slice(&key.secret);
        Ok(key.secret.len())
    });
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn object(dir: &Path, endpoint: &str, name: Option<&str>) -> Result<Keys> {
        let mut options = Dict::new();
        options.insert("dir", dir.to_string_lossy().as_ref());
        options.insert("endpoint", endpoint);
        if let Some(name) = name {
            options.insert("username", name);
        }
        Keys::new(&mut options)
    }

    fn folder(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("keys.psk"), text).unwrap();
        dir
    }

    async fn shake(client: &Keys, server: &Keys) -> (Result<String>, bool) {
        let (near, far) = tokio::io::duplex(4096);
        let serve = async {
            let mut stream = server.secure(far).await?;
            // What a client that gave up thinks of it does not matter.
            let _ = stream.write_all(b"words").await;
            let _ = stream.shutdown().await;
            Ok::<(), Error>(())
        };
        let ask = async {
            let mut stream = client.secure(near).await?;
            let mut words = String::new();
            let read = stream.read_to_string(&mut words).await;
            read.map_err(|e| Error::new(e.to_string()))?;
            Ok(words)
        };
        let (said, served) = tokio::join!(ask, serve);
        (said, served.is_ok())
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future)
    }

    #[test]
    fn lines_are_names_and_digits() {
        let dir = folder("qemu:00ff\nbad\nodd:123\nnone:\nx:zz\nother:Ab\r\n");
        let keys = read(&dir.path().join("keys.psk")).unwrap();
        let all: Vec<_> = keys
            .iter()
            .map(|k| (k.name.as_str(), &k.secret[..]))
            .collect();
        assert_eq!(all, [("qemu", &[0, 255][..]), ("other", &[0xab][..])]);
    }

    #[test]
    fn only_whoever_has_the_key_comes_in() {
        let good = folder("qemu:00112233445566778899aabbccddeeff\nother:aa00\n");
        let wrong = folder("qemu:ffffffffffffffffffffffffffffffff\nstranger:00\n");
        let server = object(good.path(), "server", None).unwrap();
        for (dir, name, lets_in) in [
            (&good, None, true),
            (&good, Some("other"), true),
            (&wrong, None, false),
            (&wrong, Some("stranger"), false),
        ] {
            let client = object(dir.path(), "client", name).unwrap();
            let (said, served) = run(shake(&client, &server));
            assert_eq!(served, lets_in, "{name:?}");
            assert_eq!(
                said.is_ok_and(|words| words == "words"),
                lets_in,
                "{name:?}"
            );
        }
    }

    #[test]
    fn names_that_are_not_there_are_told() {
        let dir = folder("qemu:00\n");
        let told = |end, name| object(dir.path(), end, name).err().unwrap();
        let said = told("client", Some("me"));
        assert!(
            said.message()
                .starts_with("Username me not found in PSK file ")
        );
        let said = told("server", Some("qemu"));
        assert_eq!(
            said.message(),
            "username should not be set when endpoint=server"
        );
    }
}
