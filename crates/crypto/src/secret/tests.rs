use object::Objects;

use super::*;

fn objects(texts: &[&str]) -> Result<Objects> {
    let objects = Objects::of(&[crate::OBJECTS]);
    for text in texts {
        objects.add(text)?;
    }
    Ok(objects)
}

fn held(texts: &[&str], id: &str) -> Vec<u8> {
    let objects = objects(texts).unwrap();
    bytes(objects.find(id), id).unwrap().as_bytes().to_vec()
}

fn refusal(texts: &[&str]) -> String {
    let Err(error) = objects(texts) else {
        panic!("{texts:?} is taken");
    };
    error.message().to_owned()
}

/// 32 bytes of key, and with it "123456" encrypted.
const KEY: &str = "secret,id=key,data=9miloPQCzGy+TL6aonfzVcptibCmCIhKzrnlfwiWivk=,format=base64";
const IV: &str = "0I7Gw/TKuA+Old2W2apQ3g==";

/// What AES-256-CBC makes of `text` under the key above.
fn sealed(text: &[u8]) -> Vec<u8> {
    let key = held(&[KEY], "key");
    let iv: [u8; 16] = base64::decode(IV.as_bytes()).unwrap()[..]
        .try_into()
        .unwrap();
    let padding = 16 - text.len() % 16;
    let mut data = text.to_vec();
    data.resize(text.len() + padding, u8::try_from(padding).unwrap());
    cbc_once(&key, iv, &mut data, Direction::Encrypt).unwrap();
    data
}

#[test]
fn plain_and_base64_secrets_are_held() {
    assert_eq!(held(&["secret,id=a,data=letmein"], "a"), b"letmein");
    assert_eq!(held(&["secret,id=a,data=with,,comma"], "a"), b"with,comma");
    assert_eq!(held(&["secret,id=a,data="], "a"), b"");
    assert_eq!(
        held(&["secret,id=a,data=bGV0bWVpbg==,format=base64"], "a"),
        b"letmein"
    );
    assert_eq!(
        held(&["{'qom-type': 'secret', 'id': 'a', 'data': 'x'}"], "a"),
        b"x"
    );
}

#[test]
fn files_are_read_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pass");
    std::fs::write(&path, b"line\n\x00\xff").unwrap();
    let text = format!("secret,id=a,file={}", path.display());
    assert_eq!(held(&[&text], "a"), b"line\n\x00\xff");
    let objects = objects(&[&text]).unwrap();
    let error = passphrase(objects.find("a"), "a").unwrap_err();
    assert_eq!(error.message(), "Data from secret a is not valid UTF-8");
    assert_eq!(
        refusal(&["secret,id=a,file=/nowhere"]),
        "Unable to read /nowhere: Failed to open file “/nowhere”: No such file or directory"
    );
    assert_eq!(
        refusal(&["secret,id=a,file=/"]),
        "Unable to read /: Error reading file “/”: Is a directory"
    );
}

#[test]
fn encrypted_secrets_are_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sealed");
    std::fs::write(&path, sealed(b"correct horse battery")).unwrap();
    let text = format!("secret,id=a,file={},keyid=key,iv={IV}", path.display());
    assert_eq!(held(&[KEY, &text], "a"), b"correct horse battery");
}

#[test]
fn refusals_are_in_known_words() {
    let with_key = |rest: &str| refusal(&[KEY, &format!("secret,id=a,{rest}")]);
    assert_eq!(
        refusal(&["secret,id=a"]),
        "Either 'file' or 'data' must be provided"
    );
    assert_eq!(
        refusal(&["secret,id=a,data=x,file=y"]),
        "'file' and 'data' are mutually exclusive"
    );
    assert_eq!(
        refusal(&["secret,id=a,data=x,format=hex"]),
        "Parameter 'format' does not accept value 'hex'"
    );
    assert_eq!(
        refusal(&["secret,id=a,data=x,keyid=no"]),
        "No secret with id 'no'"
    );
    assert_eq!(
        refusal(&["secret,id=b,data=x", "secret,id=a,data=x,keyid=b"]),
        "Key should be 32 bytes in length"
    );
    assert_eq!(
        with_key("data=x,keyid=key"),
        "IV is required to decrypt secret"
    );
    assert_eq!(
        with_key("data=x,keyid=key,iv=AAAA"),
        "IV should be 16 bytes in length not 3"
    );
    assert_eq!(
        with_key(&format!("data=abc,keyid=key,iv={IV}")),
        "Length 3 must be a multiple of block size 16"
    );
}

#[test]
fn nothing_shows_a_secret() {
    let objects = objects(&["secret,id=a,data=hunter2"]).unwrap();
    let secret = bytes(objects.find("a"), "a").unwrap();
    let pass = passphrase(objects.find("a"), "a").unwrap();
    assert_eq!(format!("{secret:?} {pass:?}"), "Secret(..) Passphrase(..)");
    for text in [
        "secret,id=a,data=hunter2,format=base65",
        "secret,id=a,data=hunter2*,format=base64",
        "secret,id=a,data=hunter2,keyid=b",
        "secret,id=a,data=hunter2,more=1",
        "{'qom-type': 'secret', 'id': 'a', 'data': 'hunter2', 'format': 7}",
    ] {
        let error = objects.add(text).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn a_passphrase_ends_at_its_first_nul() {
    assert_eq!(Passphrase::new(b"ab\0cd").as_bytes(), b"ab");
}

#[test]
fn keys_of_the_kernel_are_read() {
    use linux_keyutils::{KeyRing, KeyRingIdentifier};
    for (text, want) in [
        (
            "secret_keyring,id=s,serial=0",
            "'serial' should not be equal to 0",
        ),
        ("secret_keyring,id=s", "Parameter 'serial' is missing"),
        (
            "secret_keyring,id=s,serial=99999999999",
            "Parameter 'serial' expects int32_t",
        ),
        (
            "secret_keyring,id=s,serial=x",
            "Parameter 'serial' expects integer",
        ),
        (
            "secret_keyring,id=s,serial=5,data=x",
            "Parameter 'data' is unexpected",
        ),
    ] {
        assert_eq!(refusal(&[text]), want);
    }
    // Where there are no keyrings (some containers) there is nothing more to try.
    let Ok(ring) = KeyRing::from_special_id(KeyRingIdentifier::Process, true) else {
        return;
    };
    let missing = refusal(&["secret_keyring,id=s,serial=0x12"]);
    assert!(
        missing.starts_with("Unable to read serial key 00000012: "),
        "{missing}"
    );
    let long = "x".repeat(3 * 4096);
    for held_there in ["letmein", long.as_str()] {
        let key = ring.add_key("house-test", held_there).unwrap();
        let text = format!("secret_keyring,id=s,serial={}", key.get_id().as_raw_id());
        assert_eq!(held(&[&text], "s"), held_there.as_bytes());
    }
    let key = ring.add_key("house-test", "bGV0bWVpbg==").unwrap();
    let serial = key.get_id().as_raw_id();
    let text = format!("secret_keyring,id=s,serial={serial},format=base64");
    assert_eq!(held(&[&text], "s"), b"letmein");
    key.revoke().unwrap();
    let revoked = refusal(&[&text]);
    assert!(revoked.ends_with(": Key has been revoked"), "{revoked}");
}
