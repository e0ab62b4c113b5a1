//! The handshake: fixed newstyle, options until one of them chooses an export.

use std::fmt;
use std::io;
use std::sync::Arc;

use nbd_proto::flags::{
    ALLOCATION_DEPTH, BASE_ALLOCATION, DIRTY_BITMAP, export, handshake, info, option, option_reply,
};
use nbd_proto::{
    GoRequest, Greeting, Info, MAX_OPTION, MAX_REQUEST, MAX_STRING, MetaContext, MetaRequest,
    OPTION_HEAD, OptionHead, encode_list_entry, encode_option_reply,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Export, Server, Stream};

/// Longest payload that is looked at; longer ones, up to the protocol's limit, are skipped and refused.
const MAX_PAYLOAD: u32 = 1 << 20;
/// Longest part of a client's name that goes back to it.
const SHOWN: usize = 80;

/// How a client's messages look from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Simple,
    Structured,
    Extended,
}

/// Contexts that a client chose for an export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contexts {
    pub(crate) base: bool,
    pub(crate) depth: bool,
    pub(crate) bitmaps: Vec<bool>,
}

impl Contexts {
    pub(crate) fn count(&self) -> usize {
        let bitmaps = self.bitmaps.iter().filter(|b| **b).count();
        usize::from(self.base) + usize::from(self.depth) + bitmaps
    }

    /// Takes in one query. `listing`: groups stand for all that is in them.
    fn query(&mut self, export: &Export, query: &str, listing: bool) {
        match query {
            "base:" => self.base |= listing,
            BASE_ALLOCATION => self.base = true,
            "qemu:" if listing => {
                self.depth = export.allocation_depth;
                self.bitmaps.fill(true);
            }
            ALLOCATION_DEPTH => self.depth = export.allocation_depth,
            DIRTY_BITMAP if listing => self.bitmaps.fill(true),
            other => {
                let Some(name) = other.strip_prefix(DIRTY_BITMAP) else {
                    return;
                };
                for (chosen, bitmap) in self.bitmaps.iter_mut().zip(&export.bitmaps) {
                    *chosen |= bitmap.name == name;
                }
            }
        }
    }

    /// Numbers and names of what was chosen.
    fn named(&self, export: &Export) -> Vec<MetaContext> {
        let mut all = Vec::new();
        let mut add = |id, name: String| all.push(MetaContext { id, name });
        if self.base {
            add(0, BASE_ALLOCATION.to_owned());
        }
        if self.depth {
            add(1, ALLOCATION_DEPTH.to_owned());
        }
        for ((id, chosen), bitmap) in (2..).zip(&self.bitmaps).zip(&export.bitmaps) {
            if *chosen {
                add(id, format!("{DIRTY_BITMAP}{}", bitmap.name));
            }
        }
        all
    }
}

/// What both sides agreed on.
pub(crate) struct Agreed {
    pub(crate) export: Arc<Export>,
    pub(crate) mode: Mode,
    pub(crate) contexts: Contexts,
}

/// Why a handshake ended without an export.
#[derive(Debug)]
pub(crate) struct End(pub(crate) String);

impl End {
    pub(crate) fn late() -> Self {
        Self("the handshake took too long".to_owned())
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<nbd_proto::ProtoError> for End {
    fn from(error: nbd_proto::ProtoError) -> Self {
        Self(error.0)
    }
}

/// What an option came to.
enum Next {
    More,
    Chosen(Agreed),
    Secure,
    Gone,
}

/// What the client can, from its answer to the greeting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// It takes errors as answers.
    fixed: bool,
    no_zeroes: bool,
}

/// How far the handshake came.
pub(crate) enum Shaken {
    Agreed(Agreed),
    /// TLS comes next, and then [`resume`].
    Secure(Client),
}

/// A refusal: kind of reply and words.
struct No(u32, String);

/// A client that has not chosen yet.
struct Talk<'a, S> {
    stream: &'a mut S,
    server: &'a Server,
    client: Client,
    /// Nothing can be asked but TLS.
    locked: bool,
    /// Inside TLS.
    secure: bool,
    mode: Mode,
    /// What was chosen last, and for which export.
    contexts: Option<(Arc<Export>, Contexts)>,
}

/// Runs the handshake, or the part of it before TLS.
///
/// # Errors
/// Why no export was chosen.
pub(crate) async fn run<S: Stream>(stream: &mut S, server: &Server) -> Result<Shaken, End> {
    let known = handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES;
    stream.write_all(&Greeting::encode(known)).await?;
    stream.flush().await?;
    let flags = stream.read_u32().await?;
    if flags & !u32::from(known) != 0 {
        return Err(End(format!("Unknown client flags {flags:#x} received")));
    }
    let client = Client {
        fixed: flags & u32::from(handshake::FIXED_NEWSTYLE) != 0,
        no_zeroes: flags & u32::from(handshake::NO_ZEROES) != 0,
    };
    Talk::new(stream, server, client).options().await
}

/// Runs the handshake inside TLS. Nothing of what was said before counts, and no byte of it is left: this end reads
/// exactly what it is told, so whatever came after the request for TLS is taken for TLS.
///
/// # Errors
/// Why no export was chosen.
pub(crate) async fn resume<S: Stream>(
    stream: &mut S,
    server: &Server,
    client: Client,
) -> Result<Agreed, End> {
    let mut talk = Talk::new(stream, server, client);
    (talk.locked, talk.secure) = (false, true);
    match talk.options().await? {
        Shaken::Agreed(agreed) => Ok(agreed),
        Shaken::Secure(_) => Err(End("TLS inside TLS".to_owned())),
    }
}

impl<'a, S> Talk<'a, S> {
    fn new(stream: &'a mut S, server: &'a Server, client: Client) -> Self {
        Self {
            stream,
            locked: server.tls.is_some(),
            secure: false,
            server,
            client,
            mode: Mode::Simple,
            contexts: None,
        }
    }
}

impl<S: Stream> Talk<'_, S> {
    async fn options(&mut self) -> Result<Shaken, End> {
        loop {
            match self.option().await? {
                Next::More => {}
                Next::Chosen(agreed) => return Ok(Shaken::Agreed(agreed)),
                Next::Secure => return Ok(Shaken::Secure(self.client)),
                Next::Gone => return Err(End("the client said good-bye".to_owned())),
            }
        }
    }

    async fn option(&mut self) -> Result<Next, End> {
        let mut head = [0; OPTION_HEAD];
        self.stream.read_exact(&mut head).await?;
        let head = OptionHead::decode(&head)?;
        if head.len > MAX_OPTION {
            return Err(End(format!("option of {} bytes", head.len)));
        }
        if head.len > MAX_PAYLOAD {
            self.skip(head.len).await?;
            let no = No(option_reply::ERR_TOO_BIG, "option is too long".to_owned());
            return self.refuse(head.option, &no).await;
        }
        let payload = self.payload(head.len).await?;
        if self.locked && !matches!(head.option, option::ABORT | option::STARTTLS) {
            let words = format!("Option {:#x} not permitted before TLS", head.option);
            // This option cannot be refused but by hanging up.
            if head.option == option::EXPORT_NAME {
                return Err(End(words));
            }
            let no = No(option_reply::ERR_TLS_REQD, words);
            return self.refuse(head.option, &no).await;
        }
        if !self.client.fixed && head.option != option::EXPORT_NAME {
            return Err(End(format!("Unsupported option {:#x}", head.option)));
        }
        match head.option {
            option::EXPORT_NAME => self.export_name(&payload).await,
            option::ABORT => {
                // It may be gone already.
                let _ = self.answer(head.option, option_reply::ACK, &[]).await;
                Ok(Next::Gone)
            }
            option::INFO | option::GO => self.go(head.option, &payload).await,
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
                self.meta(head.option, &payload).await
            }
            number => {
                if let Err(no) = self.switch(number, &payload) {
                    return self.refuse(number, &no).await;
                }
                if number == option::LIST {
                    for export in &self.server.exports {
                        let text = export.description.as_deref().unwrap_or_default();
                        let entry = encode_list_entry(&export.name, text);
                        let bytes = encode_option_reply(number, option_reply::SERVER, &entry);
                        self.stream.write_all(&bytes).await?;
                    }
                }
                self.answer(number, option_reply::ACK, &[]).await?;
                Ok(if number == option::STARTTLS {
                    Next::Secure
                } else {
                    Next::More
                })
            }
        }
    }

    /// Options without a payload.
    fn switch(&mut self, number: u32, payload: &[u8]) -> Result<(), No> {
        let invalid = |words: &str| Err(No(option_reply::ERR_INVALID, words.to_owned()));
        let known = [
            option::LIST,
            option::STARTTLS,
            option::STRUCTURED_REPLY,
            option::EXTENDED_HEADERS,
        ];
        if !known.contains(&number) {
            let words = format!("Unsupported option {number}");
            return Err(No(option_reply::ERR_UNSUP, words));
        }
        if !payload.is_empty() {
            return invalid("option has unexpected length");
        }
        match (number, self.mode) {
            (option::STARTTLS, _) if self.secure => invalid("TLS already enabled"),
            (option::STARTTLS, _) if self.server.tls.is_none() => Err(No(
                option_reply::ERR_POLICY,
                "TLS not configured".to_owned(),
            )),
            (option::STRUCTURED_REPLY, Mode::Simple) => {
                self.mode = Mode::Structured;
                Ok(())
            }
            (option::STRUCTURED_REPLY, Mode::Structured) => {
                invalid("structured reply already negotiated")
            }
            (option::STRUCTURED_REPLY, Mode::Extended) => Err(No(
                option_reply::ERR_EXT_HEADER_REQD,
                "extended headers already negotiated".to_owned(),
            )),
            (option::EXTENDED_HEADERS, Mode::Extended) => {
                invalid("extended headers already negotiated")
            }
            (option::EXTENDED_HEADERS, _) => {
                self.mode = Mode::Extended;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn find(&self, name: &str) -> Result<Arc<Export>, No> {
        let found = self.server.exports.iter().find(|e| e.name == name);
        found.cloned().ok_or_else(|| {
            let mut shown: String = name.chars().take(SHOWN).collect();
            if shown.len() < name.len() {
                shown.push_str("...");
            }
            let words = format!("export '{shown}' not present");
            No(option_reply::ERR_UNKNOWN, words)
        })
    }

    /// Flags of an export for this client.
    fn flags(&self, export: &Export, payload: bool) -> u16 {
        let mut flags = export.flags();
        if self.mode >= Mode::Structured {
            flags |= export::SEND_DF;
        }
        if self.mode >= Mode::Extended && payload {
            flags |= export::BLOCK_STAT_PAYLOAD;
        }
        flags
    }

    /// Contexts that were chosen for this export.
    fn chosen(&self, export: &Arc<Export>) -> Contexts {
        match &self.contexts {
            Some((of, contexts)) if Arc::ptr_eq(of, export) => contexts.clone(),
            _ => Contexts::default(),
        }
    }

    fn agreed(&self, export: Arc<Export>) -> Next {
        Next::Chosen(Agreed {
            mode: self.mode,
            contexts: self.chosen(&export),
            export,
        })
    }

    async fn export_name(&mut self, payload: &[u8]) -> Result<Next, End> {
        // There is no way to say no but to hang up.
        let name = std::str::from_utf8(payload).unwrap_or("\0");
        if self.mode == Mode::Extended || name.len() > MAX_STRING {
            return Err(End("EXPORT_NAME is not possible".to_owned()));
        }
        let export = self.find(name).map_err(|no| End(no.1))?;
        let chosen = self.chosen(&export).count() > 0;
        let mut reply = export.size()?.to_be_bytes().to_vec();
        reply.extend(self.flags(&export, chosen).to_be_bytes());
        if !self.client.no_zeroes {
            reply.extend([0; 124]);
        }
        self.stream.write_all(&reply).await?;
        self.stream.flush().await?;
        Ok(self.agreed(export))
    }

    async fn go(&mut self, number: u32, payload: &[u8]) -> Result<Next, End> {
        let request = match GoRequest::decode(payload) {
            Ok(request) => request,
            Err(error) => {
                let no = No(option_reply::ERR_INVALID, error.0);
                return self.refuse(number, &no).await;
            }
        };
        let export = match self.find(&request.name) {
            Ok(export) => export,
            Err(no) => return self.refuse(number, &no).await,
        };
        let just_asks = number == option::INFO;
        let aligned = request.infos.contains(&info::BLOCK_SIZE);
        let mut infos = Vec::new();
        if request.infos.contains(&info::NAME) {
            infos.push(Info::Name(request.name));
        }
        infos.extend(export.description.clone().map(Info::Description));
        let min = if just_asks || aligned {
            export.alignment()
        } else {
            1
        };
        infos.push(Info::BlockSize {
            min,
            preferred: min.max(4096),
            max: MAX_REQUEST,
        });
        let payload_flag = just_asks || self.chosen(&export).count() > 0;
        infos.push(Info::Export {
            size: export.size()?,
            flags: self.flags(&export, payload_flag),
        });
        let mut out = Vec::new();
        for info in infos {
            out.extend(encode_option_reply(
                number,
                option_reply::INFO,
                &info.encode(),
            ));
        }
        self.stream.write_all(&out).await?;
        if just_asks && !aligned && export.alignment() > 1 {
            let words = "request NBD_INFO_BLOCK_SIZE to use this export".to_owned();
            let no = No(option_reply::ERR_BLOCK_SIZE_REQD, words);
            return self.refuse(number, &no).await;
        }
        self.answer(number, option_reply::ACK, &[]).await?;
        if just_asks {
            return Ok(Next::More);
        }
        Ok(self.agreed(export))
    }

    async fn meta(&mut self, number: u32, payload: &[u8]) -> Result<Next, End> {
        let listing = number == option::LIST_META_CONTEXT;
        if !listing {
            self.contexts = None;
        }
        let asked = if !listing && self.mode < Mode::Structured {
            let words = "contexts need structured replies".to_owned();
            Err(No(option_reply::ERR_INVALID, words))
        } else {
            MetaRequest::decode(payload)
                .map_err(|e| No(option_reply::ERR_INVALID, e.0))
                .and_then(|request| Ok((self.find(&request.export)?, request)))
        };
        let (export, request) = match asked {
            Ok(asked) => asked,
            Err(no) => return self.refuse(number, &no).await,
        };
        let mut contexts = Contexts {
            bitmaps: vec![false; export.bitmaps.len()],
            ..Contexts::default()
        };
        if listing && request.queries.is_empty() {
            contexts.query(&export, "base:", true);
            contexts.query(&export, "qemu:", true);
        }
        for query in &request.queries {
            contexts.query(&export, query, listing);
        }
        let mut out = Vec::new();
        for context in contexts.named(&export) {
            let kind = option_reply::META_CONTEXT;
            out.extend(encode_option_reply(number, kind, &context.encode()));
        }
        self.stream.write_all(&out).await?;
        self.answer(number, option_reply::ACK, &[]).await?;
        if !listing {
            self.contexts = Some((export, contexts));
        }
        Ok(Next::More)
    }

    async fn answer(&mut self, number: u32, kind: u32, payload: &[u8]) -> io::Result<()> {
        let bytes = encode_option_reply(number, kind, payload);
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await
    }

    async fn refuse(&mut self, number: u32, no: &No) -> Result<Next, End> {
        self.answer(number, no.0, no.1.as_bytes()).await?;
        Ok(Next::More)
    }

    /// The payload; its buffer grows with what comes.
    async fn payload(&mut self, len: u32) -> io::Result<Vec<u8>> {
        let mut payload = Vec::new();
        let read = (&mut *self.stream)
            .take(len.into())
            .read_to_end(&mut payload)
            .await?;
        if read != len as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(payload)
    }

    async fn skip(&mut self, len: u32) -> io::Result<()> {
        let mut rest = (&mut *self.stream).take(len.into());
        let skipped = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        if skipped != u64::from(len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
