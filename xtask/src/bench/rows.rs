//! The table of works: one row each, with the ratio it must reach and the one it aims for.

use super::load::{Load, Work};

/// How outputs are compared.
pub(super) enum Verify {
    /// There is none worth comparing.
    Nothing,
    /// Standard output is equal.
    Text,
    /// `OUT.<format>` holds the same bytes for a guest.
    Image(&'static str),
    /// The same of an image that the secret `s` opens: its format, and the option that names the secret.
    Encrypted(&'static str, &'static str),
}

/// Which tool does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Io,
    Server,
}

/// One work.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Largest ratio of wall times that passes, and the one aimed for.
    pub(super) must: f64,
    pub(super) aim: f64,
    /// Files it reads, from `fixtures`.
    pub(super) needs: &'static [&'static str],
    /// Shell line run before each measured run, not measured; `OUT` is the run's own name.
    pub(super) before: &'static str,
    /// Words after the program's name.
    pub(super) args: &'static str,
    /// How often one measured run repeats it (start-up is too short to measure once).
    pub(super) times: usize,
    pub(super) verify: Verify,
    pub(super) tool: Kind,
    /// The file that it reads from standard input, if any.
    pub(super) input: &'static str,
    /// For a server: what is asked of it. `SOCKET` in the row's words is where.
    pub(super) load: Option<Load>,
    /// A program that shows what the machine can do at most: its name and a shell line.
    pub(super) limit: Option<(&'static str, &'static str)>,
}

/// A row without goals and extras, for the others to start from.
const PLAIN: Row = Row {
    name: "",
    must: 1.0,
    aim: 0.8,
    needs: &[],
    before: "",
    args: "",
    times: 1,
    verify: Verify::Nothing,
    tool: Kind::Image,
    input: "",
    load: None,
    limit: None,
};

/// A server's row: `-r` for reads, and nbdkit beside it.
const fn server(name: &'static str, (must, aim): (f64, f64), qcow2: bool, load: Load) -> Row {
    let write = matches!(load.work, Work::Write);
    Row {
        name,
        must,
        aim,
        needs: if qcow2 {
            &["data.qcow2"]
        } else {
            &["data.raw"]
        },
        before: match (write, qcow2) {
            (true, true) => "cp --reflink=auto data.qcow2 OUT.disk",
            (true, false) => "cp --reflink=auto data.raw OUT.disk",
            _ => "",
        },
        args: match (write, qcow2) {
            (true, true) => "-t -e 0 -k SOCKET -f qcow2 OUT.disk",
            (true, false) => "-t -e 0 -k SOCKET -f raw OUT.disk",
            (false, true) => "-r -t -e 0 -k SOCKET -f qcow2 data.qcow2",
            (false, false) => "-r -t -e 0 -k SOCKET -f raw data.raw",
        },
        tool: Kind::Server,
        load: Some(load),
        limit: if write || qcow2 {
            None
        } else {
            Some(("nbdkit", "-f -r -U SOCKET file data.raw"))
        },
        ..PLAIN
    }
}

const fn load(work: Work, len: u32, depth: usize, connections: usize, count: usize) -> Load {
    Load {
        work,
        len,
        depth,
        connections,
        count,
    }
}

const QD1: Load = load(Work::RandomRead, 4 << 10, 1, 1, 40_000);
const QD32: Load = load(Work::RandomRead, 4 << 10, 32, 1, 100_000);
const MANY: Load = load(Work::RandomRead, 4 << 10, 8, 16, 160_000);
const READ: Load = load(Work::Read, 1 << 20, 4, 1, 3_000);
const WRITE: Load = load(Work::Write, 1 << 20, 4, 1, 2_000);

/// Rows of the NBD server.
pub(super) const SERVER_ROWS: &[Row] = &[
    server("nbd raw 4k random qd1", (1.0, 0.85), false, QD1),
    server("nbd raw 4k random qd32", (0.9, 0.7), false, QD32),
    server("nbd raw 4k 16 connections", (0.8, 0.6), false, MANY),
    server("nbd raw 1M read", (0.7, 0.55), false, READ),
    server("nbd raw 1M write", (0.9, 0.7), false, WRITE),
    server("nbd qcow2 4k random qd1", (1.0, 0.85), true, QD1),
    server("nbd qcow2 4k random qd32", (0.9, 0.7), true, QD32),
    server("nbd qcow2 4k 16 connections", (0.8, 0.6), true, MANY),
    server("nbd qcow2 1M read", (0.7, 0.55), true, READ),
    server("nbd qcow2 1M write", (0.9, 0.7), true, WRITE),
];

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "convert raw -> qcow2",
        needs: &["data.raw"],
        args: "convert -f raw -O qcow2 data.raw OUT.qcow2",
        verify: Verify::Image("qcow2"),
        limit: Some(("cp", "cp --reflink=never data.raw limit.out")),
        ..PLAIN
    },
    Row {
        name: "convert qcow2 -> raw",
        needs: &["data.qcow2"],
        args: "convert -f qcow2 -O raw data.qcow2 OUT.raw",
        verify: Verify::Image("raw"),
        limit: Some(("cp", "cp --reflink=never data.qcow2 limit.out")),
        ..PLAIN
    },
    Row {
        name: "convert chain of 3 -> qcow2",
        needs: &["chain.qcow2"],
        args: "convert -f qcow2 -O qcow2 chain.qcow2 OUT.qcow2",
        verify: Verify::Image("qcow2"),
        limit: Some(("cp", "cp --reflink=never data.qcow2 limit.out")),
        ..PLAIN
    },
    Row {
        name: "convert -c zlib",
        must: 0.5,
        aim: 0.25,
        needs: &["text.raw"],
        args: "convert -c -f raw -O qcow2 text.raw OUT.qcow2",
        verify: Verify::Image("qcow2"),
        limit: Some(("pigz", "pigz -c text.raw > limit.out")),
        ..PLAIN
    },
    Row {
        name: "convert -c zstd",
        must: 0.6,
        aim: 0.4,
        needs: &["text.raw"],
        args: "convert -c -f raw -O qcow2 -o compression_type=zstd text.raw OUT.qcow2",
        verify: Verify::Image("qcow2"),
        limit: Some(("zstd -T0", "zstd -q -T0 -c text.raw > limit.out")),
        ..PLAIN
    },
    Row {
        name: "convert zlib -> raw",
        must: 0.6,
        aim: 0.45,
        needs: &["zlib.qcow2"],
        args: "convert -f qcow2 -O raw zlib.qcow2 OUT.raw",
        verify: Verify::Image("raw"),
        limit: Some(("pigz -d", "pigz -dc zlib.gz > limit.out")),
        ..PLAIN
    },
    Row {
        name: "convert zstd -> raw",
        must: 0.9,
        aim: 0.7,
        needs: &["zstd.qcow2"],
        args: "convert -f qcow2 -O raw zstd.qcow2 OUT.raw",
        verify: Verify::Image("raw"),
        limit: Some(("zstd -d", "zstd -q -dc zstd.zst > limit.out")),
        ..PLAIN
    },
    Row {
        name: "convert vmdk -> qcow2",
        must: 0.6,
        aim: 0.5,
        needs: &["data.vmdk"],
        args: "convert -f vmdk -O qcow2 data.vmdk OUT.qcow2",
        verify: Verify::Image("qcow2"),
        limit: Some(("cp", "cp --reflink=never data.vmdk limit.out")),
        ..PLAIN
    },
    Row {
        name: "convert streamOptimized -> qcow2",
        must: 0.5,
        aim: 0.3,
        needs: &["stream.vmdk", "zlib.qcow2"],
        args: "convert -f vmdk -O qcow2 stream.vmdk OUT.qcow2",
        verify: Verify::Image("qcow2"),
        limit: Some(("pigz -d", "pigz -dc zlib.gz > limit.out")),
        ..PLAIN
    },
    Row {
        name: "convert vdi -> qcow2",
        needs: &["data.vdi"],
        args: "convert -f vdi -O qcow2 data.vdi OUT.qcow2",
        verify: Verify::Image("qcow2"),
        limit: Some(("cp", "cp --reflink=never data.vdi limit.out")),
        ..PLAIN
    },
    Row {
        name: "convert vhdx -> qcow2",
        needs: &["data.vhdx"],
        args: "convert -f vhdx -O qcow2 data.vhdx OUT.qcow2",
        verify: Verify::Image("qcow2"),
        limit: Some(("cp", "cp --reflink=never data.vhdx limit.out")),
        ..PLAIN
    },
    Row {
        name: "convert vpc -> qcow2",
        needs: &["data.vpc"],
        args: "convert -f vpc -O qcow2 data.vpc OUT.qcow2",
        verify: Verify::Image("qcow2"),
        limit: Some(("cp", "cp --reflink=never data.vpc limit.out")),
        ..PLAIN
    },
    Row {
        name: "convert LUKS -> raw",
        must: 0.5,
        aim: 0.3,
        needs: &["data.luks"],
        args: "convert --object secret,id=s,data=letmein --image-opts driver=luks,key-secret=s,file.filename=data.luks -O raw OUT.raw",
        verify: Verify::Image("raw"),
        limit: Some((
            "openssl enc",
            "openssl enc -aes-256-ctr -K 00 -iv 00 -in data.luks -out limit.out 2> limit.err",
        )),
        ..PLAIN
    },
    Row {
        name: "convert raw -> LUKS",
        must: 0.5,
        aim: 0.3,
        needs: &["data.raw"],
        args: "convert --object secret,id=s,data=letmein -f raw -O luks -o key-secret=s,iter-time=10 data.raw OUT.luks",
        verify: Verify::Encrypted("luks", "key-secret"),
        limit: Some((
            "openssl enc",
            "openssl enc -aes-256-ctr -K 00 -iv 00 -in data.raw -out limit.out 2> limit.err",
        )),
        ..PLAIN
    },
    Row {
        name: "convert raw -> qcow2, LUKS",
        must: 0.5,
        aim: 0.3,
        needs: &["data.raw"],
        args: "convert --object secret,id=s,data=letmein -f raw -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 data.raw OUT.qcow2",
        verify: Verify::Encrypted("qcow2", "encrypt.key-secret"),
        limit: Some((
            "openssl enc",
            "openssl enc -aes-256-ctr -K 00 -iv 00 -in data.raw -out limit.out 2> limit.err",
        )),
        ..PLAIN
    },
    Row {
        name: "512 B clusters: convert",
        must: 0.08,
        aim: 0.03,
        needs: &["tiny-clusters.qcow2"],
        args: "convert -f qcow2 -O raw tiny-clusters.qcow2 OUT.raw",
        verify: Verify::Image("raw"),
        limit: Some(("cp", "cp --reflink=never tiny-clusters.qcow2 limit.out")),
        ..PLAIN
    },
    Row {
        name: "512 B clusters: check",
        must: 0.03,
        aim: 0.01,
        needs: &["tiny-clusters.qcow2"],
        args: "check -f qcow2 tiny-clusters.qcow2",
        verify: Verify::Text,
        limit: Some(("cat", "cat tiny-clusters.qcow2 > /dev/null")),
        ..PLAIN
    },
    Row {
        name: "512 B clusters: map",
        must: 0.3,
        aim: 0.1,
        needs: &["tiny-clusters.qcow2"],
        args: "map -f qcow2 --output=json tiny-clusters.qcow2",
        verify: Verify::Text,
        limit: Some(("cat", "cat tiny-clusters.qcow2 > /dev/null")),
        ..PLAIN
    },
    Row {
        name: "1 TiB nearly empty: map",
        must: 0.5,
        aim: 0.3,
        needs: &["huge.qcow2"],
        args: "map -f qcow2 --output=json huge.qcow2",
        times: 5,
        verify: Verify::Text,
        ..PLAIN
    },
    Row {
        name: "1 TiB nearly empty: convert",
        must: 0.3,
        aim: 0.2,
        needs: &["huge.qcow2"],
        args: "convert -f qcow2 -O qcow2 huge.qcow2 OUT.qcow2",
        verify: Verify::Image("qcow2"),
        ..PLAIN
    },
    Row {
        name: "compare raw with qcow2",
        must: 0.8,
        aim: 0.6,
        needs: &["data.raw", "data.qcow2"],
        args: "compare -f raw -F qcow2 data.raw data.qcow2",
        verify: Verify::Text,
        limit: Some((
            "cmp",
            "cp --reflink=auto data.raw limit.out; cmp data.raw limit.out",
        )),
        ..PLAIN
    },
    Row {
        name: "convert nbd -> raw",
        needs: &["data.raw"],
        before: "qemu-nbd --fork -r -f raw -k \"$PWD/OUT.sock\" data.raw",
        args: "convert -f raw -O raw nbd+unix://?socket=OUT.sock OUT.raw",
        verify: Verify::Image("raw"),
        limit: Some(("nbdcopy", "nbdcopy -- [ nbdkit file data.raw ] limit.out")),
        ..PLAIN
    },
    Row {
        name: "convert raw -> nbd",
        needs: &["data.raw"],
        before: "truncate -r data.raw OUT.raw; qemu-nbd --fork -f raw -k \"$PWD/OUT.sock\" OUT.raw",
        args: "convert -n -f raw -O raw data.raw nbd+unix://?socket=OUT.sock",
        verify: Verify::Image("raw"),
        limit: Some((
            "nbdcopy",
            "truncate -r data.raw limit.out; nbdcopy data.raw -- [ nbdkit file limit.out ]",
        )),
        ..PLAIN
    },
    Row {
        name: "commit",
        must: 0.9,
        aim: 0.7,
        needs: &["data.qcow2", "overlay.qcow2"],
        before: "cp --reflink=auto data.qcow2 OUT.qcow2; cp --reflink=auto overlay.qcow2 OUT.top; \
                 qemu-img rebase -u -f qcow2 -F qcow2 -b OUT.qcow2 OUT.top",
        args: "commit -f qcow2 OUT.top",
        verify: Verify::Image("qcow2"),
        ..PLAIN
    },
    Row {
        name: "rebase",
        must: 0.9,
        aim: 0.7,
        needs: &["data.qcow2", "overlay.qcow2", "empty.qcow2"],
        before: "cp --reflink=auto overlay.qcow2 OUT.qcow2",
        args: "rebase -f qcow2 -F qcow2 -b empty.qcow2 OUT.qcow2",
        verify: Verify::Image("qcow2"),
        ..PLAIN
    },
    Row {
        name: "io: 10 000 commands",
        must: 0.4,
        aim: 0.15,
        needs: &["data.raw", "script.io"],
        args: "-f raw data.raw",
        tool: Kind::Io,
        input: "script.io",
        ..PLAIN
    },
    Row {
        name: "4 KiB reads here and there",
        needs: &["data.qcow2"],
        args: "bench -f qcow2 -c 100000 -d 64 -S 1327104 data.qcow2",
        ..PLAIN
    },
    Row {
        name: "4 KiB writes here and there",
        needs: &["data.qcow2"],
        before: "cp --reflink=auto data.qcow2 OUT.qcow2",
        args: "bench -w -f qcow2 -c 50000 -d 64 -S 1327104 OUT.qcow2",
        ..PLAIN
    },
    Row {
        name: "4 KiB reads, io_uring",
        needs: &["data.qcow2"],
        args: "bench -f qcow2 -t none -i io_uring -c 20000 -d 64 -S 1327104 data.qcow2",
        ..PLAIN
    },
    Row {
        name: "start-up: --version",
        must: 0.4,
        aim: 0.2,
        args: "--version",
        times: 20,
        ..PLAIN
    },
    Row {
        name: "start-up: info",
        must: 0.4,
        aim: 0.2,
        needs: &["huge.qcow2"],
        args: "info --output=json huge.qcow2",
        times: 20,
        verify: Verify::Text,
        ..PLAIN
    },
];
