//! Encrypted images beside the reference: what one tool makes, the other one opens.

use house_tests::tools::{our_io, ours, reference};
use house_tests::{Output, Pair, Rng, Scratch, Tool, require};

const SECRET: [&str; 2] = ["--object", "secret,id=s,data=letmein"];
const OTHER: [&str; 2] = ["--object", "secret,id=n,data=another"];

/// Both tools and a folder with a raw disk.
struct Lab {
    scratch: Scratch,
    ours: Tool,
    reference: Tool,
    disk: Vec<u8>,
}

impl Lab {
    fn new() -> Result<Self, String> {
        house_tests::tools::ours_runs()?;
        let scratch = Scratch::new();
        let mut disk = vec![0; 300 * 512];
        let mut rng = Rng::new(5);
        rng.fill(&mut disk[1024..70_000]);
        rng.fill(&mut disk[150_000..]);
        std::fs::write(scratch.path("disk.raw"), &disk).expect("a scratch file");
        Ok(Self {
            scratch,
            ours: ours(),
            reference: reference()?,
            disk,
        })
    }

    fn run(&self, tool: &Tool, args: &[&str]) -> Output {
        tool.run(self.scratch.dir(), &[args, &SECRET].concat())
    }

    /// One tool makes an image of the disk, and both must read the disk from it.
    fn passes_on(&self, format: &str, options: &str) {
        let how = options_to_open(format, "x.img");
        for maker in [&self.ours, &self.reference] {
            let convert = ["convert", "-f", "raw", "-O", format, "-o", options];
            let args = [&convert[..], &["disk.raw", "x.img"]].concat();
            self.run(maker, &args).ok();
            for reader in [&self.ours, &self.reference] {
                let convert = ["convert", "-O", "raw", "--image-opts", &how, "back.raw"];
                self.run(reader, &convert).ok();
                let back = std::fs::read(self.scratch.path("back.raw")).expect("it was made");
                assert!(back == self.disk, "{format} {options}: another disk");
            }
        }
    }
}

/// What opens an encrypted image.
fn options_to_open(format: &str, file: &str) -> String {
    let secret = if format == "luks" {
        "key-secret=s"
    } else {
        "encrypt.key-secret=s"
    };
    format!("driver={format},{secret},file.filename={file}")
}

#[test]
fn luks_of_all_kinds_passes_between_the_tools() {
    let lab = require!(Lab::new());
    for options in [
        "cipher-alg=aes-256",
        "cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256",
        "cipher-alg=aes-192,ivgen-alg=plain,hash-alg=sha1",
        "cipher-alg=aes-256,cipher-mode=ctr,hash-alg=sha512",
        "cipher-alg=aes-128,cipher-mode=ecb,hash-alg=md5",
        "cipher-alg=cast5-128,cipher-mode=cbc,hash-alg=ripemd160",
        "cipher-alg=cast5-128,cipher-mode=ctr,ivgen-alg=plain,hash-alg=sha224",
        "cipher-alg=serpent-256,hash-alg=sha384",
        "cipher-alg=serpent-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256",
        "cipher-alg=serpent-192",
        "cipher-alg=twofish-256,hash-alg=sm3",
        "cipher-alg=twofish-128,cipher-mode=cbc",
        "cipher-alg=twofish-192,ivgen-hash-alg=sha1",
    ] {
        lab.passes_on("luks", &format!("key-secret=s,iter-time=10,{options}"));
    }
}

#[test]
fn qcow2_and_qcow_pass_between_the_tools() {
    let lab = require!(Lab::new());
    let luks = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
    for options in [
        luks.to_owned(),
        format!("{luks},cluster_size=512"),
        format!("{luks},cluster_size=2M,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv"),
        format!("{luks},extended_l2=on"),
        format!("{luks},compat=0.10"),
        "encrypt.format=aes,encrypt.key-secret=s".to_owned(),
        "encryption=on,encrypt.key-secret=s,compat=0.10".to_owned(),
    ] {
        lab.passes_on("qcow2", &options);
        let how = options_to_open("qcow2", "x.img");
        for tool in [&lab.ours, &lab.reference] {
            lab.run(tool, &["check", "--image-opts", &how]).ok();
        }
    }
    lab.passes_on("qcow", "encrypt.format=aes,encrypt.key-secret=s");
}

#[test]
fn writes_of_any_length_are_read_by_the_reference() {
    let lab = require!(Lab::new());
    let io = our_io();
    for (format, options) in [
        ("luks", "key-secret=s,iter-time=10"),
        (
            "qcow2",
            "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
        ),
        ("qcow2", "encrypt.format=aes,encrypt.key-secret=s"),
        ("qcow", "encrypt.format=aes,encrypt.key-secret=s"),
    ] {
        let create = ["create", "-q", "-f", format, "-o", options, "w.img", "1M"];
        lab.run(&lab.ours, &create).ok();
        let how = options_to_open(format, "w.img");
        let zero = ["-c", "write -z 0 1M"];
        let writes = ["-c", "write -P 7 1000 1", "-c", "write -P 8 1023 70000"];
        let rest = ["-c", "write -z 2000 3000", "-c", "write -P 9 1048000 576"];
        let args = [&zero[..], &writes, &rest, &["--image-opts", &how]].concat();
        lab.run(&io, &args).ok();
        let convert = ["convert", "-O", "raw", "--image-opts", &how, "back.raw"];
        lab.run(&lab.reference, &convert).ok();
        let mut want = vec![0; 1 << 20];
        want[1000] = 7;
        want[1023..71_023].fill(8);
        want[2000..5000].fill(0);
        want[1_048_000..].fill(9);
        let back = std::fs::read(lab.scratch.path("back.raw")).expect("it was made");
        assert!(back == want, "{format} {options}");
    }
}

#[test]
fn they_are_seen_alike() {
    let mut pair = require!(Pair::new("encrypted"));
    let luks = "key-secret=s,iter-time=10";
    let qcow2 = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
    let aes = "encrypt.format=aes,encrypt.key-secret=s";
    for (format, options) in [
        ("luks", luks),
        ("qcow2", qcow2),
        ("qcow2", aes),
        ("qcow", aes),
    ] {
        let create = ["create", "-f", format, "-o", options, "t.img", "3M"];
        pair.run(&[&create[..], &SECRET].concat());
        // One file for both: salts, keys and iterations are nobody's choice.
        let image = std::fs::read(pair.our_dir().join("t.img")).expect("it was made");
        pair.put("t.img", &image);
        let how = options_to_open(format, "t.img");
        let wrong = how.replace("secret=s", "secret=n");
        for words in [
            &["info", "t.img"][..],
            &["info", "--output=json", "t.img"],
            &["info", "--image-opts", &how],
            &["map", "--image-opts", &how],
            &["map", "--output=json", "--image-opts", &how],
            &["map", "t.img"],
            &["check", "t.img"],
            &["check", "--image-opts", &how],
            &["snapshot", "-l", "--image-opts", &how],
            &["measure", "-O", "qcow2", "--image-opts", &how],
            &["resize", "--image-opts", &how, "5M"],
            &["info", "--image-opts", &how],
            &["convert", "-O", "raw", "t.img", "o.raw"],
            &["convert", "-O", "raw", "--image-opts", &wrong, "o.raw"],
            &["amend", "--image-opts", &how, "-o", "encrypt.state=active"],
        ] {
            let objects = [&SECRET[..], &OTHER].concat();
            pair.run(&[words, &objects].concat());
        }
    }
}

#[test]
fn what_cannot_be_made_is_refused_alike() {
    let mut pair = require!(Pair::new("refused"));
    for options in [
        "iter-time=10",
        "key-secret=n",
        "key-secret=s,cipher-alg=foo",
        "key-secret=s,cipher-alg=3des",
        "key-secret=s,cipher-alg=cast5-128",
        "key-secret=s,cipher-mode=foo",
        "key-secret=s,ivgen-alg=foo",
        "key-secret=s,hash-alg=foo",
        "key-secret=s,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha1",
        "key-secret=s,iter-time=x",
        "key-secret=s,preallocation=foo",
    ] {
        let create = ["create", "-f", "luks", "-o", options, "x.img", "1M"];
        pair.run(&[&create[..], &SECRET].concat());
        let measure = ["measure", "-O", "luks", "-o", options, "--size", "1G"];
        if !options.contains("prealloc") {
            pair.run_quietly(&[&measure[..], &SECRET].concat());
        }
    }
    for options in [
        "encrypt.format=luks",
        "encrypt.format=foo",
        "encrypt.key-secret=s",
        "encryption=on",
        "encryption=on,encrypt.format=luks,encrypt.key-secret=s",
        "encrypt.format=luks,encrypt.key-secret=n",
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.cipher-alg=foo",
        "encrypt.format=aes,encrypt.key-secret=s,encrypt.cipher-alg=aes-256",
    ] {
        let create = ["create", "-q", "-f", "qcow2", "-o", options, "x.img", "1M"];
        pair.run(&[&create[..], &SECRET].concat());
        if !options.contains("cipher") {
            let create = ["create", "-q", "-f", "qcow", "-o", options, "x.img", "1M"];
            pair.run(&[&create[..], &SECRET].concat());
        }
    }
    for words in [
        &[
            "measure",
            "-O",
            "luks",
            "--size",
            "1G",
            "-o",
            "key-secret=s",
        ][..],
        &[
            "measure",
            "-O",
            "qcow2",
            "--size",
            "1G",
            "-o",
            "encrypt.format=luks,encrypt.key-secret=s",
        ],
        &["create", "-f", "luks", "-o", "help"],
        &["amend", "-f", "luks", "-o", "help"],
    ] {
        pair.run(&[words, &SECRET].concat());
    }
}

#[test]
fn slots_are_changed_alike() {
    let mut pair = require!(Pair::new("slots"));
    for (format, prefix) in [("luks", ""), ("qcow2", "encrypt.")] {
        let options = if format == "luks" {
            "key-secret=s,iter-time=10"
        } else {
            "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
        };
        let create = ["create", "-q", "-f", format, "-o", options, "t.img", "1M"];
        pair.run(&[&create[..], &SECRET].concat());
        let how = options_to_open(format, "t.img");
        let mut amend = |options: &str, more: &[&str]| {
            let options: Vec<_> = options
                .split(',')
                .map(|option| format!("{prefix}{option}"))
                .collect();
            let options = options.join(",");
            let words = ["amend", "--image-opts", &how, "-o", &options];
            pair.run(&[&words[..], &SECRET, &OTHER, more].concat());
        };
        amend("new-secret=n", &[]);
        amend("state=foo", &[]);
        amend("state=active", &[]);
        amend("state=active,new-secret=n,old-secret=s", &[]);
        amend("state=active,new-secret=n,keyslot=8", &[]);
        amend("state=active,new-secret=n,keyslot=-1", &[]);
        amend("state=active,new-secret=n,iter-time=10", &[]);
        amend("state=active,new-secret=n,iter-time=10,keyslot=1", &[]);
        amend("state=active,new-secret=n,iter-time=10,keyslot=7", &[]);
        amend("state=inactive", &[]);
        amend("state=inactive,keyslot=5", &[]);
        amend("state=inactive,keyslot=9", &[]);
        amend("state=inactive,new-secret=n", &[]);
        amend("state=inactive,iter-time=10,keyslot=1", &[]);
        amend("state=inactive,old-secret=zz", &[]);
        amend("state=inactive,old-secret=n,keyslot=0", &[]);
        amend("state=inactive,old-secret=n", &[]);
        amend("state=inactive,old-secret=n", &[]);
        amend("state=inactive,old-secret=s", &[]);
        amend("state=inactive,keyslot=0", &[]);
        amend("state=active,new-secret=n,iter-time=10,keyslot=0", &[]);
        amend(
            "state=active,new-secret=n,iter-time=10,keyslot=0",
            &["--force"],
        );
        // The passphrase of the only slot is the other one now.
        amend("state=active,new-secret=s,iter-time=10", &[]);
    }
}

#[test]
fn all_slots_can_be_used() {
    let lab = require!(Lab::new());
    let create = ["create", "-q", "-f", "luks", "-o"];
    let options = ["key-secret=s,iter-time=10", "t.img", "1M"];
    lab.run(&lab.ours, &[&create[..], &options].concat()).ok();
    let how = options_to_open("luks", "t.img");
    let other = how.replace("secret=s", "secret=n");
    for slot in 1..8 {
        let change = format!("state=active,new-secret=n,iter-time=10,keyslot={slot}");
        let amend = ["amend", "--image-opts", &how, "-o", &change];
        lab.run(&lab.ours, &[&amend[..], &OTHER].concat()).ok();
    }
    let one_more = [
        "amend",
        "--image-opts",
        &how,
        "-o",
        "state=active,new-secret=n",
    ];
    let full = lab.run(&lab.ours, &[&one_more[..], &OTHER].concat());
    assert!(full.stderr.contains("all keyslots are in use"), "{full:?}");
    let convert = ["convert", "-O", "raw", "--image-opts", &other, "o.raw"];
    lab.run(&lab.reference, &[&convert[..], &OTHER].concat())
        .ok();
}

#[test]
fn a_header_can_be_kept_apart() {
    let lab = require!(Lab::new());
    let create = ["create", "-q", "-f", "luks", "-o"];
    let options = [
        "key-secret=s,iter-time=10,detached-header=on",
        "head.img",
        "1M",
    ];
    lab.run(&lab.ours, &[&create[..], &options].concat()).ok();
    std::fs::write(lab.scratch.path("body.img"), vec![0; 300 * 512]).expect("a scratch file");
    let how = "driver=luks,key-secret=s,file.driver=file,file.filename=body.img,\
               header.driver=file,header.filename=head.img";
    let write = ["convert", "-n", "-f", "raw", "--target-image-opts"];
    lab.run(&lab.ours, &[&write[..], &["disk.raw", how]].concat())
        .ok();
    for reader in [&lab.ours, &lab.reference] {
        let convert = ["convert", "-O", "raw", "--image-opts", how, "back.raw"];
        lab.run(reader, &convert).ok();
        let back = std::fs::read(lab.scratch.path("back.raw")).expect("it was made");
        assert!(back == lab.disk, "another disk");
    }
    let info = ["info", "--output=json", "--image-opts", how];
    let (mine, theirs) = (lab.run(&lab.ours, &info), lab.run(&lab.reference, &info));
    assert_eq!(
        mine.json()["format-specific"],
        theirs.json()["format-specific"]
    );
}

#[test]
fn chains_and_snapshots_of_encrypted_images_work() {
    let lab = require!(Lab::new());
    let luks = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
    let convert = ["convert", "-f", "raw", "-O", "qcow2", "-o", luks];
    lab.run(
        &lab.ours,
        &[&convert[..], &["disk.raw", "base.img"]].concat(),
    )
    .ok();
    let over = format!("{luks},backing_file=base.img,backing_fmt=qcow2");
    let create = [
        "create", "-q", "-u", "-f", "qcow2", "-o", &over, "top.img", "153600",
    ];
    lab.run(&lab.ours, &create).ok();
    let chain = "driver=qcow2,encrypt.key-secret=s,file.filename=top.img,\
                 backing.driver=qcow2,backing.encrypt.key-secret=s,backing.file.filename=base.img";
    let io = our_io();
    let write = ["-c", "write -P 3 5000 20000", "--image-opts", chain];
    lab.run(&io, &write).ok();
    let mut want = lab.disk.clone();
    want[5000..25_000].fill(3);
    let content = |tool: &Tool, how: &str| {
        let convert = ["convert", "-O", "raw", "--image-opts", how, "back.raw"];
        lab.run(tool, &convert).ok();
        std::fs::read(lab.scratch.path("back.raw")).expect("it was made")
    };
    assert!(content(&lab.ours, chain) == want);
    assert!(content(&lab.reference, chain) == want);
    let snapshot = ["snapshot", "-c", "a", "--image-opts", chain];
    lab.run(&lab.ours, &snapshot).ok();
    lab.run(&lab.ours, &["commit", "--image-opts", chain]).ok();
    let base = options_to_open("qcow2", "base.img");
    assert!(content(&lab.reference, &base) == want);
    for how in [chain, base.as_str()] {
        lab.run(&lab.reference, &["check", "--image-opts", how])
            .ok();
    }
}

#[test]
fn cryptsetup_and_this_tool_open_each_others_slots() {
    let lab = require!(Lab::new());
    let cryptsetup = require!(house_tests::tools::cryptsetup());
    let dir = lab.scratch.dir();
    std::fs::write(lab.scratch.path("s"), "letmein").expect("a scratch file");
    std::fs::write(lab.scratch.path("n"), "another").expect("a scratch file");
    std::fs::write(lab.scratch.path("theirs.img"), vec![0; 4 << 20]).expect("a scratch file");
    let create = ["create", "-q", "-f", "luks", "-o"];
    let options = ["key-secret=s,iter-time=10", "ours.img", "1M"];
    lab.run(&lab.ours, &[&create[..], &options].concat()).ok();
    let quick = ["--pbkdf-force-iterations", "1000", "--key-file", "s"];
    let format = ["-q", "luksFormat", "--type", "luks1", "theirs.img"];
    cryptsetup.run(dir, &[&format[..], &quick].concat()).ok();
    for image in ["ours.img", "theirs.img"] {
        let test = ["open", "--test-passphrase", "--key-file", "s", image];
        cryptsetup.run(dir, &test).ok();
        let add = ["luksAddKey", image, "n"];
        cryptsetup.run(dir, &[&add[..], &quick].concat()).ok();
        for secret in ["s", "n"] {
            let how =
                options_to_open("luks", image).replace("secret=s", &format!("secret={secret}"));
            let convert = ["convert", "-O", "raw", "--image-opts", &how, "o.raw"];
            lab.run(&lab.ours, &[&convert[..], &OTHER].concat()).ok();
        }
    }
}

#[test]
fn nothing_that_is_said_shows_a_secret() {
    let lab = require!(Lab::new());
    let word = "correcthorse";
    let object = format!("secret,id=s,data={word}");
    let create = ["create", "-f", "luks", "-o", "key-secret=s,iter-time=10"];
    let all: Vec<&[&str]> = vec![
        &["t.img", "1M"],
        &["/nowhere/t.img", "1M"],
        &["t.img", "9E"],
    ];
    for rest in all {
        let args = [&create[..], rest, &["--object", &object]].concat();
        let output = lab.ours.run(lab.scratch.dir(), &args);
        assert!(!format!("{output:?}").replace(&object, "").contains(word));
    }
    let how = options_to_open("luks", "t.img");
    for trace in [&[][..], &["-T", "*"], &["-T", "enable=*"]] {
        let args = [trace, &["info", "--image-opts", &how, "--object", &object]].concat();
        let output = lab.ours.run(lab.scratch.dir(), &args);
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(!said.contains(word), "{said}");
    }
}
