//! Filters and test drivers beside the reference: errors put in and requests held back, votes, limits, logs, names.

use house_tests::normal::without_rates;
use house_tests::tools::our_io;
use house_tests::{Output, Scratch, Tool, ours, qemu_io, reference, require};

/// Commands run one after the other in a folder of their own, `img` and `io` for the two tools; words in `'`
/// are one. Files called `log` must be equal at the end.
struct Story {
    name: &'static str,
    lines: &'static [&'static str],
}

const STORIES: &[Story] = &[
    Story {
        name: "blkdebug puts errors in and holds requests back",
        lines: &[
            "img create -q -f qcow2 a 4M",
            "io -c 'write 0 64k' -c 'write 0 64k' -c 'read 0 64k' blkdebug:once.conf:a",
            "io -c 'break write_aio A' -c 'aio_write 0 64k' -c 'wait_break A' -c 'resume A' -c aio_flush blkdebug::a",
            "io -c 'break write_aio A' -c 'aio_write 0 64k' -c 'wait_break A' -c 'remove_break A' -c aio_flush blkdebug::a",
            "io -c 'resume B' -c 'break lunch X' -c 'remove_break F' blkdebug::a",
            "io -c 'break write_aio A' -c 'resume A' -c 'remove_break A' a",
            "io -c 'read 0 64k' -c 'read 64k 64k' blkdebug:states.conf:a",
            "io -t writethrough -c 'write 1M 64k' blkdebug:flush.conf:a",
            "img create -q -f qcow2 a 4M",
            "io -c 'write -b 0 64k' -c 'read -b 0 64k' -c map a",
            "img check -q a",
        ],
    },
    Story {
        name: "blkdebug is called by what it was opened with",
        lines: &[
            "img create -q -f qcow2 a 4M",
            "img create -q -f qcow2 -b a -F qcow2 top",
            "img info blkdebug:once.conf:a",
            "img info blkdebug::a",
            "img info --image-opts driver=qcow2,file.driver=blkdebug,file.image.filename=a,file.align=4096",
            "img info --output=json --image-opts driver=qcow2,file.driver=blkdebug,file.image.filename=a,file.align=4096",
            "img info --backing-chain 'json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"blkdebug\",\"image\":{\"driver\":\"file\",\"filename\":\"top\"},\"set-state\":[{\"event\":\"read_aio\",\"new_state\":42}]}}'",
            "img info -f blkdebug a",
            "img map --output=json blkdebug::top",
            "io --image-opts -c length -c info driver=blkdebug,image.driver=qcow2,image.file.filename=a,align=64k",
            "img info --image-opts driver=raw,file.filename=a,size=4k",
        ],
    },
    Story {
        name: "what blkdebug refuses",
        lines: &[
            "img create -q -f qcow2 a 4M",
            "io -c quit blkdebug:nope:a",
            "io -c quit blkdebug::nope",
            "io -c quit blkdebug:a",
            "io --image-opts -c quit driver=blkdebug",
            "io --image-opts -c quit driver=blkdebug,image.filename=a,align=3",
            "io --image-opts -c quit driver=blkdebug,image.filename=a,align=4k,max-transfer=5000",
            "io --image-opts -c quit driver=blkdebug,image.filename=a,lunch=on",
            "io --image-opts -c quit driver=blkdebug,image.filename=a,inject-error.0.event=lunch",
            "io --image-opts -c quit driver=blkdebug,image.filename=a,inject-error.0.errno=5",
            "io --image-opts -c quit driver=blkdebug,image.filename=a,take-child-perms.0=lunch",
            "img info --image-opts driver=qcow2,file.filename=a,bogus=1",
            "img info --image-opts driver=qcow2,file.filename=a,file.bogus=1",
        ],
    },
    Story {
        name: "requests are widened and cut to what blkdebug takes",
        lines: &[
            "img create -q -f qcow2 -o cluster_size=1M a 64M",
            "io -c 'write -P 11 0 64M' a",
            "io -c 'open -o driver=blkdebug,image.driver=qcow2,align=4k,max-transfer=64k blkdebug::a' -c 'write -P 33 1000 128k' -c 'read -P 33 1000 128k' -c 'read -P 11 0 1000'",
            "io -c 'open -o driver=blkdebug,image.driver=qcow2,align=512,max-transfer=64k,opt-write-zero=1M blkdebug::a' -c 'write -z 8003584 2093056' -c map",
            "io -c 'open -o driver=blkdebug,image.driver=qcow2,align=512,opt-write-zero=15M,max-write-zero=15M,opt-discard=15M,max-discard=15M blkdebug::a' -c 'write -z 32M 16M' -c 'discard 10000001 31M' -c map",
            "io -c 'open -o driver=qcow2,file.align=4k blkdebug::a' -c 'write -P 3 100 70000' -c 'read -P 3 100 70000' -c 'alloc 1 1' -c map",
            "img check a",
        ],
    },
    Story {
        name: "compress packs what is written",
        lines: &[
            "img create -q -f qcow2 a 4M",
            "img create -q -f raw r 1M",
            "io -c 'write -P 3 10k 300k' --image-opts driver=compress,file.driver=qcow2,file.file.filename=a",
            "io -c 'read -P 3 10k 300k' -c map a",
            "img check --output=json a",
            "img info --image-opts driver=compress,file.driver=qcow2,file.file.filename=a",
            "io -c quit --image-opts driver=compress,file.driver=raw,file.file.filename=r",
            "io -c quit --image-opts driver=compress",
        ],
    },
    Story {
        name: "a quorum gives what enough copies agree on",
        lines: &[
            "img create -q -f raw r1 1M",
            "img create -q -f raw r2 1M",
            "img create -q -f raw r3 1M",
            "img create -q -f raw r4 2M",
            "io -c 'write -P 1 0 64k' -c 'read -P 1 0 64k' -c length -c map -c info --image-opts driver=quorum,vote-threshold=2,children.0.driver=raw,children.0.file.filename=r1,children.1.driver=raw,children.1.file.filename=r2,children.2.driver=raw,children.2.file.filename=r3",
            "io -f raw -c 'write -P 2 4k 4k' r2",
            "io -c 'read -P 1 0 64k' --image-opts driver=quorum,vote-threshold=2,children.0.driver=raw,children.0.file.filename=r1,children.1.driver=raw,children.1.file.filename=r2,children.2.driver=raw,children.2.file.filename=r3",
            "io -c 'read -P 1 0 64k' --image-opts driver=quorum,vote-threshold=3,children.0.driver=raw,children.0.file.filename=r1,children.1.driver=raw,children.1.file.filename=r2,children.2.driver=raw,children.2.file.filename=r3",
            "io -c 'read -P 1 0 64k' --image-opts driver=quorum,vote-threshold=2,blkverify=on,children.0.driver=raw,children.0.file.filename=r1,children.1.driver=raw,children.1.file.filename=r2",
            "io -c 'read -P 2 4k 4k' --image-opts driver=quorum,vote-threshold=1,read-pattern=fifo,children.0.driver=raw,children.0.file.filename=r2,children.1.driver=raw,children.1.file.filename=r1",
            "io -c 'read -P 1 0 64k' --image-opts driver=quorum,vote-threshold=2,rewrite-corrupted=on,children.0.driver=raw,children.0.file.filename=r1,children.1.driver=raw,children.1.file.filename=r2,children.2.driver=raw,children.2.file.filename=r3",
            "io -f raw -c 'read -P 1 4k 4k' r2",
            "io -c length --image-opts driver=quorum,vote-threshold=1,children.0.driver=raw,children.0.file.filename=r1,children.1.driver=raw,children.1.file.filename=r4",
            "io -c length --image-opts driver=quorum,vote-threshold=4,children.0.driver=raw,children.0.file.filename=r1",
            "io -c length --image-opts driver=quorum,vote-threshold=0,children.0.driver=raw,children.0.file.filename=r1",
            "io -c length --image-opts driver=quorum,vote-threshold=1,read-pattern=lunch,children.0.driver=raw,children.0.file.filename=r1",
            "io -c length --image-opts driver=quorum,vote-threshold=1,blkverify=on,children.0.driver=raw,children.0.file.filename=r1",
            "io -c length --image-opts driver=quorum,vote-threshold=1",
            "io -c length --image-opts driver=quorum,vote-threshold=1,children.1.filename=r1",
            "io -c 'truncate 2M' -c 'discard 0 64k' -c 'write -z 0 8k' -c 'read -P 0 0 8k' --image-opts driver=quorum,vote-threshold=1,children.0.driver=raw,children.0.file.filename=r1",
            "img info 'json:{\"driver\":\"quorum\",\"vote-threshold\":1,\"children\":[{\"driver\":\"file\",\"filename\":\"r1\"},{\"driver\":\"file\",\"filename\":\"r2\"}]}'",
        ],
    },
    Story {
        name: "blkverify ends the program at a difference",
        lines: &[
            "img create -q -f raw w 1M",
            "img create -q -f qcow2 v 1M",
            "io -c 'write -P 1 0 64k' -c 'read -P 1 0 64k' -c length -c flush blkverify:w:v",
            "io -f raw -c 'write -P 7 1000 10' w",
            "io -c length -c 'read 0 64k' -c length blkverify:w:v",
            "img info blkverify:w:v",
            "img map blkverify:w:v",
            "io -c quit blkverify:w",
        ],
    },
    Story {
        name: "copy-on-read keeps what it read",
        lines: &[
            "img create -q -f qcow2 base 4M",
            "io -c 'write -P 3 10k 300k' base",
            "img create -q -f qcow2 -b base -F qcow2 top",
            "io -c 'read -P 3 10k 100k' -c 'write -P 9 1M 10k' -c map -c info --image-opts driver=copy-on-read,file.driver=qcow2,file.file.filename=top",
            "io -c map top",
            "img info --image-opts driver=copy-on-read,file.driver=qcow2,file.file.filename=top",
            "io -c 'read 0 1k' -r --image-opts driver=copy-on-read,file.driver=qcow2,file.file.filename=top",
            "io -c 'read 0 1k' --image-opts driver=copy-on-read,file.driver=qcow2,file.file.filename=top,bottom=lunch",
            "io -C -c 'read 200k 1k' -c map top",
            "io -C -r -c quit top",
        ],
    },
    Story {
        name: "throttle groups and what they refuse",
        lines: &[
            "img create -q -f raw r 1M",
            "io -c quit --object lunch",
            "io -c quit --object throttle-group",
            "io -c quit --object throttle-group,id=a,lunch=1",
            "io -c quit --object throttle-group,id=a,limits.lunch=1",
            "io -c quit --object throttle-group,id=a,x-iops-total=-1",
            "io -c quit --object throttle-group,id=a,limits.iops-total=z",
            "io -c quit --object throttle-group,id=a,limits.iops-total=5,limits.iops-read=5",
            "io -c quit --object throttle-group,id=a,limits.iops-total=5,limits.iops-total-max=3",
            "io -c quit --object throttle-group,id=a,limits.iops-total-max=3",
            "io -c quit --object throttle-group,id=a,limits.iops-total=5,limits.iops-total-max-length=0",
            "io -c quit --object throttle-group,id=a,limits.iops-total=5,limits.iops-total-max-length=5000000000",
            "io -c quit --object throttle-group,id=a,limits.iops-total=5000000000000000",
            "io -c quit --object id=x",
            "io -c quit --object throttle-group,id=9a",
            "io -c quit --object throttle-group,id=a --object throttle-group,id=a",
            "io --object throttle-group,id=a,limits.bps-total=40000000 -c 'write 0 512k' -c 'read 0 512k' -c 'write -z 0 1M' -c 'discard 0 64k' -c length -c info --image-opts driver=throttle,throttle-group=a,file.driver=raw,file.file.filename=r",
            "io -c quit --image-opts driver=throttle,throttle-group=a,file.driver=raw,file.file.filename=r",
            "io -c quit --image-opts driver=throttle,file.driver=raw,file.file.filename=r",
        ],
    },
    Story {
        name: "blklogwrites logs every write",
        lines: &[
            "img create -q -f raw r 1M",
            "img create -q -f raw log 0",
            "io -c 'write -P 1 0 4k' -c 'write -z 4k 8k' -c 'discard 0 512' -c flush -c 'write -f 8k 1k' -c 'write 100 100' --image-opts driver=blklogwrites,file.driver=raw,file.file.filename=r,log.filename=log",
            "io -c 'write -P 2 0 4k' -c flush --image-opts driver=blklogwrites,file.driver=raw,file.file.filename=r,log.filename=log,log-append=on",
            "io -c flush --image-opts driver=blklogwrites,file.driver=raw,file.file.filename=r,log.filename=log,log-append=on,log-sector-size=512",
            "io -c flush --image-opts driver=blklogwrites,file.driver=raw,file.file.filename=r,log.filename=log,log-sector-size=100",
            "io -c flush --image-opts driver=blklogwrites,file.driver=raw,file.file.filename=r,log.filename=log,log-super-update-interval=0",
            "io -c flush --image-opts driver=blklogwrites,file.driver=raw,file.file.filename=r",
            "io -c flush --image-opts driver=blklogwrites,file.driver=raw,file.file.filename=r,log.filename=r,log-append=on",
        ],
    },
    Story {
        name: "preallocate makes room beforehand and gives the rest back",
        lines: &[
            "img create -q -f raw p 0",
            "img create -q -f qcow2 a 4M",
            "io -c 'write 1M 64k' -c length -c 'write -z 2M 64k' -c length -c 'truncate 64k' -c length -c 'write 64k 4k' -c length -c map --image-opts driver=preallocate,file.driver=file,file.filename=p",
            "img info p",
            "io -c 'write 1M 64k' -c 'read 1M 64k' -c map --image-opts driver=qcow2,file.driver=preallocate,file.file.filename=a,file.prealloc-size=4M",
            "img check a",
            "io -c quit --image-opts driver=preallocate,file.filename=p,prealloc-align=100",
        ],
    },
];

/// Rules that stories use.
const CONFIGS: &[(&str, &str)] = &[
    (
        "once.conf",
        "[inject-error]\nevent = \"write_aio\"\nerrno = \"28\"\nonce = \"on\"\n",
    ),
    (
        "states.conf",
        "[set-state]\nevent = \"read_aio\"\nstate = \"1\"\nnew_state = \"2\"\n\n[inject-error]\nevent = \"read_aio\"\nstate = \"2\"\n",
    ),
    (
        "flush.conf",
        "# everything fails once the first table is written\n[inject-error]\nevent = \"l2_update\"\nerrno = \"5\"\n",
    ),
];

/// Splits at spaces, but for what is in `'`.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (n, part) in line.split('\'').enumerate() {
        if n % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Times are nobody's business, and how much of a disk a file takes is the file system's.
fn normal(text: &str) -> String {
    let mut out = String::new();
    for line in without_rates(text).lines() {
        let size = line.trim_start();
        if !size.starts_with("disk size:") && !size.starts_with("\"actual-size\":") {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

struct World {
    scratch: Scratch,
    img: Tool,
    io: Tool,
}

impl World {
    fn new(img: Tool, io: Tool) -> Self {
        let scratch = Scratch::new();
        for (name, text) in CONFIGS {
            std::fs::write(scratch.path(name), text).expect("a scratch folder can be written");
        }
        Self { scratch, img, io }
    }

    fn run(&self, line: &str) -> Output {
        let words = words(line);
        let args: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        let tool = if line.starts_with("img ") {
            &self.img
        } else {
            &self.io
        };
        tool.run(self.scratch.dir(), &args)
    }
}

fn tell(story: &Story, theirs: &World, mine: &World) {
    for line in story.lines {
        let (want, got) = (theirs.run(line), mine.run(line));
        got.same_as(&want, &format!("{}\n{line}", story.name), normal);
    }
    let logs = [theirs, mine].map(|world| std::fs::read(world.scratch.path("log")).ok());
    assert!(logs[0] == logs[1], "{}: the logs differ", story.name);
}

#[test]
fn filters_behave_as_those_of_the_reference() {
    let (img, io) = (require!(reference()), require!(qemu_io()));
    for story in STORIES {
        let theirs = World::new(img.clone(), io.clone());
        let mine = World::new(ours(), our_io());
        tell(story, &theirs, &mine);
    }
}

#[test]
fn a_log_that_lies_about_its_length_is_refused_at_once() {
    let world = World::new(ours(), our_io());
    let mut log = Vec::new();
    for word in [0x006a_7366_7773_6872_u64, 1, u64::MAX, 512] {
        log.extend_from_slice(&word.to_le_bytes());
    }
    log.resize(4096, 0);
    std::fs::write(world.scratch.path("log"), log).expect("a scratch folder can be written");
    std::fs::write(world.scratch.path("r"), vec![0; 4096])
        .expect("a scratch folder can be written");
    let output = world.run("io -c flush --image-opts driver=blklogwrites,file.filename=r,log.filename=log,log-append=on");
    assert_eq!(output.code, Some(1), "{}", output.report());
    assert!(
        output
            .stderr
            .contains("Failed to read log entry 7: Input/output error"),
        "{}",
        output.report()
    );
}

#[test]
fn limits_hold_over_time() {
    let world = World::new(ours(), our_io());
    std::fs::write(world.scratch.path("r"), vec![0; 1 << 20])
        .expect("a scratch folder can be written");
    let start = std::time::Instant::now();
    world.run("io --object throttle-group,id=a,limits.bps-write=1000000 -c 'write 0 500k' -c 'write 0 512' --image-opts driver=throttle,throttle-group=a,file.filename=r").ok();
    // 512000 bytes less a tenth of a second's worth have to leak before the second write.
    assert!(start.elapsed().as_millis() >= 400);
}
