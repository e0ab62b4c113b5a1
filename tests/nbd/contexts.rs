//! What servers tell beside allocation, `qemu:dirty-bitmap` and `qemu:allocation-depth`, and fast zeroes: each client sees the
//! same on our server as on the reference's, and our client says the same as the reference's.

use house_tests::tools::program;
use house_tests::{Scratch, Tool, ours, qemu_io, reference, require};

use crate::clients::{libnbd_for_python, shell};
use crate::servers::{Make, Over, Server};

/// A base with data and holes, and a layer with a bitmap that saw some of the layer's writes.
fn layers(scratch: &Scratch) -> Result<(), String> {
    let (img, io) = (reference()?, qemu_io()?);
    let run = |tool: &Tool, words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        tool.run(scratch.dir(), &words).ok();
    };
    let write = |file: &str, command: &str| {
        io.run(scratch.dir(), &["-f", "qcow2", "-c", command, file])
            .ok();
    };
    run(&img, "create -q -f qcow2 base 8M");
    write("base", "write -P 3 1M 300k");
    write("base", "write -z 6M 256k");
    run(&img, "create -q -f qcow2 -b base -F qcow2 disk");
    write("disk", "write -P 4 4M 64k");
    run(&img, "bitmap --add disk all");
    run(&img, "bitmap --add disk other");
    write("disk", "write -P 5 2M 64k");
    write("disk", "write -P 6 7M 130k");
    run(&img, "bitmap --disable disk all");
    Ok(())
}

const OPTIONS: &[&str] = &["-f", "qcow2", "-A", "-B", "all", "-B", "other"];
const CONTEXTS: [&str; 5] = [
    "base:allocation",
    "qemu:allocation-depth",
    "qemu:dirty-bitmap:all",
    "qemu:dirty-bitmap:other",
    "qemu:dirty-bitmap:none",
];

/// Both servers on the same disk.
struct Both {
    scratch: Scratch,
    servers: [Server; 2],
}

impl Both {
    fn start(more: &[&str]) -> Result<Self, String> {
        let scratch = Scratch::new();
        layers(&scratch)?;
        let mut options = OPTIONS.to_vec();
        options.extend(more);
        let start = |make| {
            let over = Over::Unix;
            Server::start_with(make, over, &scratch, None, &options, "disk")
        };
        let servers = [start(Make::Ours)?, start(Make::Qemu)?];
        Ok(Self { scratch, servers })
    }
}

#[test]
fn map_shows_what_a_context_tells() {
    let theirs = require!(reference());
    let both = require!(Both::start(&["-r"]));
    for context in CONTEXTS {
        let said = both.servers.each_ref().map(|server| {
            let socket = server.socket.display();
            let options = format!("driver=nbd,path={socket},x-dirty-bitmap={context}");
            let words = ["map", "--output=json", "--image-opts", &options];
            let (want, got) = (
                theirs.run(both.scratch.dir(), &words),
                ours().run(both.scratch.dir(), &words),
            );
            let same = (got.code, &got.stdout) == (want.code, &want.stdout);
            assert!(same, "{context}\n{}\n{}", want.report(), got.report());
            // Of a context that is not there, ours says so.
            let missing = got.stderr.contains("not found");
            assert_eq!(missing, context.ends_with("none"), "{}", got.report());
            got.stdout
        });
        assert_eq!(said[0], said[1], "{context}");
    }
}

#[test]
fn nbdinfo_sees_the_same_on_both_servers() {
    let info = require!(program("nbdinfo", "libnbd-bin"));
    for more in [&["-r"][..], &["-r", "-x", "name", "-D", "words"]] {
        let both = require!(Both::start(more));
        let name = if more.contains(&"-x") { "name" } else { "" };
        let uris = both
            .servers
            .each_ref()
            .map(|s| format!("nbd+unix:///{name}?socket={}", s.socket.display()));
        let run = |words: &[&str]| {
            let said = uris.each_ref().map(|uri| {
                let mut all = words.to_vec();
                all.push(uri);
                let output = info.run(both.scratch.dir(), &all);
                (output.code, output.stdout.replace(uri.as_str(), "URI"))
            });
            assert_eq!(said[0], said[1], "{words:?}");
        };
        run(&[]);
        run(&["--json"]);
        run(&["--list"]);
        for context in &CONTEXTS[..4] {
            run(&[&format!("--map={context}")]);
            run(&[&format!("--map={context}"), "--totals"]);
        }
        for can in [
            "fua",
            "flush",
            "trim",
            "zero",
            "fast-zero",
            "df",
            "cache",
            "multi-conn",
        ] {
            run(&["--can", can]);
        }
        run(&["--is", "read-only"]);
    }
}

/// Prints what a server makes of fast zeroes, over data, holes and zeroes.
const FAST_ZERO: &str = r"
import nbd, os, sys
h = nbd.NBD()
h.connect_uri(os.environ['URI'])
assert h.can_fast_zero()
for offset in (0, 1 << 20, 2 << 20, 6 << 20, 7 << 20):
    for flags in (nbd.CMD_FLAG_FAST_ZERO, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE):
        before = h.pread(65536, offset)
        try:
            h.zero(65536, offset, flags)
        except nbd.Error as e:
            assert e.errno == 'ENOTSUP', e.errno
            assert h.pread(65536, offset) == before
        else:
            assert h.pread(65536, offset) == bytearray(65536)
print('fine')
";

#[test]
fn a_fast_zero_is_done_or_changes_nothing() {
    require!(libnbd_for_python());
    for make in [Make::Ours, Make::Qemu] {
        for format in ["qcow2", "raw"] {
            let scratch = Scratch::new();
            require!(layers(&scratch));
            let file = if format == "raw" { "flat" } else { "disk" };
            let words = ["convert", "-O", "raw", "disk", "flat"];
            require!(reference()).run(scratch.dir(), &words).ok();
            let (over, more) = (Over::Unix, ["-f", format]);
            let server = require!(Server::start_with(make, over, &scratch, None, &more, file));
            shell(FAST_ZERO, &server.uri(None), &format!("{make:?} {format}"));
        }
    }
}
