//! Keys that both ends know: our ends, built with the feature `psk`, with the reference's.

use house_tests::tools::{our_nbd, program, qemu_nbd};
use house_tests::{Scratch, Tool, ours, reference, require};

use crate::certificates::Certificates;
use crate::servers::{Make, Over, Server};

const KEYS: &str = "qemu:00112233445566778899aabbccddeeff\nother:0123456789abcdef\n";
const WRONG: &str = "qemu:ffffffffffffffffffffffffffffffff\nother:00\n";

fn folder() -> Scratch {
    let scratch = Scratch::new();
    for (dir, keys) in [("keys", KEYS), ("wrong", WRONG)] {
        std::fs::create_dir(scratch.path(dir)).expect("a folder");
        std::fs::write(scratch.path(dir).join("keys.psk"), keys).expect("a file");
    }
    std::fs::write(scratch.path("disk"), vec![7; 1 << 20]).expect("a file");
    scratch
}

/// # Errors
/// That our tools were built without.
fn built_with_keys(scratch: &Scratch) -> Result<(), String> {
    let object = format!(
        "tls-creds-psk,id=t,endpoint=client,dir={}",
        scratch.path("keys").display()
    );
    for tool in [our_nbd(), ours()] {
        let words = match tool.label {
            "qnbd" => vec!["--object", &object, "--tls-creds", "x", "-L"],
            _ => vec!["info", "--object", &object, "disk"],
        };
        let output = tool.run(scratch.dir(), &words);
        if output.stderr.contains("without the feature 'psk'") {
            return Err(format!("{} is built without the feature psk", tool.label));
        }
    }
    Ok(())
}

fn info(tool: &Tool, scratch: &Scratch, server: &Server, keys: &str, name: &str) -> bool {
    let dir = scratch.path(keys);
    let object = format!(
        "tls-creds-psk,id=t,endpoint=client,dir={},username={name}",
        dir.display()
    );
    let options = format!("driver=nbd,host=127.0.0.1,port={},tls-creds=t", server.port);
    let words = ["map", "--object", &object, "--image-opts", &options];
    let output = tool.run(scratch.dir(), &words);
    assert!(!output.timed_out, "{}", output.report());
    output.code == Some(0)
}

#[test]
fn both_ends_take_the_references_keys() {
    let scratch = folder();
    require!(built_with_keys(&scratch));
    let (theirs, _) = (require!(reference()), require!(qemu_nbd()));
    let object = format!(
        "tls-creds-psk,id=t,endpoint=server,dir={}",
        scratch.path("keys").display()
    );
    let more = ["--object", &object, "--tls-creds", "t"];
    for make in [Make::Ours, Make::Qemu] {
        let server = Server::start_with(make, Over::Tcp, &scratch, None, &more, "disk");
        let server = require!(server);
        for tool in [&ours(), &theirs] {
            let pair = format!("{} with {make:?}", tool.label);
            assert!(info(tool, &scratch, &server, "keys", "qemu"), "{pair}");
            assert!(info(tool, &scratch, &server, "keys", "other"), "{pair}");
            assert!(!info(tool, &scratch, &server, "wrong", "qemu"), "{pair}");
            assert!(!info(tool, &scratch, &server, "wrong", "other"), "{pair}");
        }
        let nbdinfo = require!(program("nbdinfo", "libnbd-bin"));
        for (keys, lets_in) in [("keys", true), ("wrong", false)] {
            let file = scratch.path(keys).join("keys.psk");
            let uri = format!(
                "nbds://qemu@127.0.0.1:{}/?tls-psk-file={}",
                server.port,
                file.display()
            );
            let output = nbdinfo.run(scratch.dir(), &[&uri]);
            assert_eq!(output.code == Some(0), lets_in, "{}", output.report());
        }
    }
}

/// A certificate, even a good one, is no proof to a client that wants the key.
#[test]
fn a_server_with_a_certificate_in_place_of_the_key_is_refused() {
    let scratch = folder();
    require!(built_with_keys(&scratch));
    let certificates = require!(Certificates::make(scratch.dir()));
    let object = format!(
        "tls-creds-x509,id=open,endpoint=server,verify-peer=off,dir={}",
        certificates.server.display()
    );
    let more = ["--object", &object, "--tls-creds", "open"];
    for make in [Make::Ours, Make::Qemu] {
        let server = Server::start_with(make, Over::Tcp, &scratch, None, &more, "disk");
        let server = require!(server);
        assert!(
            !info(&ours(), &scratch, &server, "keys", "qemu"),
            "{make:?}"
        );
    }
}

#[test]
fn credentials_without_proof_are_refused_in_one_line() {
    let scratch = folder();
    let object = "tls-creds-anon,id=t,endpoint=server";
    let words = ["--object", object, "--tls-creds", "t", "-f", "raw", "disk"];
    let refused = our_nbd().run(scratch.dir(), &words).expect_code(1);
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.report());
    assert!(refused.stderr.contains("tls-creds-anon is not supported"));
}
