//! An authority, a server and two clients, made by `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

use house_tests::tools::find;

/// Folders as TLS credentials want them.
pub(crate) struct Certificates {
    /// Authority and server.
    pub(crate) server: PathBuf,
    /// The same authority and a client.
    pub(crate) client: PathBuf,
    /// Another authority and a client of it.
    pub(crate) stranger: PathBuf,
}

/// The client's name, as it is compared by authorizations.
pub(crate) const CLIENT: &str = "CN=client,O=House";

fn openssl(dir: &Path, words: &str) {
    let output = Command::new("openssl")
        .args(words.split_whitespace())
        .current_dir(dir)
        .output()
        .expect("it was found");
    assert!(
        output.status.success(),
        "openssl {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

fn authority(dir: &Path, name: &str) {
    openssl(
        dir,
        &format!(
            "req -x509 {KEY} -keyout {name}-key.pem -out {name}.pem -days 30 -subj /CN={name} \
             -addext keyUsage=critical,keyCertSign,cRLSign"
        ),
    );
}

fn signed(
    dir: &Path,
    authority: &str,
    folder: &str,
    kind: &str,
    subject: &str,
    extra: &str,
) -> PathBuf {
    let to = dir.join(folder);
    std::fs::create_dir_all(&to).expect("a folder");
    let rules =
        format!("keyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage={kind}Auth\n{extra}");
    std::fs::write(dir.join("rules"), rules).expect("a file");
    openssl(
        dir,
        &format!("req -new {KEY} -keyout {folder}/{kind}-key.pem -out request -subj {subject}"),
    );
    openssl(
        dir,
        &format!(
            "x509 -req -in request -CA {authority}.pem -CAkey {authority}-key.pem -CAcreateserial -days 30 \
             -extfile rules -out {folder}/{kind}-cert.pem"
        ),
    );
    std::fs::copy(dir.join(format!("{authority}.pem")), to.join("ca-cert.pem")).expect("a copy");
    to
}

impl Certificates {
    /// Makes them in a folder.
    pub(crate) fn make(dir: &Path) -> Result<Self, String> {
        find("openssl", "openssl")?;
        let dir = dir.join("certificates");
        std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        authority(&dir, "ours");
        authority(&dir, "theirs");
        let names = "subjectAltName=IP:127.0.0.1";
        Ok(Self {
            server: signed(&dir, "ours", "server", "server", "/O=House/CN=host", names),
            client: signed(&dir, "ours", "client", "client", "/O=House/CN=client", ""),
            stranger: signed(&dir, "theirs", "stranger", "client", "/CN=stranger", ""),
        })
    }
}
