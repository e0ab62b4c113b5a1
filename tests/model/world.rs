//! One image, its model, and what happens to both.

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use house_tests::tools::our_io;
use house_tests::{Rng, Scratch, ours, reference};

use crate::flat::Flat;

const IMAGE: &str = "t.qcow2";
const BASE: &str = "base.qcow2";

/// What a command does to the model.
#[derive(Clone, Copy)]
enum Effect {
    None,
    Write {
        offset: u64,
        len: u64,
        value: u8,
    },
    /// Zero, or as it was.
    Discard {
        offset: u64,
        len: u64,
    },
    Flush,
}

pub(crate) struct World {
    rng: Rng,
    scratch: Scratch,
    size: u64,
    cluster: u64,
    flat: Flat,
    /// Name and content of each snapshot.
    snapshots: Vec<(String, Flat, u64)>,
    overlay: bool,
    names: u32,
}

impl World {
    /// A fresh image from a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let cluster = *rng.pick(&[512, 4096, 65536, 65536, 2 << 20]);
        let size = rng.between(1, 16) << 18;
        let mut world = Self {
            rng,
            scratch: Scratch::new(),
            size,
            cluster,
            flat: Flat::new(size),
            snapshots: Vec::new(),
            overlay: false,
            names: 0,
        };
        world.create();
        world
    }

    fn tool(&self, args: &[&str]) {
        ours().run(self.scratch.dir(), args).ok();
    }

    fn create(&mut self) {
        let mut options = format!("cluster_size={}", self.cluster);
        if self.rng.one_in(3) {
            options.push_str(",lazy_refcounts=on");
        }
        if self.cluster >= 16384 && self.rng.one_in(3) {
            options.push_str(",extended_l2=on");
        }
        if self.rng.one_in(4) {
            options.push_str(&format!(",refcount_bits={}", self.rng.pick(&[1, 8, 64])));
        }
        let size = self.size.to_string();
        self.overlay = self.rng.one_in(3);
        if self.overlay {
            self.tool(&["create", "-q", "-f", "qcow2", BASE, &size]);
            let line = [
                "create", "-q", "-f", "qcow2", "-o", &options, "-b", BASE, "-F", "qcow2",
            ];
            self.tool(&[&line[..], &[IMAGE]].concat());
        } else {
            self.tool(&["create", "-q", "-f", "qcow2", "-o", &options, IMAGE, &size]);
        }
    }

    /// Some sessions of commands, each ended by a quit or a kill; gives the number of operations.
    pub(crate) fn live(mut self) -> usize {
        let mut done = 0;
        for _ in 0..self.rng.between(3, 8) {
            done += self.session();
            self.verify();
            done += 1;
            self.change();
            self.verify();
        }
        done
    }

    fn session(&mut self) -> usize {
        let count = self.rng.between(5, 60);
        let mut commands: Vec<(String, Effect)> = Vec::new();
        for _ in 0..count {
            self.operation(&mut commands);
        }
        let kill = self.rng.one_in(2);
        let io = our_io();
        let mut child = io.command(self.scratch.dir(), &["-f", "qcow2", IMAGE]);
        child.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child.spawn().expect("qio starts");
        let script: String = commands
            .iter()
            .map(|(line, _)| format!("{line}\n"))
            .collect();
        let mut input = child.stdin.take().expect("it was asked for");
        // A killed process does not read to the end.
        let _ = input.write_all(script.as_bytes());
        if kill {
            std::thread::sleep(Duration::from_micros(self.rng.below(15_000)));
            let _ = child.kill();
        }
        drop(input);
        let completed = finish(child).min(commands.len());
        self.replay(&commands, completed, kill);
        commands.len()
    }

    /// What the model learns: of the command after the last finished one anything may have happened.
    fn replay(&mut self, commands: &[(String, Effect)], completed: usize, killed: bool) {
        for (_, effect) in &commands[..commands.len().min(completed + 1)] {
            match *effect {
                Effect::Write { offset, len, value } => self.flat.may_become(offset, len, value),
                Effect::Discard { offset, len } => self.flat.may_become(offset, len, 0),
                Effect::None | Effect::Flush => {}
            }
        }
        if !killed {
            return self.settle(commands);
        }
        // Flushed before the kill: replay again, in order.
        let last = commands[..completed]
            .iter()
            .rposition(|(_, effect)| matches!(effect, Effect::Flush));
        if let Some(last) = last {
            let mut flat = self.flat.clone();
            flat.rewind(&self.flat, commands_effects(&commands[..=last]));
            for (_, effect) in &commands[last + 1..commands.len().min(completed + 1)] {
                apply(&mut flat, *effect);
            }
            self.flat = flat;
        }
    }

    /// Everything was done: only discards leave a choice.
    fn settle(&mut self, commands: &[(String, Effect)]) {
        let mut flat = self.flat.clone();
        flat.rewind(&self.flat, commands_effects(commands));
        self.flat = flat;
    }

    fn operation(&mut self, commands: &mut Vec<(String, Effect)>) {
        let sectors = self.size / 512;
        let first = self.rng.below(sectors);
        let most = (sectors - first).min(400);
        let (offset, len) = (first * 512, self.rng.between(1, most) * 512);
        let value = u8::try_from(self.rng.between(1, 255)).unwrap_or(1);
        let write = |value| Effect::Write { offset, len, value };
        match self.rng.below(12) {
            0 => commands.push(("flush".to_owned(), Effect::Flush)),
            1 => commands.push((format!("write -z {offset} {len}"), write(0))),
            2 => commands.push((format!("write -z -u {offset} {len}"), write(0))),
            3 => commands.push((
                format!("discard {offset} {len}"),
                Effect::Discard { offset, len },
            )),
            4 => commands.push((format!("read {offset} {len}"), Effect::None)),
            5 if offset % self.cluster == 0 && self.size - offset >= self.cluster => {
                let line = format!("write -c -P {value} {offset} {}", self.cluster);
                let len = self.cluster;
                commands.push((line, Effect::Write { offset, len, value }));
            }
            6 => self.side_by_side(commands),
            _ => commands.push((format!("write -P {value} {offset} {len}"), write(value))),
        }
    }

    /// Several requests at once, which do not touch each other, and a wait.
    fn side_by_side(&mut self, commands: &mut Vec<(String, Effect)>) {
        let parts = 4;
        let part = self.size / 512 / parts;
        for n in 0..parts {
            let offset = (n * part + self.rng.below(part)) * 512;
            let len = self
                .rng
                .between(1, ((n + 1) * part - offset / 512).min(200))
                * 512;
            let value = u8::try_from(self.rng.between(1, 255)).unwrap_or(1);
            let line = format!("aio_write -P {value} {offset} {len}");
            commands.push((line, Effect::Write { offset, len, value }));
        }
        commands.push(("aio_flush".to_owned(), Effect::Flush));
    }

    /// What is done between sessions.
    fn change(&mut self) {
        match self.rng.below(6) {
            0 if !self.overlay => self.snapshot(),
            1 if !self.snapshots.is_empty() => {
                let (name, flat, size) = self.rng.pick(&self.snapshots).clone();
                self.tool(&["snapshot", "-q", "-a", &name, IMAGE]);
                (self.flat, self.size) = (flat, size);
            }
            2 if !self.snapshots.is_empty() => {
                let (name, _, _) = self.snapshots.remove(0);
                self.tool(&["snapshot", "-q", "-d", &name, IMAGE]);
            }
            3 if self.snapshots.is_empty() => self.resize(),
            4 if self.overlay => self.tool(&["commit", "-q", "-f", "qcow2", IMAGE]),
            _ => {}
        }
    }

    fn snapshot(&mut self) {
        self.names += 1;
        let name = format!("s{}", self.names);
        let output = ours().run(self.scratch.dir(), &["snapshot", "-q", "-c", &name, IMAGE]);
        // Refcounts of one bit count no second use.
        if output.code == Some(0) {
            self.snapshots.push((name, self.flat.clone(), self.size));
        }
    }

    fn resize(&mut self) {
        if self.overlay {
            return;
        }
        let size = self.rng.between(1, 16) << 18;
        self.tool(&[
            "resize",
            "-q",
            "--shrink",
            "-f",
            "qcow2",
            IMAGE,
            &size.to_string(),
        ]);
        self.flat.resize(size);
        self.size = size;
    }

    /// The reference finds nothing worse than leaks, and reads what the model says.
    fn verify(&mut self) {
        let dir = self.scratch.dir();
        let real = reference().expect("checked by the caller");
        // An image whose refcounts were late is repaired by its next writer.
        our_io()
            .run(dir, &["-f", "qcow2", "-c", "quit", IMAGE])
            .ok();
        let check = real.run(dir, &["check", "-q", "-f", "qcow2", IMAGE]);
        assert!(matches!(check.code, Some(0 | 3)), "{}", check.report());
        let line = ["convert", "-f", "qcow2", "-O", "raw", IMAGE, "out.raw"];
        real.run(dir, &line).ok();
        let bytes = std::fs::read(self.scratch.path("out.raw")).expect("it was just written");
        self.flat.check(&bytes);
    }
}

fn commands_effects(
    commands: &[(String, Effect)],
) -> impl Iterator<Item = (u64, u64, u8, bool)> + '_ {
    commands.iter().filter_map(|(_, effect)| match *effect {
        Effect::Write { offset, len, value } => Some((offset, len, value, false)),
        Effect::Discard { offset, len } => Some((offset, len, 0, true)),
        Effect::None | Effect::Flush => None,
    })
}

fn apply(flat: &mut Flat, effect: Effect) {
    match effect {
        Effect::Write { offset, len, value } => flat.may_become(offset, len, value),
        Effect::Discard { offset, len } => flat.may_become(offset, len, 0),
        Effect::None | Effect::Flush => {}
    }
}

/// Waits for the process; gives how many commands it finished: it prompts once before each.
fn finish(mut child: Child) -> usize {
    let mut output = String::new();
    let mut out = child.stdout.take().expect("it was asked for");
    let _ = out.read_to_string(&mut output);
    let _ = child.wait();
    output.matches("> ").count().saturating_sub(1)
}
