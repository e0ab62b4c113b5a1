//! Rows 9 to 11: what a client of an NBD server can send, and when it or the server can leave.

mod leaving;
mod limits;
mod names;
mod served;
