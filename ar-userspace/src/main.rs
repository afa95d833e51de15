//! Command line, logging and exit status of `arfw`.

#![forbid(unsafe_code)]

fn main() {}
