//! TLS beside the reference: the same certificates are taken and refused, in the same words.

use house_tests::tools::{our_nbd, qemu_nbd};
use house_tests::{Scratch, Tool, ours, reference, require};

use crate::certificates::{CLIENT, Certificates};
use crate::servers::{Make, Over, Server};

fn disk(scratch: &Scratch) {
    let file = std::fs::File::create(scratch.path("disk")).expect("a file");
    file.set_len(1 << 20).expect("a length");
}

/// `info` of a server with these credentials.
fn info(
    tool: &Tool,
    scratch: &Scratch,
    server: &Server,
    creds: &std::path::Path,
    more: &str,
) -> (Option<i32>, String) {
    let mut words = server.words(Some(creds));
    if let Some(last) = words.last_mut() {
        last.push_str(more);
    }
    let mut all = vec!["info"];
    all.extend(words.iter().map(String::as_str));
    let output = tool.run(scratch.dir(), &all);
    (output.code, output.stdout + &output.stderr)
}

#[test]
fn strangers_and_wrong_names_are_refused_in_known_words() {
    let scratch = Scratch::new();
    let certificates = require!(Certificates::make(scratch.dir()));
    let theirs = require!(reference());
    disk(&scratch);
    for make in [Make::Ours, Make::Qemu] {
        let server = require!(Server::start(
            make,
            Over::Tls,
            &scratch,
            Some(&certificates),
            "disk"
        ));
        for (creds, more) in [
            (&certificates.client, ""),
            (&certificates.client, ",tls-hostname=wrong.example"),
            (&certificates.stranger, ""),
            (&certificates.stranger, ",tls-hostname=127.0.0.1"),
        ] {
            let want = info(&theirs, &scratch, &server, creds, more);
            let got = info(&ours(), &scratch, &server, creds, more);
            assert_eq!(got, want, "{make:?} {more}");
        }
        let plain = format!("nbd://127.0.0.1:{}", server.port);
        let (want, got) = (
            theirs.run(scratch.dir(), &["info", &plain]),
            ours().run(scratch.dir(), &["info", &plain]),
        );
        assert_eq!((got.code, got.stderr), (want.code, want.stderr), "{make:?}");
    }
}

#[test]
fn a_name_of_nbds_brings_its_certificates() {
    let scratch = Scratch::new();
    let certificates = require!(Certificates::make(scratch.dir()));
    disk(&scratch);
    let server = require!(Server::start(
        Make::Ours,
        Over::Tls,
        &scratch,
        Some(&certificates),
        "disk"
    ));
    let uri = server.uri(Some(&certificates));
    ours().run(scratch.dir(), &["info", &uri]).ok();
    let bare = format!("nbds://127.0.0.1:{}", server.port);
    let refused = ours().run(scratch.dir(), &["info", &bare]).expect_code(1);
    assert!(
        refused.stderr.contains("TLS needs credentials"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_server_without_tls_says_so() {
    let scratch = Scratch::new();
    let certificates = require!(Certificates::make(scratch.dir()));
    let theirs = require!(reference());
    disk(&scratch);
    let server = require!(Server::start(Make::Ours, Over::Tcp, &scratch, None, "disk"));
    let options = format!("driver=nbd,host=127.0.0.1,port={},tls-creds=t", server.port);
    let object = format!(
        "tls-creds-x509,id=t,endpoint=client,dir={}",
        certificates.client.display()
    );
    let words = ["info", "--object", &object, "--image-opts", &options];
    let (want, got) = (
        theirs.run(scratch.dir(), &words),
        ours().run(scratch.dir(), &words),
    );
    assert_eq!((got.code, got.stderr), (want.code, want.stderr));
}

#[test]
fn authorizations_let_in_whom_they_name() {
    let scratch = Scratch::new();
    let certificates = require!(Certificates::make(scratch.dir()));
    disk(&scratch);
    let named = CLIENT.replace(',', ",,");
    std::fs::write(
        scratch.path("rules"),
        r#"{"rules": [{"match": "CN=client,*", "policy": "allow", "format": "glob"}]}"#,
    )
    .expect("a file");
    let file = format!(
        "authz-list-file,id=a,filename={}",
        scratch.path("rules").display()
    );
    for (object, lets_in) in [
        (format!("authz-simple,id=a,identity={named}"), true),
        ("authz-simple,id=a,identity=CN=client".to_owned(), false),
        (
            "authz-list,id=a,rules.0.match=CN=c*,rules.0.format=glob,rules.0.policy=allow"
                .to_owned(),
            true,
        ),
        ("authz-list,id=a,policy=deny".to_owned(), false),
        (file, true),
    ] {
        let more = ["--object", object.as_str(), "--tls-authz", "a"];
        let server = require!(Server::start_with(
            Make::Ours,
            Over::Tls,
            &scratch,
            Some(&certificates),
            &more,
            "disk"
        ));
        let (code, said) = info(&ours(), &scratch, &server, &certificates.client, "");
        assert_eq!(code == Some(0), lets_in, "{object}: {said}");
    }
}

#[test]
fn lists_go_through_tls_too() {
    let scratch = Scratch::new();
    let certificates = require!(Certificates::make(scratch.dir()));
    let theirs = require!(qemu_nbd());
    disk(&scratch);
    let server = require!(Server::start(
        Make::Ours,
        Over::Tls,
        &scratch,
        Some(&certificates),
        "disk"
    ));
    let port = server.port.to_string();
    let object = format!(
        "tls-creds-x509,id=t,endpoint=client,dir={}",
        certificates.client.display()
    );
    for more in [&[][..], &["--tls-hostname", "wrong.example"]] {
        let mut words = vec!["-L", "-b", "127.0.0.1", "-p", &port, "--object", &object];
        words.extend(["--tls-creds", "t"]);
        words.extend(more);
        let (want, got) = (
            theirs.run(scratch.dir(), &words),
            our_nbd().run(scratch.dir(), &words),
        );
        assert_eq!(
            (got.code, &got.stdout, &got.stderr),
            (want.code, &want.stdout, &want.stderr),
            "{more:?}"
        );
    }
}
