//! `data-plane PIN_DIR BENCH_OBJECT [XDP_FILTER_OBJECT]`: measures what a packet costs, and prints a line of JSON for each case.
//!
//! Only arguments, printing and the exit status stand here.

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tests::data_plane::{Objects, measure};

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let usage = "usage: data-plane PIN_DIR BENCH_OBJECT [XDP_FILTER_OBJECT]";
    let objects = Objects {
        pin_dir: arguments.next().context(usage)?,
        bench: arguments.next().context(usage)?,
        xdp_filter: arguments.next(),
    };
    for family in [4, 6] {
        for prefixes in [0, 10_000] {
            for bans in [1, 10_000, 100_000, 1_000_000] {
                for figure in measure(&objects, family, bans, prefixes)? {
                    writeln!(io::stdout(), "{}", serde_json::to_string(&figure)?)?;
                }
            }
        }
    }
    Ok(())
}
