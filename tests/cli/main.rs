//! Tool transcripts: text, exit code and file bytes of our tools, compared with the real ones where these
//! are installed. One file a command, and one for generated cases.
#![forbid(unsafe_code)]

mod aio;
mod check;
mod filters;
mod generated;
mod harness;
mod help;
mod io;
mod nbd;
