//! Bitmaps in memory, as bytes, and in whole images beside the reference tool.

mod pure;
mod reference;
