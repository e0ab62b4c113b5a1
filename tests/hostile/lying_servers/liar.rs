//! A server that is honest but where it is told to lie.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use house_tests::tools::our_io;
use house_tests::{Output, Scratch, Tool, ours};

pub(super) const SIZE: u64 = 1 << 20;
pub(super) const READ: u16 = 0;
pub(super) const BLOCK_STATUS: u16 = 7;
pub(super) const CONTEXT: u32 = 5;
pub(super) const DONE: u16 = 1;
pub(super) const ERR_UNSUP: u32 = (1 << 31) + 1;

/// Memory that no lie may make a tool use.
pub(super) const MOST_MEMORY: u64 = 128 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Simple,
    Chunks,
    Extended,
}

/// A request as it came.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) command: u16,
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// A part of a reply.
pub(super) fn chunk(
    form: Form,
    asked: Asked,
    flags: u16,
    kind: u16,
    told: u64,
    payload: &[u8],
) -> Vec<u8> {
    let extended = form == Form::Extended;
    let magic: u32 = if extended { 0x6e8a_278c } else { 0x668e_33ef };
    let mut out = magic.to_be_bytes().to_vec();
    out.extend(flags.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend(asked.cookie.to_be_bytes());
    if extended {
        out.extend(asked.offset.to_be_bytes());
        out.extend(told.to_be_bytes());
    } else {
        let told = u32::try_from(told).expect("a length of 32 bits");
        out.extend(told.to_be_bytes());
    }
    out.extend(payload);
    out
}

pub(super) fn whole(form: Form, asked: Asked, flags: u16, kind: u16, payload: &[u8]) -> Vec<u8> {
    chunk(form, asked, flags, kind, payload.len() as u64, payload)
}

pub(super) fn data(asked: Asked, offset: u64, len: usize, flags: u16) -> Vec<u8> {
    let mut payload = offset.to_be_bytes().to_vec();
    payload.resize(8 + len, b'x');
    whole(Form::Chunks, asked, flags, 1, &payload)
}

pub(super) fn hole(asked: Asked, offset: u64, len: u32, flags: u16) -> Vec<u8> {
    let mut payload = offset.to_be_bytes().to_vec();
    payload.extend(len.to_be_bytes());
    whole(Form::Chunks, asked, flags, 2, &payload)
}

pub(super) fn simple(cookie: u64, error: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = 0x6744_6698_u32.to_be_bytes().to_vec();
    out.extend(error.to_be_bytes());
    out.extend(cookie.to_be_bytes());
    out.extend(payload);
    out
}

pub(super) fn extents(asked: Asked, context: u32, all: &[(u32, u32)]) -> Vec<u8> {
    let mut payload = context.to_be_bytes().to_vec();
    for (len, flags) in all {
        payload.extend(len.to_be_bytes());
        payload.extend(flags.to_be_bytes());
    }
    whole(Form::Chunks, asked, DONE, 5, &payload)
}

/// An honest answer.
pub(super) fn honest(form: Form, asked: Asked) -> Vec<u8> {
    let len = usize::try_from(asked.len).expect("small");
    match (form, asked.command) {
        (Form::Simple, READ) => simple(asked.cookie, 0, &vec![b'x'; len]),
        (Form::Extended, READ) => {
            let mut payload = asked.offset.to_be_bytes().to_vec();
            payload.resize(8 + len, b'x');
            whole(form, asked, DONE, 1, &payload)
        }
        (Form::Chunks, READ) => data(asked, asked.offset, len, DONE),
        (Form::Chunks, BLOCK_STATUS) => {
            let len = u32::try_from(asked.len).expect("small");
            extents(asked, CONTEXT, &[(len, 0)])
        }
        (Form::Extended, BLOCK_STATUS) => {
            let mut payload = CONTEXT.to_be_bytes().to_vec();
            payload.extend(1_u32.to_be_bytes());
            payload.extend(asked.len.to_be_bytes());
            payload.extend(0_u64.to_be_bytes());
            whole(form, asked, DONE, 6, &payload)
        }
        (Form::Extended, _) => whole(form, asked, DONE, 0, &[]),
        _ => simple(asked.cookie, 0, &[]),
    }
}

pub(super) fn option_reply(option: u32, kind: u32, told: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = 0x0003_e889_0455_65a9_u64.to_be_bytes().to_vec();
    for number in [option, kind, told] {
        out.extend(number.to_be_bytes());
    }
    out.extend(payload);
    out
}

pub(super) fn reply(option: u32, kind: u32, payload: &[u8]) -> Vec<u8> {
    let told = u32::try_from(payload.len()).expect("small");
    option_reply(option, kind, told, payload)
}

pub(super) fn export_info(size: u64, flags: u16) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend(size.to_be_bytes());
    out.extend(flags.to_be_bytes());
    out
}

/// An honest answer to an option; `None`: requests follow.
pub(super) fn agree(form: Form, option: u32) -> (Vec<u8>, bool) {
    let ack = |option| reply(option, 1, &[]);
    match (option, form) {
        (11, Form::Extended) | (8, Form::Chunks) => (ack(option), false),
        (10, _) => {
            let mut named = CONTEXT.to_be_bytes().to_vec();
            named.extend(b"base:allocation");
            let mut out = reply(option, 4, &named);
            out.extend(ack(option));
            (out, false)
        }
        (7, _) => {
            let mut out = reply(option, 3, &export_info(SIZE, 0x3));
            out.extend(ack(option));
            (out, true)
        }
        _ => (reply(option, ERR_UNSUP, &[]), false),
    }
}

pub(super) fn take<const N: usize>(stream: &mut UnixStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

pub(super) type OptionLie = fn(u32) -> Option<Vec<u8>>;
pub(super) type Lie = fn(Asked) -> Option<Vec<u8>>;

/// Serves one client, lying where the lies say something.
pub(super) fn serve(
    stream: &mut UnixStream,
    form: Form,
    option_lie: OptionLie,
    lie: Lie,
) -> Option<()> {
    let mut greeting = b"NBDMAGICIHAVEOPT".to_vec();
    greeting.extend(3_u16.to_be_bytes());
    stream.write_all(&greeting).ok()?;
    take::<4>(stream)?;
    loop {
        let head: [u8; 16] = take(stream)?;
        let option = u32::try_from(number(&head[8..12])).ok()?;
        let mut payload = vec![0; usize::try_from(number(&head[12..])).ok()?];
        stream.read_exact(&mut payload).ok()?;
        let (answer, last) = match option_lie(option) {
            Some(answer) => (answer, false),
            None => agree(form, option),
        };
        stream.write_all(&answer).ok()?;
        if last {
            break;
        }
    }
    loop {
        let wide = form == Form::Extended;
        let head: [u8; 28] = take(stream)?;
        let rest = if wide { number(&take::<4>(stream)?) } else { 0 };
        let len = number(&head[24..]);
        let asked = Asked {
            command: u16::try_from(number(&head[6..8])).ok()?,
            cookie: number(&head[8..16]),
            offset: number(&head[16..24]),
            len: if wide { len << 32 | rest } else { len },
        };
        if asked.command == 2 {
            return None;
        }
        let answer = lie(asked).unwrap_or_else(|| honest(form, asked));
        stream.write_all(&answer).ok()?;
        if answer.is_empty() {
            return None;
        }
    }
}

/// A liar's place.
pub(super) struct Liar {
    scratch: Scratch,
    uri: String,
}

impl Liar {
    pub(super) fn new(form: Form, option_lie: OptionLie, lie: Lie) -> Self {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let listener = UnixListener::bind(&path).expect("a socket");
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                serve(&mut stream, form, option_lie, lie);
            }
        });
        Self {
            uri: format!("nbd+unix://?socket={}", path.display()),
            scratch,
        }
    }

    pub(super) fn run(&self, tool: &Tool, words: &[&str]) -> Output {
        let mut all = words.to_vec();
        all.push(&self.uri);
        let time = Duration::from_secs(30);
        let output = tool.run_measured(self.scratch.dir(), &all, time).civil();
        assert!(output.peak < MOST_MEMORY, "{}", output.report());
        output
    }

    /// A read of 64 KiB fails with these words.
    #[track_caller]
    pub(super) fn read_fails(&self, words: &str) {
        let output = self.run(&our_io(), &["-r", "-f", "raw", "-c", "read 4096 64k"]);
        let said = output.stdout.clone() + &output.stderr;
        assert!(said.contains(words), "no {words:?}: {}", output.report());
        assert_eq!(output.code, Some(1), "{}", output.report());
    }

    /// Asking for block status fails with these words.
    #[track_caller]
    pub(super) fn map_fails(&self, words: &str) {
        let output = self.run(&ours(), &["map", "-f", "raw"]);
        assert!(
            output.stderr.contains(words),
            "no {words:?}: {}",
            output.report()
        );
        assert_eq!(output.code, Some(1), "{}", output.report());
    }

    /// Opening fails with these words.
    #[track_caller]
    pub(super) fn open_fails(&self, words: &str) {
        let output = self.run(&ours(), &["info"]);
        assert!(
            output.stderr.contains(words),
            "no {words:?}: {}",
            output.report()
        );
        assert_eq!(output.code, Some(1), "{}", output.report());
    }
}

pub(super) fn no_option_lie(_: u32) -> Option<Vec<u8>> {
    None
}

pub(super) fn no_lie(_: Asked) -> Option<Vec<u8>> {
    None
}
