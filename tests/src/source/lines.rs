//! Lines that are no text, too long, or not ended: none stops the next alert.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tests::support::daemon::Home;

use super::{CONF, alert, each_counted_once, read, without_id};

/// A byte too long, and much too long; the longest line that is taken is no alert, but is looked at.
#[test]
fn a_line_over_the_limit_is_skipped_whole_and_the_next_alert_fires() -> Result<()> {
    const LIMIT: usize = 1 << 20;
    let home = Home::new(CONF)?;
    let mut daemon = home.start_dry(&[])?;
    for (too_long, length) in [(0, LIMIT), (1, LIMIT + 1), (2, 3 * LIMIT)] {
        // What would fire if it were taken for a line of its own.
        let mut line = vec![b'x'; length];
        let inside = alert(99);
        let inside = inside.trim_end().as_bytes();
        line[length - inside.len()..].copy_from_slice(inside);
        line.push(b'\n');
        home.append_bytes(&line)?;
        let number = too_long + 1;
        home.append(&alert(number))?;
        daemon.wait_for(" ban ")?;
        let counts = home.status()?.counts;
        ensure!(
            (counts.too_long, counts.malformed) == (too_long as u64, 1),
            "{counts:?}"
        );
        each_counted_once(&home, number)?;
    }
    daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn bytes_that_are_no_text_cost_their_line_alone() -> Result<()> {
    let home = Home::new(CONF)?;
    let mut daemon = home.start_dry(&[])?;
    for (number, odd) in (1..).zip([
        &b"\0"[..],
        b"\0\0 no alert \0",
        b"\xff\xfe{",
        b"{\"a\":\xc3}",
    ]) {
        home.append_bytes(odd)?;
        home.append_bytes(b"\n")?;
        home.append(&alert(number))?;
        daemon.wait_for(" ban ")?;
        let counts = home.status()?.counts;
        ensure!(
            (counts.lines, counts.matched) == (2 * number as u64, number as u64),
            "{counts:?}"
        );
    }
    let counts = home.status()?.counts;
    ensure!((counts.malformed, counts.too_long) == (4, 0), "{counts:?}");
    each_counted_once(&home, 4)?;
    daemon.stop(Signal::TERM)?;
    Ok(())
}

/// An attacker writes into `full_log` what he likes.
#[test]
fn an_alert_with_bytes_that_are_no_text_in_its_log_still_bans() -> Result<()> {
    let home = Home::new(CONF)?;
    let mut daemon = home.start_dry(&[])?;
    for (number, odd) in (1..).zip([&b"\xff"[..], b"\xc3", b"\xed\xa0\x80 \xf8"]) {
        let alert = alert(number);
        let rest = alert.strip_prefix('{').context("an object")?;
        let line = [b"{\"full_log\":\"sshd: user ", odd, b"\",", rest.as_bytes()].concat();
        home.append_bytes(&line)?;
        daemon.wait_for(" ban ")?;
    }
    let counts = home.status()?.counts;
    ensure!((counts.matched, counts.malformed) == (3, 0), "{counts:?}");
    each_counted_once(&home, 3)?;
    daemon.stop(Signal::TERM)?;
    Ok(())
}

/// However the daemon ends and wherever the line is cut.
#[test]
fn a_line_that_is_being_written_over_a_restart_is_one_alert() -> Result<()> {
    let home = Home::new(CONF)?;
    let mut daemon = home.start_dry(&[])?;
    let mut number = 0;
    for killed in [false, true] {
        for cut in [1, 40, 200] {
            let (whole, begun) = (without_id(number + 1), without_id(number + 2));
            number += 2;
            let (first, rest) = begun.split_at(cut);
            home.append(&format!("{whole}{first}"))?;
            daemon.wait_for(" ban ")?;
            match killed {
                true => daemon.crash()?,
                false => drop(daemon.stop(Signal::TERM)?),
            }
            home.append(rest)?;
            daemon = home.start_dry(&[])?;
            read(&home, 1)?;
            each_counted_once(&home, number)?;
        }
    }
    let counts = home.status()?.counts;
    ensure!(counts.malformed == 0, "{counts:?}");
    daemon.stop(Signal::TERM)?;
    Ok(())
}

/// Nothing but the store knows where it began, and the disk is busy.
#[test]
fn a_first_start_that_is_killed_as_soon_as_it_is_ready_loses_nothing() -> Result<()> {
    let busy = AtomicBool::new(true);
    let load = tempfile::tempdir()?;
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (path, busy) = (load.path().join(number.to_string()), &busy);
            scope.spawn(move || write_while(busy, &path));
        }
        let done = (0..10).try_for_each(|_| killed_at_once());
        busy.store(false, Ordering::Relaxed);
        done
    })
}

fn killed_at_once() -> Result<()> {
    let home = Home::new(CONF)?;
    home.start_dry(&[])?.crash()?;
    home.append(&without_id(1))?;
    let mut daemon = home.start_dry(&[])?;
    read(&home, 1)?;
    each_counted_once(&home, 1)?;
    daemon.stop(Signal::TERM)?;
    Ok(())
}

/// Writes the same few megabytes anew, to the disk.
fn write_while(busy: &AtomicBool, path: &Path) -> io::Result<()> {
    let block = vec![0; 8 << 20];
    // Bounded also when the test panics and nobody says so.
    for _ in 0..2_000 {
        if !busy.load(Ordering::Relaxed) {
            break;
        }
        let mut file = File::create(path)?;
        file.write_all(&block)?;
        file.sync_all()?;
    }
    Ok(())
}
