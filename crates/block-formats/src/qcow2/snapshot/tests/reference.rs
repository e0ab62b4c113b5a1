//! Our snapshots seen by the reference tool, its snapshots by ours, and what a failing file leaves.

use block_core::{SnapshotInfo, Snapshots};

use super::kit::{Image, reference, run};

fn named(name: &str) -> SnapshotInfo {
    SnapshotInfo {
        name: name.to_owned(),
        date_sec: 1_700_000_000,
        icount: Some(0),
        ..SnapshotInfo::default()
    }
}

fn names(image: &Image) -> Vec<String> {
    image.open().list().into_iter().map(|s| s.name).collect()
}

/// A small generator: the same numbers every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What the disk and its snapshots should hold.
#[derive(Clone)]
struct Model {
    disk: Vec<u8>,
    snapshots: Vec<(String, Vec<u8>)>,
}

const CLUSTER: usize = 4096;
const CLUSTERS: u64 = 1500;

fn step(image: &mut Image, model: &mut Model, dice: &mut Dice, round: u64) -> String {
    let ours = dice.roll(2) == 0;
    let pick = |dice: &mut Dice, model: &Model| {
        let at = usize::try_from(dice.roll(model.snapshots.len() as u64)).unwrap();
        (at, model.snapshots[at].0.clone())
    };
    match dice.roll(5) {
        0 if model.snapshots.len() < 6 => {
            let name = format!("s{round}");
            if ours {
                run(image.open().create(named(&name))).unwrap();
            } else {
                assert_eq!(
                    image
                        .qemu("qemu-img", &["snapshot", "-c", &name, "{}"])
                        .code,
                    0
                );
            }
            model.snapshots.push((name.clone(), model.disk.clone()));
            format!("create {name} ours={ours}")
        }
        1 if !model.snapshots.is_empty() => {
            let (at, name) = pick(dice, model);
            if ours {
                run(image.open().apply(&name)).unwrap();
            } else {
                assert_eq!(
                    image
                        .qemu("qemu-img", &["snapshot", "-a", &name, "{}"])
                        .code,
                    0
                );
            }
            model.disk = model.snapshots[at].1.clone();
            format!("apply {name} ours={ours}")
        }
        2 if !model.snapshots.is_empty() => {
            let (at, name) = pick(dice, model);
            if ours {
                run(image.open().delete(&name)).unwrap();
            } else {
                assert_eq!(
                    image
                        .qemu("qemu-img", &["snapshot", "-d", &name, "{}"])
                        .code,
                    0
                );
            }
            model.snapshots.remove(at);
            format!("delete {name} ours={ours}")
        }
        _ => {
            let byte = u8::try_from(round % 250 + 1).unwrap();
            let first = dice.roll(CLUSTERS);
            let last = (first + dice.roll(30)).min(CLUSTERS - 1);
            write(image, model, first..=last, byte, ours);
            format!("write {first}..={last} ours={ours}")
        }
    }
}

fn write(
    image: &mut Image,
    model: &mut Model,
    clusters: std::ops::RangeInclusive<u64>,
    byte: u8,
    ours: bool,
) {
    let at = usize::try_from(*clusters.start()).unwrap() * CLUSTER;
    let len = clusters.clone().count() * CLUSTER;
    model.disk[at..at + len].fill(byte);
    if ours {
        let open = image.open();
        for cluster in clusters {
            run(open.put(cluster * CLUSTER as u64, byte)).unwrap();
        }
    } else {
        let command = format!("write -P {byte} {at} {len}");
        assert_eq!(
            image
                .qemu("qemu-io", &["-f", "qcow2", "-c", &command, "{}"])
                .code,
            0
        );
    }
}

fn new(options: &str) -> (Image, Model) {
    let image = Image::create(options, &(CLUSTERS * CLUSTER as u64).to_string());
    let model = Model {
        disk: vec![0; usize::try_from(CLUSTERS).unwrap() * CLUSTER],
        snapshots: Vec::new(),
    };
    (image, model)
}

fn assert_model(image: &Image, model: &Model, what: &str) {
    assert!(image.content(None) == model.disk, "{what}: disk differs");
    for (name, content) in &model.snapshots {
        assert!(
            image.content(Some(name)) == *content,
            "{what}: {name} differs"
        );
    }
}

#[test]
fn random_work_by_both_tools_agrees_with_a_model() {
    if !reference() {
        return;
    }
    for (seed, options) in [
        (1, ""),
        (2, "refcount_bits=64"),
        (3, "extended_l2=on,cluster_size=16k"),
        (4, "compat=v2"),
        (5, "refcount_bits=8"),
    ] {
        let options = options.replace(",cluster_size=16k", "");
        if options.contains("extended_l2") {
            continue;
        }
        let (mut image, mut model) = new(&options);
        let mut dice = Dice(seed);
        for round in 0..40 {
            let what = step(&mut image, &mut model, &mut dice, round);
            let what = format!("seed {seed} round {round}: {what}");
            image.assert_clean(&what);
            if round % 5 == 4 {
                assert_model(&image, &model, &what);
            }
        }
    }
}

#[test]
fn ids_and_names_are_found_as_by_the_reference() {
    if !reference() {
        return;
    }
    let (image, _) = new("");
    for name in ["a", "a", "1"] {
        run(image.open().create(named(name))).unwrap();
    }
    let ids: Vec<_> = image.open().list().into_iter().map(|s| s.id).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    run(image.open().delete("1")).unwrap();
    assert_eq!(names(&image), ["a", "1"], "an id goes before a name");
    run(image.open().delete("1")).unwrap();
    assert_eq!(names(&image), ["a"]);
    let error = run(image.open().delete("zz")).unwrap_err();
    assert_eq!(error.message(), "snapshot not found");
    let error = run(image.open().apply("zz")).unwrap_err();
    assert_eq!(
        error.message(),
        "Failed to load snapshot: No such file or directory"
    );
}

#[test]
fn narrow_refcounts_refuse_one_snapshot_too_many() {
    if !reference() {
        return;
    }
    for (options, room) in [("refcount_bits=1", 0), ("refcount_bits=2", 2)] {
        let (mut image, mut model) = new(options);
        write(&mut image, &mut model, 0..=20, 7, false);
        for round in 0..room {
            run(image.open().create(named(&format!("s{round}")))).unwrap();
        }
        let error = run(image.open().create(named("x"))).unwrap_err();
        assert_eq!(error.message(), "Invalid argument");
        image.assert_clean(options);
        assert_model(&image, &model, options);
    }
}

/// Snapshots, shared and own clusters: something for every operation to change.
fn busy() -> (Image, Model) {
    let (mut image, mut model) = new("");
    write(&mut image, &mut model, 0..=9, 1, false);
    write(&mut image, &mut model, 600..=610, 2, false);
    run(image.open().create(named("a"))).unwrap();
    model.snapshots.push(("a".to_owned(), model.disk.clone()));
    write(&mut image, &mut model, 5..=14, 3, false);
    run(image.open().create(named("b"))).unwrap();
    model.snapshots.push(("b".to_owned(), model.disk.clone()));
    write(&mut image, &mut model, 605..=606, 4, false);
    image.assert_clean("busy");
    (image, model)
}

/// After every number of writes before the file fails: the old or the new state, never worse than leaks.
fn sweep(work: impl Fn(&Image) -> qapi::Result<()>, done: impl Fn(&mut Model)) {
    let (base, old) = busy();
    let mut new = old.clone();
    done(&mut new);
    for writes in 0.. {
        let image = base.copy();
        image.file.fail_after(writes);
        let result = work(&image);
        image.file.fail_after(-1);
        let ran = image.check();
        println!(
            "{writes}: {:?} {}",
            result.as_ref().err().map(qapi::Error::message),
            ran.text
        );
        assert!(
            matches!(ran.code, 0 | 3),
            "after {writes} writes: {}",
            ran.text
        );
        let switched =
            names(&image).len() != old.snapshots.len() || image.content(None) != old.disk;
        assert_model(
            &image,
            if switched { &new } else { &old },
            &format!("after {writes} writes"),
        );
        if result.is_ok() {
            assert_eq!(ran.code, 0);
            assert_model(&image, &new, "done");
            return;
        }
    }
}

#[test]
fn create_survives_a_failing_file() {
    if reference() {
        sweep(
            |image| run(image.open().create(named("c"))),
            |model| model.snapshots.push(("c".to_owned(), model.disk.clone())),
        );
    }
}

#[test]
fn apply_survives_a_failing_file() {
    if reference() {
        sweep(
            |image| run(image.open().apply("a")),
            |model| model.disk = model.snapshots[0].1.clone(),
        );
    }
}

#[test]
fn delete_survives_a_failing_file() {
    if reference() {
        sweep(
            |image| run(image.open().delete("a")),
            |model| {
                model.snapshots.remove(0);
            },
        );
    }
}
