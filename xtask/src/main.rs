//! `cargo xtask`: one command per file.

#![forbid(unsafe_code)]

fn main() {}
