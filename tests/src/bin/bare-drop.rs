//! `bare-drop OBJECT INTERFACE`: drops every packet on an interface until its standard input ends.
//!
//! Only arguments, printing and the exit status stand here.

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tests::flood::drop_all;

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let usage = "usage: bare-drop OBJECT INTERFACE";
    let object = PathBuf::from(arguments.next().context(usage)?);
    let interface = arguments.next().context(usage)?;
    let attached = drop_all(&object, &interface)?;
    writeln!(io::stdout(), "attached")?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    drop(attached);
    Ok(())
}
