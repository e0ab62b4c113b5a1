//! NBD beside others: every client with every server, over sockets of both kinds and TLS, in each form of replies.
#![forbid(unsafe_code)]

mod certificates;
mod clients;
mod contexts;
mod killed;
mod lost;
mod old;
mod psk;
mod resize;
mod servers;
mod tls;
mod transcripts;
