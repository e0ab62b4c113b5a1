//! The same work by each client on each server: write, zero, trim, read back, ask for block status, copy out.

use std::process::Command;

use house_tests::tools::{our_io, program};
use house_tests::{Scratch, Tool, ours, qemu_io, reference, require};

use crate::certificates::Certificates;
use crate::servers::{MAKES, Make, Over, Server};

const SIZE: u64 = 8 << 20;

/// What a client does, as both io tools write it.
const WORK: &[&str] = &[
    "write -P 17 0 2M",
    "write -P 18 3M 300k",
    "write -z 64k 64k",
    "write -z -u 256k 128k",
    "discard 1M 512k",
    "aio_write -P 20 5M 1M",
    "aio_write -P 21 6M 1M",
    "aio_flush",
    "write -f -P 19 7M 4k",
    "flush",
    "read -P 17 0 64k",
    "read -P 0 64k 64k",
    "read -P 0 256k 128k",
    "read -P 18 3M 300k",
    "read -P 20 5M 1M",
    "read -P 0 4M 1M",
];

/// What the disk holds after it.
fn expected() -> Vec<u8> {
    let mut disk = vec![0; usize::try_from(SIZE).expect("small")];
    let mut fill = |byte: u8, from: usize, len: usize| disk[from..from + len].fill(byte);
    fill(17, 0, 2 << 20);
    fill(18, 3 << 20, 300 << 10);
    fill(0, 64 << 10, 64 << 10);
    fill(0, 256 << 10, 128 << 10);
    fill(0, 1 << 20, 512 << 10);
    fill(20, 5 << 20, 1 << 20);
    fill(21, 6 << 20, 1 << 20);
    fill(19, 7 << 20, 4 << 10);
    disk
}

/// A place for one combination.
struct Cell {
    scratch: Scratch,
    certificates: Option<Certificates>,
    server: Server,
    name: String,
}

impl Cell {
    fn new(make: Make, over: Over) -> Result<Self, String> {
        let scratch = Scratch::new();
        let certificates = match over {
            Over::Tls => Some(Certificates::make(scratch.dir())?),
            _ => None,
        };
        let file = std::fs::File::create(scratch.path("disk")).map_err(|e| e.to_string())?;
        file.set_len(SIZE).map_err(|e| e.to_string())?;
        let server = Server::start(make, over, &scratch, certificates.as_ref(), "disk")?;
        Ok(Self {
            scratch,
            certificates,
            server,
            name: format!("{make:?} over {over:?}"),
        })
    }

    fn words(&self) -> Vec<String> {
        let creds = self.certificates.as_ref().map(|c| c.client.as_path());
        self.server.words(creds)
    }

    fn uri(&self) -> String {
        self.server.uri(self.certificates.as_ref())
    }

    /// A tool with the words that open the disk behind its own.
    fn run(&self, tool: &Tool, before: &[&str], after: &[&str]) -> house_tests::Output {
        let words = self.words();
        let mut all: Vec<&str> = before.to_vec();
        let (opts, place) = words.split_at(words.len() - 1);
        all.extend(opts.iter().map(String::as_str));
        all.extend(after);
        all.push(&place[0]);
        tool.run(self.scratch.dir(), &all)
    }

    fn work(&self, io: &Tool) {
        let mut words = Vec::new();
        for command in WORK {
            words.extend(["-c", command]);
        }
        let output = self.run(io, &[], &words).ok();
        for bad in ["verification failed", "failed:"] {
            assert!(
                !output.stdout.contains(bad),
                "{}: {}",
                self.name,
                output.report()
            );
        }
    }

    #[track_caller]
    fn check_file(&self, name: &str) {
        let bytes = std::fs::read(self.scratch.path(name)).expect("a file");
        let wanted = expected();
        assert_eq!(bytes.len(), wanted.len(), "{} {name}", self.name);
        let wrong = bytes.iter().zip(&wanted).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "{} {name} differs", self.name);
    }
}

/// Our tools as clients: work, map as the reference's on the same server, copy, compare.
fn ours_on(make: Make, over: Over) -> Result<(), String> {
    let theirs = reference()?;
    let cell = Cell::new(make, over)?;
    cell.work(&our_io());
    cell.check_file("disk");
    let map = ["map", "--output=json"];
    let (want, got) = (
        cell.run(&theirs, &map, &[]).ok(),
        cell.run(&ours(), &map, &[]).ok(),
    );
    assert_eq!(got.stdout, want.stdout, "{}", cell.name);
    let mut words: Vec<String> = vec!["convert".to_owned()];
    words.extend(cell.words());
    words.extend(["-O", "raw", "out"].map(str::to_owned));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    ours().run(cell.scratch.dir(), &words).ok();
    cell.check_file("out");
    Ok(())
}

macro_rules! matrix {
    ($($name:ident = $over:ident;)*) => {
        $(
            #[test]
            fn $name() {
                let mut missing = Vec::new();
                for make in MAKES {
                    if let Err(reason) = ours_on(make, Over::$over) {
                        missing.push(reason);
                    }
                }
                if let Some(reason) = missing.first() {
                    house_tests::skip!("{reason}");
                }
            }
        )*
    };
}

matrix! {
    our_client_and_every_server_over_unix_sockets = Unix;
    our_client_and_every_server_over_tcp = Tcp;
    our_client_and_every_server_over_tls = Tls;
}

#[test]
fn qemus_client_and_our_server() {
    let (io, img) = (require!(qemu_io()), require!(reference()));
    for over in [Over::Unix, Over::Tcp, Over::Tls] {
        let cell = require!(Cell::new(Make::Ours, over));
        cell.work(&io);
        cell.check_file("disk");
        let map = ["map", "--output=json"];
        let (want, got) = (
            cell.run(&img, &map, &[]).ok(),
            cell.run(&ours(), &map, &[]).ok(),
        );
        assert_eq!(got.stdout, want.stdout, "{}", cell.name);
    }
}

/// nbdcopy opens several connections where the server offers it, in both directions.
#[test]
fn nbdcopy_and_our_server() {
    let copy = require!(program("nbdcopy", "libnbd-bin"));
    let info = require!(program("nbdinfo", "libnbd-bin"));
    for over in [Over::Unix, Over::Tcp, Over::Tls] {
        let cell = require!(Cell::new(Make::Ours, over));
        std::fs::write(cell.scratch.path("in"), expected()).expect("a file");
        let uri = cell.uri();
        copy.run(cell.scratch.dir(), &["--connections=4", "in", &uri])
            .ok();
        cell.check_file("disk");
        copy.run(cell.scratch.dir(), &["--connections=4", &uri, "out"])
            .ok();
        cell.check_file("out");
        let told = info.run(cell.scratch.dir(), &["--json", &uri]).ok().json();
        assert_eq!(told["exports"][0]["export-size"], SIZE, "{}", cell.name);
        assert_eq!(told["exports"][0]["can_multi_conn"], true);
        let map = info
            .run(cell.scratch.dir(), &["--map", "--totals", &uri])
            .ok();
        assert!(map.stdout.contains("data"), "{}", map.report());
    }
}

/// libnbd's shell, a program at a time. Debian's package is for the system's own Python.
pub(crate) fn python(code: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", code]);
    command
}

/// # Errors
/// That it is not there.
pub(crate) fn libnbd_for_python() -> Result<(), String> {
    let there = python("import nbd").output();
    if there.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    Err("libnbd for Python is not installed (Debian package python3-libnbd)".to_owned())
}

/// Runs a program that prints `fine` when all went well; `URI` is the server.
pub(crate) fn shell(code: &str, uri: &str, story: &str) {
    let output = python(code).env("URI", uri).output().expect("it starts");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "fine\n",
        "{story}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The three forms of replies, asked for one by one, and everything that can be asked in each.
const SHELL: &str = r#"
import nbd, os
def refused(number, what):
    try:
        what()
    except nbd.Error as e:
        assert e.errno == number, e.errno
    else:
        assert False, 'it went well'
def run(structured, extended):
    h = nbd.NBD()
    h.set_uri_allow_local_file(True)
    h.set_request_structured_replies(structured)
    if hasattr(h, 'set_request_extended_headers'):
        h.set_request_extended_headers(extended)
    if structured:
        h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    h.connect_uri(os.environ['URI'])
    assert h.get_structured_replies_negotiated() == structured
    assert h.can_df() == structured
    for can in (h.can_flush, h.can_fua, h.can_trim, h.can_zero, h.can_fast_zero, h.can_cache, h.can_multi_conn):
        assert can(), can
    assert not h.is_read_only()
    h.pwrite(b'a' * 65536, 0)
    h.zero(32768, 0, nbd.CMD_FLAG_FUA)
    h.zero(4096, 131072, nbd.CMD_FLAG_NO_HOLE)
    h.trim(4096, 32768, nbd.CMD_FLAG_FUA)
    h.cache(65536, 0)
    h.flush()
    assert h.pread(32768, 0) == bytearray(32768)
    assert h.pread(24576, 40960) == bytearray(b'a' * 24576)
    h.pwrite(b'b' * 65536, 1 << 20, nbd.CMD_FLAG_FUA)
    try:
        h.zero(65536, 2 << 20, nbd.CMD_FLAG_FAST_ZERO)
    except nbd.Error as e:
        assert e.errno == 'ENOTSUP', e.errno
    else:
        assert h.pread(65536, 2 << 20) == bytearray(65536)
    if structured:
        seen = []
        h.block_status(2 << 20, 0, lambda m, o, e, err: seen.extend(e))
        assert sum(seen[0::2]) == 2 << 20, seen
        one = []
        h.block_status(2 << 20, 0, lambda m, o, e, err: one.extend(e), nbd.CMD_FLAG_REQ_ONE)
        assert len(one) == 2 and one[0] <= 2 << 20, one
        chunks = []
        h.pread_structured(65536 * 2, 1 << 20, lambda b, o, s, err: chunks.append((o, len(b), s)))
        assert chunks, chunks
        whole = []
        h.pread_structured(65536 * 2, 1 << 20, lambda b, o, s, err: whole.append(len(b)), nbd.CMD_FLAG_DF)
        assert whole == [65536 * 2], whole
    h.set_strict_mode(0)
    refused('EINVAL', lambda: h.pread(4096, 8 << 20))
    refused('ENOSPC', lambda: h.pwrite(b'x' * 4096, 8 << 20))
    refused('ENOSPC', lambda: h.zero(4096, 8 << 20))
    refused('EINVAL', lambda: h.trim(4096, 8 << 20))
    h.shutdown()
run(False, False)
run(True, False)
run(True, True)
print('fine')
"#;

#[test]
fn libnbd_and_our_server_in_every_form_of_replies() {
    require!(libnbd_for_python());
    for over in [Over::Unix, Over::Tcp, Over::Tls] {
        let cell = require!(Cell::new(Make::Ours, over));
        shell(SHELL, &cell.uri(), &cell.name);
    }
}

/// What one connection flushed, the others see: in all forms of replies side by side.
const SHARED: &str = r#"
import nbd, os
def connect(structured, extended):
    h = nbd.NBD()
    h.set_uri_allow_local_file(True)
    h.set_request_structured_replies(structured)
    if hasattr(h, 'set_request_extended_headers'):
        h.set_request_extended_headers(extended)
    h.connect_uri(os.environ['URI'])
    assert h.can_multi_conn()
    return h
all = [connect(s, e) for s, e in ((False, False), (True, False), (True, True), (True, True))]
for turn in range(20):
    for n, h in enumerate(all):
        h.pwrite(bytes([turn + n + 1]) * 4096, n * 4096)
    all[turn % 4].flush()
    for h in all:
        data = h.pread(4 * 4096, 0)
        assert data == b''.join(bytes([turn + n + 1]) * 4096 for n in range(4))
    all[turn % 4].zero(4096, 4096, nbd.CMD_FLAG_FUA)
    assert all[(turn + 1) % 4].pread(4096, 4096) == bytearray(4096)
for h in all:
    h.shutdown()
print('fine')
"#;

#[test]
fn several_connections_of_libnbd_see_one_disk() {
    require!(libnbd_for_python());
    for make in [Make::Ours, Make::Qemu] {
        for over in [Over::Unix, Over::Tcp, Over::Tls] {
            let cell = require!(Cell::new(make, over));
            shell(SHARED, &cell.uri(), &cell.name);
        }
    }
}
