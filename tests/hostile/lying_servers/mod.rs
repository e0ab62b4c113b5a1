//! Row 13: NBD servers that lie, in the handshake and after it. Every lie ends in an error with a reason, in time and in
//! little memory.

mod liar;
mod options;
mod replies;
