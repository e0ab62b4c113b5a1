//! Tool transcripts: text, exit code and file bytes of our tools, compared with the real ones where these
//! are installed. One file a command, and one for generated cases.
#![forbid(unsafe_code)]

mod aio;
mod check;
mod close;
mod elsewhere;
mod filter_words;
mod filters;
mod generated;
mod harness;
mod help;
mod io;
mod io_terminal;
mod io_words;
mod nbd;
mod qcow2_options;
mod trace;
