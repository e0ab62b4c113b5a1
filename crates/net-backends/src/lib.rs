//! Network backends: where the frames of network devices go.
//!
//! | module | what it is |
//! |---|---|
//! | [`socket`] | frames over TCP to another machine, or over UDP to one or to a group |
#![forbid(unsafe_code)]

pub mod socket;
