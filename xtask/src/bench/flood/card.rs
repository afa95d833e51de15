//! Frames as a network card brings them: the kernel's live frames, which are no buffers of its stack yet.
//!
//! The program `live-flood` of the package `tests` makes them and hands them to the link's other end in batches, as a
//! card's driver does. Whoever lets them pass pays for the buffer, and XDP in native mode is before that.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use xtask::netns::Namespace;

use super::frame::{self, Frame};
use super::helper::Helper;
use super::sender::{Limit, Sent, softirqs_of, time_of};
use crate::interrupt::Interrupt;

/// A running `live-flood`.
pub(super) struct Card {
    helper: Helper,
    softirqs: u32,
    // What the program has read from, which goes after it.
    _directory: TempDir,
}

impl Card {
    /// Starts `program` with `object`, to send from `cpu` out of an interface of a namespace.
    pub(super) fn start(
        interrupt: &Interrupt,
        (program, object): (&Path, &Path),
        (namespace, interface): (&Namespace, &str),
        pool: &[Frame],
        cpu: usize,
    ) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let file = directory.path().join("pool");
        fs::write(&file, pool.as_flattened()).context("cannot write frames")?;
        let mut command = Command::new(program);
        command.arg(object).arg(interface).arg(&file);
        command.args([frame::LENGTH, cpu].map(|number| number.to_string()));
        let mut helper = Helper::start(namespace, &mut command)?;
        helper
            .await_word(interrupt, "ready")
            .with_context(|| format!("cannot send live frames out of {interface}"))?;
        Ok(Self {
            helper,
            softirqs: softirqs_of(cpu)?,
            _directory: directory,
        })
    }

    /// Sends the frames of its pool round and round.
    pub(super) fn flood(&mut self, interrupt: &Interrupt, limit: Limit) -> Result<Sent> {
        let before = time_of(self.softirqs)?;
        let order = format!("{} {}", limit.packets, limit.time.as_millis());
        self.helper.tell(&order)?;
        let answer = self.helper.hear(interrupt)?;
        let mut sent = parse(&answer).with_context(|| format!("cannot read `{answer}`"))?;
        sent.cpu += time_of(self.softirqs)?.saturating_sub(before);
        Ok(sent)
    }
}

/// What `live-flood` answers: packets, and nanoseconds by the wall and of the CPU.
fn parse(answer: &str) -> Option<Sent> {
    let mut numbers = answer.split(' ').map(|word| word.parse().ok());
    let mut number = || numbers.next().flatten();
    Some(Sent {
        packets: number()?,
        wall: Duration::from_nanos(number()?),
        cpu: Duration::from_nanos(number()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_three_numbers() {
        let sent = parse("200000 40000000 39000000").unwrap();
        assert_eq!(sent.packets, 200_000);
        assert_eq!(sent.wall, Duration::from_millis(40));
        assert_eq!(sent.cpu, Duration::from_millis(39));
        assert!(parse("200000 40000000").is_none());
        assert!(parse("ready").is_none());
    }
}
