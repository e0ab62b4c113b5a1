use super::*;

fn parsed(name: &str) -> Result<Dict> {
    let mut options = Dict::new();
    parse_filename(name, &mut options)?;
    Ok(options)
}

fn settings(text: &str) -> Result<Settings> {
    let value = qapi::json::parse(text).unwrap();
    let Value::Dict(flat) = value else {
        panic!("{text}")
    };
    Settings::take(&mut opts::nest(flat).unwrap())
}

#[test]
fn names_come_back_in_their_full_form() {
    for (given, full) in [
        ("ssh://u@host/a/b", "ssh://u@host:22/a/b"),
        ("ssh://u@host:0/a", "ssh://u@host:22/a"),
        ("ssh://u:x@host:5/%41%2f", "ssh://u:x@host:5/A/"),
        (
            "ssh://u@host:5//a?host_key_check=no#x",
            "ssh://u@host:5//a?host_key_check=no",
        ),
        (
            "ssh://u@[::1]:5/a?host_key_check=md5:0%41",
            "ssh://u@::1:5/a?host_key_check=md5:0A",
        ),
        (
            "ssh://u@h/a?host_key_check=no&host_key_check=yes",
            "ssh://u@h:22/a?host_key_check=yes",
        ),
        ("ssh://u@h/a?nothing", "ssh://u@h:22/a"),
    ] {
        let options = parsed(given).unwrap();
        assert_eq!(plain_name(&options).as_deref(), Some(full), "{given}");
    }
}

#[test]
fn wrong_names_are_refused_in_known_words() {
    let server = "Parameter 'server' is missing";
    for (given, words) in [
        ("ssh:", "missing hostname in URI"),
        ("ssh:host/x", "missing hostname in URI"),
        ("ssh:///x", "missing hostname in URI"),
        ("ssh://h", "missing remote path in URI"),
        ("ssh://h?host_key_check=no", "missing remote path in URI"),
        ("ssh://h:99999/x", server),
        ("ssh://h:x/x", server),
        ("ssh://[::1/x", server),
        ("ssh://[::1]x/x", server),
        ("ssh://h/%0", server),
        (
            "ssh://h/x?host_key_check=ask",
            "unknown host_key_check setting (ask)",
        ),
        (
            "ssh://h/x?host_key_check=md5",
            "unknown host_key_check setting (md5)",
        ),
        (
            "ssh://h/x?host_key_check=sha512:0",
            "unknown host_key_check setting (sha512:0)",
        ),
    ] {
        let refused = parsed(given).and_then(|mut options| Settings::take(&mut options));
        assert_eq!(refused.unwrap_err().message(), words, "{given}");
    }
}

#[test]
fn checks_are_read_in_older_and_newer_words() {
    let check =
        |more: &str| settings(&format!(r#"{{"host":"h","path":"/x",{more}}}"#)).map(|s| s.check);
    let hash = HostKeyCheck::Hash(Digest::Sha1, "00:ff".to_owned());
    for (more, wanted) in [
        (r#""user":"u""#, HostKeyCheck::KnownHosts),
        (r#""host_key_check":"no""#, HostKeyCheck::None),
        (r#""host_key_check":"sha1:00:ff""#, hash.clone()),
        (r#""host-key-check":{"mode":"none"}"#, HostKeyCheck::None),
        (
            r#""host-key-check.mode":"known_hosts""#,
            HostKeyCheck::KnownHosts,
        ),
        (
            r#""host-key-check":{"mode":"hash","type":"sha1","hash":"00:ff"}"#,
            hash,
        ),
        (
            r#""host-key-check":{"mode":"none"},"host_key_check":"yes""#,
            HostKeyCheck::KnownHosts,
        ),
    ] {
        assert_eq!(check(more).unwrap(), wanted, "{more}");
    }
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let server = r#""server":{"host":"h","port":"1"},"path":"/x""#;
    let check = |rest: &str| format!(r#"{{{server},"host-key-check":{rest}}}"#);
    for (text, words) in [
        (
            r#"{"path":"/x"}"#.to_owned(),
            "Parameter 'server' is missing",
        ),
        (r#"{"host":"h"}"#.to_owned(), "Parameter 'path' is missing"),
        (
            r#"{"port":"22"}"#.to_owned(),
            "port may not be used without host",
        ),
        (
            r#"{"host":"h","port":0.42}"#.to_owned(),
            "Parameter 'port' expects a number",
        ),
        (
            r#"{"host":"h","port":"0.42"}"#.to_owned(),
            "Parameter 'port' expects a number",
        ),
        (
            r#"{"server":{"port":"1"}}"#.to_owned(),
            "Parameter 'server.host' is missing",
        ),
        (
            r#"{"server":{"host":"h"}}"#.to_owned(),
            "Parameter 'server.port' is missing",
        ),
        (
            r#"{"server":"x"}"#.to_owned(),
            "Invalid parameter type for 'server', expected: object",
        ),
        (
            r#"{"server":{"host":"h","port":"1","type":"inet"}}"#.to_owned(),
            "Parameter 'server.type' is unexpected",
        ),
        (
            format!(r#"{{{server},"foo":1}}"#),
            "Parameter 'foo' is unexpected",
        ),
        (
            check("1"),
            "Invalid parameter type for 'host-key-check', expected: object",
        ),
        (check("{}"), "Parameter 'host-key-check.mode' is missing"),
        (
            check(r#"{"mode":"bad"}"#),
            "Parameter 'mode' does not accept value 'bad'",
        ),
        (
            check(r#"{"mode":"hash"}"#),
            "Parameter 'host-key-check.type' is missing",
        ),
        (
            check(r#"{"mode":"hash","type":"md4"}"#),
            "Parameter 'type' does not accept value 'md4'",
        ),
        (
            check(r#"{"mode":"hash","type":"md5"}"#),
            "Parameter 'host-key-check.hash' is missing",
        ),
        (
            check(r#"{"mode":"none","type":"md5"}"#),
            "Parameter 'host-key-check.type' is unexpected",
        ),
    ] {
        assert_eq!(settings(&text).unwrap_err().message(), words, "{text}");
    }
}

#[test]
fn options_beside_a_name_are_refused() {
    for (option, words) in [
        ("host", "Option 'host' cannot be used with a file name"),
        (
            "server.host",
            "Option 'server.host' cannot be used with a file name",
        ),
    ] {
        let mut flat = Dict::new();
        flat.insert(option, "x");
        let mut options = opts::nest(flat).unwrap();
        let error = parse_filename("ssh://h/x", &mut options).unwrap_err();
        assert_eq!(error.message(), words);
    }
}
