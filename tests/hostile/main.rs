//! Hostile images: each row of the project's table of past holes is a test named by its first CVE. No
//! image may make a tool open files it was not given, crash, hang, or use memory without bound.
#![forbid(unsafe_code)]

mod divisors;
mod formats;
mod header;
mod images;
mod luks;
mod lying_servers;
mod names;
mod nbd_clients;
mod packed;
mod queues;
mod read_only;
mod starttls;
mod tables;
