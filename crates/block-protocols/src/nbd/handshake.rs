//! The client's side of the handshake: greeting, TLS, the best form of replies, then a list of exports or one of them.
//!
//! ```text
//! start -> (secure) -> upgrade -> list | choose | go
//! ```
//! Whatever was agreed before TLS is forgotten: it goes on as if the greeting had just been answered.

use std::io;

use crypto::tls::{self, TlsCreds};
use nbd_proto::flags::{handshake, option, option_reply};
use nbd_proto::{
    ExportInfo, GoRequest, Greeting, Info, MetaContext, MetaRequest, OPTION_REPLY_HEAD, OldExport,
    OptionReplyHead, ProtoError, encode_option, parse_list_entry,
};
use qapi::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::wire::Wire;

/// Exports that a server may list, and contexts that it may name for one.
const MOST: usize = 10_000;

/// How far a server's protocol goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// One export, told in the greeting.
    Oldstyle,
    /// An export can be chosen, nothing else.
    ExportName,
    /// Options are answered, requests in one piece each.
    Simple,
    /// Requests are answered in chunks.
    Structured,
    /// The same with lengths of 64 bits.
    Extended,
}

/// What came out of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The export.
    pub info: ExportInfo,
    /// How requests are answered.
    pub mode: Mode,
    /// The number of the metadata context that was asked for, if there is one.
    pub context: Option<u32>,
}

/// A connection whose handshake is under way.
pub struct Client<S> {
    stream: S,
    /// What both sides know.
    pub mode: Mode,
    /// 124 bytes follow the answer to `EXPORT_NAME`.
    zeroes: bool,
}

impl Client<Wire> {
    /// Goes on inside TLS. What was agreed before is forgotten. `hostname`: what the server's certificate must be for.
    ///
    /// # Errors
    /// When the server does not, or is not who it should be.
    pub async fn secure(self, creds: &TlsCreds, hostname: Option<&str>) -> Result<Self> {
        let zeroes = self.zeroes;
        let plain = self.starttls().await?;
        let secured = tls::connect(plain, creds, hostname).await?;
        Ok(Self {
            stream: Wire::Other(secured),
            mode: Mode::Simple,
            zeroes,
        })
    }
}

/// A reply to an option.
struct Reply {
    kind: u32,
    payload: Vec<u8>,
}

fn broken(error: ProtoError) -> Error {
    Error::new(error.0)
}

fn name_of(option: u32) -> &'static str {
    match option {
        option::EXPORT_NAME => "export name",
        option::LIST => "list",
        option::STARTTLS => "starttls",
        option::INFO => "info",
        option::GO => "go",
        option::STRUCTURED_REPLY => "structured reply",
        option::LIST_META_CONTEXT => "list meta context",
        option::SET_META_CONTEXT => "set meta context",
        option::EXTENDED_HEADERS => "extended headers",
        _ => "<unknown>",
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Reads the greeting and answers it.
    ///
    /// # Errors
    /// When it is no NBD server.
    pub async fn start(stream: S) -> Result<Self> {
        let mut client = Self {
            stream,
            mode: Mode::Oldstyle,
            zeroes: true,
        };
        let head = client.read::<{ Greeting::HEAD }>("initial magic").await?;
        if Greeting::style(&head).map_err(broken)? == Greeting::Old {
            return Ok(client);
        }
        let flags = u16::from_be_bytes(client.read("server flags").await?);
        client.zeroes = flags & handshake::NO_ZEROES == 0;
        let known = handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES;
        client
            .send(&u32::from(flags & known).to_be_bytes())
            .await
            .map_err(|e| e.prefix("Failed to send clientflags field: "))?;
        client.mode = if flags & handshake::FIXED_NEWSTYLE == 0 {
            Mode::ExportName
        } else {
            Mode::Simple
        };
        Ok(client)
    }

    /// Asks the server to go on in TLS, and gives the connection back for that.
    ///
    /// # Errors
    /// When it does not.
    async fn starttls(mut self) -> Result<S> {
        if self.mode < Mode::Simple {
            return Err(Error::new("Server does not support STARTTLS"));
        }
        let number = option::STARTTLS;
        self.send(&encode_option(number, &[])).await?;
        let reply = self.reply(number).await?;
        match reply.kind {
            option_reply::ACK => {
                acknowledged(number, &reply)?;
                Ok(self.stream)
            }
            option_reply::ERR_UNSUP => Err(Error::new("Server don't support STARTTLS option")),
            _ => Err(refused(number, &reply)),
        }
    }

    /// Asks for the best form of replies.
    ///
    /// # Errors
    /// When the server breaks the protocol.
    pub async fn upgrade(&mut self) -> Result<()> {
        if self.mode != Mode::Simple {
            return Ok(());
        }
        for (number, mode) in [
            (option::EXTENDED_HEADERS, Mode::Extended),
            (option::STRUCTURED_REPLY, Mode::Structured),
        ] {
            if self.simple_option(number).await? {
                self.mode = mode;
                break;
            }
        }
        Ok(())
    }

    /// An option that is taken or not.
    ///
    /// # Errors
    /// When the server breaks the protocol.
    pub async fn simple_option(&mut self, number: u32) -> Result<bool> {
        self.send(&encode_option(number, &[])).await?;
        let reply = self.reply(number).await?;
        if reply.kind & option_reply::ERROR != 0 {
            return Ok(false);
        }
        acknowledged(number, &reply)?;
        Ok(true)
    }

    /// All exports, with what can be told of each.
    ///
    /// # Errors
    /// When the server refuses, or breaks the protocol.
    pub async fn list(&mut self) -> Result<Vec<ExportInfo>> {
        match self.mode {
            Mode::Oldstyle => return self.old_export().await.map(|e| vec![e]),
            Mode::ExportName => return Err(Error::new("Server does not support export lists")),
            _ => {}
        }
        let mut all = self.names().await?;
        for export in &mut all {
            if !self.info(option::INFO, export, true).await? {
                break;
            }
            if self.mode >= Mode::Structured {
                export.contexts = self.contexts(&export.name).await?;
            }
        }
        // A courtesy: the server is not asked whether it heard.
        let _ = self.send(&encode_option(option::ABORT, &[])).await;
        Ok(all)
    }

    /// Chooses an export: requests may follow.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn go(&mut self, name: &str) -> Result<ExportInfo> {
        let mut export = ExportInfo {
            name: name.to_owned(),
            ..ExportInfo::default()
        };
        if !self.info(option::GO, &mut export, false).await? {
            return Err(Error::new("Server does not support NBD_OPT_GO"));
        }
        Ok(export)
    }

    /// Chooses an export by the best way there is, with a metadata context.
    ///
    /// # Errors
    /// When there is none of this name, in QEMU's words.
    pub async fn choose(&mut self, name: &str, context: &str) -> Result<Chosen> {
        let mut chosen = Chosen {
            info: ExportInfo {
                name: name.to_owned(),
                ..ExportInfo::default()
            },
            mode: self.mode,
            context: None,
        };
        if self.mode == Mode::Oldstyle {
            if !name.is_empty() {
                return Err(Error::new("Server does not support non-empty export names"));
            }
            chosen.info = self.old_export().await?;
            return Ok(chosen);
        }
        if self.mode >= Mode::Structured {
            chosen.context = self.set_context(name, context).await?;
        }
        if self.mode >= Mode::Simple {
            if self.info(option::GO, &mut chosen.info, true).await? {
                return Ok(chosen);
            }
            // EXPORT_NAME cannot say no but by hanging up, so the list is asked first.
            let names = self.names().await?;
            if !names.is_empty() && !names.iter().any(|e| e.name == name) {
                return Err(Error::new(format!(
                    "No export with name '{name}' available"
                )));
            }
        }
        self.export_name(&mut chosen.info).await?;
        Ok(chosen)
    }

    async fn export_name(&mut self, export: &mut ExportInfo) -> Result<()> {
        let request = encode_option(option::EXPORT_NAME, export.name.as_bytes());
        self.send(&request).await?;
        export.size = u64::from_be_bytes(self.read("export length").await?);
        export.flags = u16::from_be_bytes(self.read("export flags").await?);
        if self.zeroes {
            self.read::<124>("reserved block").await?;
        }
        Ok(())
    }

    /// The number of a context; `None`: the server does not have it.
    async fn set_context(&mut self, export: &str, context: &str) -> Result<Option<u32>> {
        let number = option::SET_META_CONTEXT;
        let request = MetaRequest {
            export: export.to_owned(),
            queries: vec![context.to_owned()],
        };
        self.send(&encode_option(number, &request.encode())).await?;
        let mut found = None;
        loop {
            let reply = self.reply(number).await?;
            match reply.kind {
                option_reply::META_CONTEXT if found.is_some() => {
                    return Err(Error::new("Server answered with more than one context"));
                }
                option_reply::META_CONTEXT => {
                    let told = MetaContext::decode(&reply.payload).map_err(broken)?;
                    if told.name != context {
                        return Err(Error::new(format!(
                            "Failed to negotiate meta context '{context}', server answered with different context '{}'",
                            shown(&told.name)
                        )));
                    }
                    found = Some(told.id);
                }
                option_reply::ACK => {
                    acknowledged(number, &reply)?;
                    return Ok(found);
                }
                kind if kind & option_reply::ERROR != 0 => return Ok(None),
                _ => return Err(refused(number, &reply)),
            }
        }
    }

    async fn old_export(&mut self) -> Result<ExportInfo> {
        let bytes = self.read::<{ OldExport::LEN }>("export length").await?;
        let old = OldExport::decode(&bytes).map_err(broken)?;
        Ok(ExportInfo {
            size: old.size,
            flags: old.flags,
            ..ExportInfo::default()
        })
    }

    /// Names and descriptions; none when the server does not tell them.
    async fn names(&mut self) -> Result<Vec<ExportInfo>> {
        self.send(&encode_option(option::LIST, &[])).await?;
        let mut all = Vec::new();
        loop {
            let reply = self.reply(option::LIST).await?;
            match reply.kind {
                option_reply::ACK => return Ok(all),
                option_reply::ERR_UNSUP => return Ok(all),
                option_reply::SERVER if all.len() < MOST => {
                    let (name, text) = parse_list_entry(&reply.payload).map_err(broken)?;
                    all.push(ExportInfo {
                        name,
                        description: Some(text).filter(|t| !t.is_empty()),
                        ..ExportInfo::default()
                    });
                }
                _ => return Err(refused(option::LIST, &reply)),
            }
        }
    }

    /// `INFO` or `GO`; `false` when the server does not know it.
    async fn info(&mut self, number: u32, export: &mut ExportInfo, sizes: bool) -> Result<bool> {
        let request = GoRequest {
            name: export.name.clone(),
            infos: if sizes {
                vec![nbd_proto::flags::info::BLOCK_SIZE]
            } else {
                Vec::new()
            },
        };
        self.send(&encode_option(number, &request.encode())).await?;
        let mut told = false;
        for _ in 0..MOST {
            let reply = self.reply(number).await?;
            match reply.kind {
                option_reply::ACK if !reply.payload.is_empty() => {
                    return Err(Error::new("server sent invalid NBD_REP_ACK"));
                }
                option_reply::ACK if told => return fits(export).map(|()| true),
                option_reply::ACK => {
                    return Err(Error::new("broken server omitted NBD_INFO_EXPORT"));
                }
                option_reply::ERR_UNSUP => return Ok(false),
                option_reply::INFO => {
                    let info = Info::decode(&reply.payload).map_err(broken)?;
                    told |= matches!(info, Info::Export { flags, .. } if flags != 0);
                    // The name it was asked by is the one that counts, and the text of the list.
                    if !matches!(info, Info::Name(_) | Info::Description(_)) {
                        export.take(info).map_err(broken)?;
                    }
                }
                _ => return Err(refused(number, &reply)),
            }
        }
        Err(Error::new("server does not stop telling of its export"))
    }

    async fn contexts(&mut self, export: &str) -> Result<Vec<String>> {
        let number = option::LIST_META_CONTEXT;
        let request = MetaRequest {
            export: export.to_owned(),
            queries: Vec::new(),
        };
        self.send(&encode_option(number, &request.encode())).await?;
        let mut all = Vec::new();
        while all.len() < MOST {
            let reply = self.reply(number).await?;
            match reply.kind {
                option_reply::META_CONTEXT => {
                    let context = MetaContext::decode(&reply.payload).map_err(broken)?;
                    all.push(context.name);
                }
                option_reply::ACK => return Ok(all),
                // Not knowing any is no error.
                kind if kind & option_reply::ERROR != 0 => return Ok(all),
                _ => return Err(refused(number, &reply)),
            }
        }
        Err(Error::new("server names too many contexts"))
    }

    async fn reply(&mut self, number: u32) -> Result<Reply> {
        let head = self.read::<OPTION_REPLY_HEAD>("option reply").await?;
        let head = OptionReplyHead::decode(&head).map_err(broken)?;
        if head.option != number {
            return Err(Error::new(format!(
                "Unexpected option type {} ({}), expected {number} ({})",
                head.option,
                name_of(head.option),
                name_of(number)
            )));
        }
        // The buffer grows with what really comes, whatever length was told.
        let mut payload = Vec::new();
        let mut part = (&mut self.stream).take(u64::from(head.len));
        let read = part.read_to_end(&mut payload).await;
        let read = read.map_err(|e| failed("option reply", &e))?;
        if read != usize::try_from(head.len).unwrap_or(usize::MAX) {
            return Err(ended("option reply"));
        }
        Ok(Reply {
            kind: head.kind,
            payload,
        })
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        sent.await
            .map_err(|e: io::Error| Error::from_io("Failed to send option request header", &e))
    }

    async fn read<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        match self.stream.read_exact(&mut bytes).await {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ended(what)),
            Err(error) => Err(failed(what, &error)),
        }
    }

    /// The connection, past the handshake.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

fn ended(what: &str) -> Error {
    Error::new(format!(
        "Failed to read {what}: Unexpected end-of-file before all data were read"
    ))
}

fn failed(what: &str, error: &io::Error) -> Error {
    Error::from_io(
        format!("Failed to read {what}: Unable to read from socket"),
        error,
    )
}

/// Refuses a size that its own unit does not divide.
fn fits(export: &ExportInfo) -> Result<()> {
    match export.block_sizes {
        Some((min, ..)) if !export.size.is_multiple_of(u64::from(min)) => Err(Error::new(format!(
            "export size {} is not multiple of minimum block size {min}",
            export.size
        ))),
        _ => Ok(()),
    }
}

/// Refuses everything but a plain yes.
fn acknowledged(number: u32, reply: &Reply) -> Result<()> {
    let name = name_of(number);
    if reply.kind != option_reply::ACK {
        return Err(Error::new(format!(
            "Server answered option {number} ({name}) with unexpected reply {:#x}",
            reply.kind
        )));
    }
    if reply.payload.is_empty() {
        return Ok(());
    }
    Err(Error::new(format!(
        "Option {number} ('{name}') response length is {} (it should be zero)",
        reply.payload.len()
    )))
}

/// A server's text as it may be printed.
fn shown(text: &str) -> String {
    let plain = text.chars().filter(|c| !c.is_control());
    plain.take(nbd_proto::MAX_STRING).collect()
}

/// A reply that was not hoped for.
fn refused(number: u32, reply: &Reply) -> Error {
    let name = name_of(number);
    let message = match reply.kind {
        option_reply::ERR_POLICY => format!("Denied by server for option {number} ({name})"),
        option_reply::ERR_INVALID => format!("Invalid parameters for option {number} ({name})"),
        option_reply::ERR_PLATFORM => format!("Server lacks support for option {number} ({name})"),
        option_reply::ERR_TLS_REQD => {
            format!("TLS negotiation required before option {number} ({name})")
        }
        option_reply::ERR_UNKNOWN => "Requested export not available".to_owned(),
        option_reply::ERR_SHUTDOWN => {
            format!("Server shutting down before option {number} ({name})")
        }
        option_reply::ERR_BLOCK_SIZE_REQD => {
            format!("Server requires INFO_BLOCK_SIZE for option {number} ({name})")
        }
        kind if kind & option_reply::ERROR != 0 => {
            format!("Unknown error code when asking for option {number} ({name})")
        }
        kind => format!("Unexpected reply type {kind} to option {number} ({name})"),
    };
    let mut hints = Vec::new();
    if reply.kind == option_reply::ERR_TLS_REQD {
        hints.push("Did you forget a valid tls-creds?".to_owned());
    }
    if reply.kind & option_reply::ERROR != 0 && !reply.payload.is_empty() {
        let text = shown(&String::from_utf8_lossy(&reply.payload));
        hints.push(format!("server reported: {text}"));
    }
    let error = Error::new(message);
    if hints.is_empty() {
        return error;
    }
    error.hint(hints.join("\n"))
}

#[cfg(test)]
mod tests;
