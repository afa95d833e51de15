//! Ends what an executable has left behind, also what left its group or became a daemon.
//!
//! arfw is the reaper of its descendants: a process whose parent has ended becomes a child of arfw's. A child
//! that is no run, stands in no group of a run, and is not in arfw's own group either, is such a stray.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpgrp, kill_process, waitid, waitpid,
};

/// A stray that forks faster than it is killed is left after this many rounds, for the next sweep.
const ROUNDS: usize = 100;

/// Time in which a killed process ends.
const ROUND: Duration = Duration::from_millis(2);

/// Asks the kernel to hand descendants over. Without it only groups are killed.
pub(super) fn adopt_descendants() {
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        tracing::warn!("cannot become the reaper of executables' children: {error}");
    }
}

/// Kills and reaps strays. `live` tells the processes of the runs that go on, each the leader of its group.
pub(super) async fn sweep(live: impl Fn() -> BTreeSet<i32>) {
    for _ in 0..ROUNDS {
        // Nothing is awaited from here to the end of the round: a child that has not been waited for
        // keeps its number, so that no other process can be meant.
        let live = live();
        if !sweep_once(&live) {
            return;
        }
        tokio::time::sleep(ROUND).await;
    }
    tracing::error!("an executable's children do not end");
}

/// Whether there was anything to do.
fn sweep_once(live: &BTreeSet<i32>) -> bool {
    let any = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if waitid(WaitId::All, any).is_err() {
        // There is no child at all.
        return false;
    }
    let own_group = getpgrp().as_raw_nonzero().get();
    let is_stray = |process: &Process| {
        let goes_on = live.contains(&process.group) && !process.is_dead;
        process.group != own_group && !goes_on && !live.contains(&process.pid)
    };
    let strays: Vec<Process> = children().into_iter().filter(is_stray).collect();
    for pid in strays.iter().filter_map(|stray| Pid::from_raw(stray.pid)) {
        // It may have ended since.
        let _ = kill_process(pid, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
    !strays.is_empty()
}

#[derive(Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    is_dead: bool,
}

fn children() -> Vec<Process> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let pids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let stats = pids.filter_map(|pid| fs::read(format!("/proc/{pid}/stat")).ok());
    let processes = stats.filter_map(|stat| parse(&String::from_utf8_lossy(&stat)));
    processes.filter(|process| process.parent == own).collect()
}

/// Reads `PID (NAME) STATE PARENT GROUP ...`; a name may have anything in it.
fn parse(stat: &str) -> Option<Process> {
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    Some(Process {
        pid,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
        is_dead,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pass_for_other_fields() {
        let expected = Process {
            pid: 7,
            parent: 1,
            group: 5,
            is_dead: false,
        };
        assert_eq!(parse("7 (a) Z 9 9) S 1 5 5 0"), Some(expected));
        assert_eq!(parse("7 (a"), None);
    }
}
