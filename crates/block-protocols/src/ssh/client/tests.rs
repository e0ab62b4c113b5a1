use super::*;

fn settings(host: &str, user: &str, check: &str) -> Settings {
    let mut options = qapi::Dict::new();
    options.insert("host", host);
    options.insert("user", user);
    options.insert("path", "/x");
    options.insert("host_key_check", check);
    Settings::take(&mut options).unwrap()
}

fn line(settings: &Settings) -> Result<Vec<String>> {
    reactor::run_light(words(settings)).unwrap()
}

#[test]
fn names_cannot_become_options_or_commands() {
    for (host, user) in [
        ("-oProxyCommand=x", "u"),
        ("h", "-oProxyCommand=x"),
        ("", "u"),
        ("h", ""),
        ("h x", "u"),
        ("u@h", "u"),
        ("h;x", "u"),
        ("h", "$(x)"),
        ("h", "`x`"),
        ("h", "u\n"),
    ] {
        let error = line(&settings(host, user, "no")).unwrap_err();
        let message = error.message();
        assert!(
            message.starts_with("Invalid SSH "),
            "{host} {user}: {message}"
        );
    }
    let words = line(&settings("h", "u", "no")).unwrap();
    let end = words.len() - 7;
    assert_eq!(words[end..], ["-l", "u", "-p", "22", "--", "h", "sftp"]);
}

#[test]
fn every_check_says_what_is_known() {
    let has = |check: &str, option: &str| {
        line(&settings("h", "u", check))
            .unwrap()
            .contains(&option.to_owned())
    };
    assert!(has("no", "StrictHostKeyChecking=no"));
    assert!(has("no", "UserKnownHostsFile=/dev/null"));
    assert!(has("yes", "StrictHostKeyChecking=yes"));
    assert!(!has("yes", "UserKnownHostsFile=/dev/null"));
    assert!(has("sha1:00", "StrictHostKeyChecking=yes"));
    assert!(has("sha1:00", "GlobalKnownHostsFile=/dev/null"));
    for check in ["no", "yes", "md5:00"] {
        assert!(has(check, "BatchMode=yes") && has(check, "ControlPath=none"));
    }
}

#[test]
fn a_digest_cannot_become_a_command() {
    assert_eq!(plain_hash("AB:cd:01"), "abcd01");
    for hash in ["", ":", "00; x", "$(x)", "0'", "zz"] {
        assert_eq!(plain_hash(hash), "none", "{hash}");
    }
}

#[test]
fn last_words_are_put_into_known_ones() {
    let lost = Broken::Lost("the connection ended".into());
    let words = |said: &str, check: &str| {
        let error = explain(said, &lost, &settings("h", "u", check));
        error.message().to_owned()
    };
    let verify = "Host key verification failed.\n";
    for (said, check, wanted) in [
        (
            "ssh: Could not resolve hostname h: Name or service not known\n",
            "no",
            "address resolution failed for h:22: Name or service not known",
        ),
        (
            "ssh: connect to host h port 22: Connection refused\n",
            "no",
            "Failed to connect to 'h:22': Connection refused",
        ),
        (
            "u@h: Permission denied (publickey).\n",
            "no",
            "failed to authenticate using publickey authentication and the identities held by your ssh-agent",
        ),
        (
            "subsystem request failed on channel 0\n",
            "no",
            "failed to initialize sftp handle: the host has no SFTP server",
        ),
        (verify, "yes", "no host key was found in known_hosts"),
        (
            verify,
            "md5:00",
            "failed to read remote host key: nothing could make a digest of it",
        ),
        (
            "fingerprint ssh-rsa 0123\nHost key verification failed.\n",
            "md5:00",
            "remote host ssh-rsa key fingerprint 'md5:0123' does not match host_key_check 'md5:00'",
        ),
        (
            "Bad\x1b[2J thing\n",
            "no",
            "failed to establish SSH session: Bad[2J thing",
        ),
        (
            "",
            "no",
            "failed to establish SSH session: the connection ended",
        ),
    ] {
        assert_eq!(words(said, check), wanted);
    }
    let changed = |offending: &str| {
        let said = format!(
            "The fingerprint for the RSA key sent by the remote host is\nSHA256:abc.\n\
             Offending {offending} key in /x:1\n{verify}"
        );
        words(&said, "yes")
    };
    assert_eq!(
        changed("RSA"),
        "host key (ssh-rsa key with fingerprint SHA256:abc) does not match the one in known_hosts; this may be a possible attack"
    );
    assert_eq!(
        changed("ED25519"),
        "host key for this server not found, another type exists"
    );
}
