//! What can happen to an image. Many operations are wrong for some images: then both tools must refuse in
//! the same words.

use house_tests::Rng;

use super::case::{BASE, Case, IMAGE};

/// An operation by name.
pub(super) type Operation = (&'static str, fn(&mut Case));

/// All of them, the frequent ones more than once.
pub(super) const OPERATIONS: &[Operation] = &[
    ("convert", convert),
    ("convert", convert),
    ("snapshot", snapshot),
    ("snapshot", snapshot),
    ("resize", resize),
    ("resize", resize),
    ("rebase", rebase),
    ("commit", commit),
    ("amend", amend),
    ("bitmap", bitmap),
    ("compare", compare),
    ("check", check),
    ("dd", dd),
];

/// Random `qemu-io` commands for an image of this size.
pub(super) fn writes(rng: &mut Rng, size: u64, cluster: u64, packs: bool) -> Vec<String> {
    let mut commands = Vec::new();
    for _ in 0..rng.between(1, 6) {
        let offset = rng.below(size) / 512 * 512;
        let most = (size - offset).min(cluster * 3).max(512);
        let length = (rng.between(1, most) / 512 * 512).clamp(512, (size - offset).max(512));
        if offset + length > size {
            continue;
        }
        let pattern = rng.between(1, 255);
        commands.push(match rng.below(7) {
            0 => format!("write -z {offset} {length}"),
            1 => format!("write -z -u {offset} {length}"),
            2 => format!("discard {offset} {length}"),
            3 if packs && size >= cluster => {
                let start = rng.below(size / cluster) * cluster;
                format!("write -c -P {pattern} {start} {cluster}")
            }
            _ => format!("write -P {pattern} {offset} {length}"),
        });
    }
    commands.push("flush".to_owned());
    commands
}

fn convert(case: &mut Case) {
    let out = case.name("c");
    let target = *case.rng.pick(&["qcow2", "qcow2", "raw"]);
    let mut words = vec![
        "convert".to_owned(),
        "-f".to_owned(),
        case.format.to_owned(),
    ];
    words.extend(["-O".to_owned(), target.to_owned()]);
    if case.rng.one_in(3) {
        words.push("-c".to_owned());
    }
    if case.rng.one_in(4) {
        let sparse = *case.rng.pick(&["0", "4k", "64k", "512", "100"]);
        words.extend(["-S".to_owned(), sparse.to_owned()]);
    }
    if target == "qcow2" && case.rng.one_in(3) {
        let options = *case.rng.pick(&[
            "compat=0.10",
            "cluster_size=4k",
            "compression_type=zstd",
            "extended_l2=on",
            "preallocation=metadata",
            "refcount_bits=1",
            "lazy_refcounts=on",
        ]);
        words.extend(["-o".to_owned(), options.to_owned()]);
    }
    if case.backing && target == "qcow2" && case.rng.one_in(2) {
        words.extend(["-B", BASE, "-F", "qcow2"].map(str::to_owned));
    }
    words.extend([IMAGE.to_owned(), out.clone()]);
    if case.same(&words) {
        case.pair.same_content(&out, target);
        if target == "qcow2" {
            case.pair.clean(&out, target);
            case.pair.read_both(&["check", "--output=json", &out]);
        }
        case.pair.read_both(&["map", "--output=json", &out]);
    }
}

fn snapshot(case: &mut Case) {
    match case.rng.below(4) {
        0 | 1 => {
            let name = case.name("s");
            if case.same(&["snapshot", "-c", &name, IMAGE]) {
                case.snapshots.push(name);
            }
        }
        2 => {
            let name = pick_snapshot(case);
            case.same(&["snapshot", "-a", &name, IMAGE]);
        }
        _ => {
            let name = pick_snapshot(case);
            if case.same(&["snapshot", "-d", &name, IMAGE]) {
                case.snapshots.retain(|s| *s != name);
            }
        }
    }
    case.pair.read_both(&["snapshot", "-l", IMAGE]);
}

fn pick_snapshot(case: &mut Case) -> String {
    if case.snapshots.is_empty() {
        return "nobody".to_owned();
    }
    case.rng.pick(&case.snapshots).clone()
}

fn resize(case: &mut Case) {
    let by = case.rng.between(1, 40) * 512 * case.rng.pick(&[1, 128, 1024]);
    let mut words = vec!["resize", "-f", case.format];
    let grow = case.rng.one_in(2);
    if !grow && !case.rng.one_in(5) {
        words.push("--shrink");
    }
    if case.rng.one_in(5) {
        let mode = ["off", "metadata", "falloc", "full"];
        words.extend(["--preallocation", *case.rng.pick(&mode)]);
    }
    let wanted = if grow {
        case.size + by
    } else {
        case.size.saturating_sub(by).max(512)
    };
    let wanted_text = wanted.to_string();
    words.extend([IMAGE, &wanted_text]);
    if case.same(&words) {
        case.size = wanted;
    }
}

fn rebase(case: &mut Case) {
    let base = *case.rng.pick(&["", BASE, "missing.img"]);
    let mut words = vec!["rebase", "-f", case.format, "-b", base];
    if !base.is_empty() && !case.rng.one_in(6) {
        words.extend(["-F", "qcow2"]);
    }
    // Without looking, a change of the backing file changes what the guest reads: only where there is none.
    if case.rng.one_in(6) && !case.backing && base.is_empty() {
        words.push("-u");
    }
    words.push(IMAGE);
    if case.same(&words) {
        case.backing = !base.is_empty();
    }
}

fn commit(case: &mut Case) {
    let mut words = vec!["commit", "-f", case.format];
    if case.rng.one_in(4) {
        words.push("-d");
    }
    words.push(IMAGE);
    if case.same(&words) {
        case.pair.same_content(BASE, "qcow2");
        case.pair.clean(BASE, "qcow2");
    }
}

fn amend(case: &mut Case) {
    let mut options = *case.rng.pick(&[
        "compat=0.10",
        "compat=1.1",
        "lazy_refcounts=on",
        "lazy_refcounts=off",
        "refcount_bits=8",
        "refcount_bits=64",
        "refcount_bits=5",
        "cluster_size=4096",
        "nonsense=1",
    ]);
    if options == "refcount_bits=8" && case.cluster > 65536 {
        // The reference needs minutes for blocks of a million refcounts.
        options = "refcount_bits=5";
    }
    case.same(&["amend", "-f", case.format, "-o", options, IMAGE]);
}

fn bitmap(case: &mut Case) {
    let name = case.name("bm");
    if case.same(&[
        "bitmap",
        "-f",
        case.format,
        "--add",
        "-g",
        "64k",
        IMAGE,
        &name,
    ]) {
        case.write();
        let change = *case
            .rng
            .pick(&["--clear", "--disable", "--enable", "--remove"]);
        case.same(&["bitmap", "-f", case.format, change, IMAGE, &name]);
    }
    case.same(&["bitmap", "-f", case.format, "--remove", IMAGE, "nobody"]);
}

fn compare(case: &mut Case) {
    case.same(&["convert", "-f", case.format, "-O", "raw", IMAGE, "cmp.raw"]);
    let strict: &[&str] = if case.rng.one_in(3) { &["-s"] } else { &[] };
    let both = [
        &["compare", "-f", case.format, "-F", "raw"],
        strict,
        &[IMAGE, "cmp.raw"],
    ]
    .concat();
    // Strict mode looks at allocation, which our writer and theirs choose differently.
    if strict.is_empty() {
        case.same(&both);
    } else {
        case.pair.read_both(&both);
    }
    if case.size > 512 {
        let offset = case.rng.below(case.size / 512) * 512;
        let command = format!("write -P 77 {offset} 512");
        case.pair.write("cmp.raw", "raw", &[command]);
        case.same(&["compare", "-f", case.format, "-F", "raw", IMAGE, "cmp.raw"]);
    }
}

fn check(case: &mut Case) {
    let repair: &[&str] = match case.rng.below(3) {
        0 => &[],
        1 => &["-r", "leaks"],
        _ => &["-r", "all"],
    };
    let words = [&["check", "-q", "-f", case.format], repair, &[IMAGE]].concat();
    case.same(&words);
}

fn dd(case: &mut Case) {
    let out = case.name("d");
    let (block, count) = (case.rng.pick(&["512", "4k", "1M"]), case.rng.between(1, 40));
    let mut words = vec!["dd".to_owned(), "-f".to_owned(), case.format.to_owned()];
    words.extend(["-O", "raw"].map(str::to_owned));
    words.extend([format!("bs={block}"), format!("count={count}")]);
    if case.rng.one_in(3) {
        words.push(format!("skip={}", case.rng.below(50)));
    }
    words.extend([format!("if={IMAGE}"), format!("of={out}")]);
    if case.same(&words) {
        case.pair.same_content(&out, "raw");
    }
}
