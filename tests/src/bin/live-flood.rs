//! `live-flood OBJECT INTERFACE POOL LENGTH CPU`: says `ready`, then reads lines `PACKETS MILLISECONDS`, sends, and answers with
//! packets, and nanoseconds by the wall and of the CPU.
//!
//! Only arguments, printing and the exit status stand here.

use std::env;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tests::flood::Sender;

const USAGE: &str = "usage: live-flood OBJECT INTERFACE POOL LENGTH CPU";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [object, interface, pool, length, cpu] = &arguments[..] else {
        bail!(USAGE);
    };
    let (length, cpu) = (length.parse()?, cpu.parse()?);
    let sender = Sender::load(Path::new(object), interface, Path::new(pool), length, cpu)?;
    writeln!(io::stdout(), "ready")?;
    for line in io::stdin().lines() {
        let line = line?;
        let (packets, time) = line.split_once(' ').context("expected two numbers")?;
        let sent = sender.send(packets.parse()?, Duration::from_millis(time.parse()?))?;
        let [wall, cpu] = [sent.wall, sent.cpu].map(|time| time.as_nanos());
        writeln!(io::stdout(), "{} {wall} {cpu}", sent.packets)?;
    }
    Ok(())
}
