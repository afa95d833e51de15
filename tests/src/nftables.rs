//! The nftables enforcer without a daemon, on the real kernel in a namespace of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use arfw::clock;
use arfw::enforcer::nftables::{Nftables, Settings, inspect, release};
use arfw::enforcer::{Enforced, Enforcer as _, Hold};
use arfw::ledger::Standing;
use arfw::offender::{Offender, Prefix};
use arfw::time::Expiry;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tests::support::daemon::PATIENCE;
use xtask::netns::Link;

const TABLE: &str = "arfw";

/// Runs `work` in a namespace that has no table yet.
fn in_namespace(work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    Link::new()?.host.run(work)?
}

fn start(max_bans: u32) -> Result<(Nftables, Vec<Enforced>)> {
    let settings = Settings {
        table: TABLE.to_owned(),
        max_bans,
        interfaces: Vec::new(),
    };
    Nftables::start(&settings, clock::kernel_clock)
}

fn nft(arguments: &[&str]) -> Result<String> {
    let output = Command::new("nft").args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "nft {arguments:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

/// A ban for so many seconds from now; permanent without a number.
fn ban(offender: Offender, seconds: Option<u64>, rule_id: u32) -> Hold {
    let since = clock::now();
    let until = seconds.map_or(Expiry::Never, |seconds| {
        Expiry::At(since.after(Duration::from_secs(seconds)))
    });
    Hold {
        offender,
        standing: Some(Standing {
            until,
            since,
            rule_id,
            shadow: false,
        }),
    }
}

fn host(number: u32) -> Offender {
    Offender::new(Ipv4Addr::from_bits(0xcb00_0000 + number).into())
}

fn hold(nftables: &mut Nftables, wanted: &[Hold]) -> Vec<(usize, String)> {
    let failures = nftables.hold(wanted, clock::kernel_clock());
    failures
        .into_iter()
        .map(|failure| (failure.place, failure.cause))
        .collect()
}

/// Those that stand, and by which rule.
fn standing(nftables: &Nftables) -> Result<BTreeMap<Offender, u32>> {
    let enforced = nftables.enforced(clock::kernel_clock())?;
    Ok(enforced
        .iter()
        .map(|ban| (ban.offender, ban.standing.rule_id))
        .collect())
}

/// More than one transaction holds, and of families and networks mixed.
#[test]
fn ten_thousand_bans_are_held_moved_and_ended() -> Result<()> {
    in_namespace(|| {
        let (mut nftables, _) = start(20_000)?;
        let bans = |rule| -> Vec<Hold> {
            (0..10_000)
                .map(|number| ban(host(number), Some(600), rule))
                .collect()
        };
        for rule in [1, 2] {
            ensure!(hold(&mut nftables, &bans(rule)).is_empty());
            let standing = standing(&nftables)?;
            ensure!(
                standing.len() == 10_000 && standing.values().all(|&found| found == rule),
                "{} stand",
                standing.len()
            );
        }
        let mut free = bans(0);
        free.iter_mut().for_each(|hold| hold.standing = None);
        ensure!(hold(&mut nftables, &free).is_empty());
        ensure!(standing(&nftables)?.is_empty());
        Ok(())
    })
}

/// Those for which there is no room fail by themselves; the others of the batch hold.
#[test]
fn a_full_set_refuses_what_is_too_much_and_holds_the_rest() -> Result<()> {
    in_namespace(|| {
        let (mut nftables, _) = start(2)?;
        ensure!(nftables.room() == (2, 2), "{:?}", nftables.room());
        // Twice the room, since elements stay for a moment after their end.
        let wanted: Vec<Hold> = (0..6).map(|n| ban(host(n), Some(600), 1)).collect();
        let failures = hold(&mut nftables, &wanted);
        let full: Vec<(usize, String)> = [4, 5]
            .into_iter()
            .zip([host(4), host(5)])
            .map(|(place, who)| {
                (
                    place,
                    format!("cannot write the ban of {who}: the set is full"),
                )
            })
            .collect();
        ensure!(failures == full, "{failures:?}");
        ensure!(standing(&nftables)?.len() == 4);
        Ok(())
    })
}

#[test]
fn the_last_word_about_an_offender_holds_within_a_batch() -> Result<()> {
    in_namespace(|| {
        let (mut nftables, _) = start(10)?;
        let free = Hold {
            offender: host(1),
            standing: None,
        };
        let wanted = [
            ban(host(1), Some(600), 1),
            ban(host(2), Some(600), 2),
            free,
            ban(host(2), None, 3),
            free,
        ];
        ensure!(hold(&mut nftables, &wanted).is_empty());
        ensure!(standing(&nftables)? == BTreeMap::from([(host(2), 3)]));
        let found = nftables.enforced(clock::kernel_clock())?;
        ensure!(found[0].standing.until == Expiry::Never, "{found:?}");
        Ok(())
    })
}

/// AR-TIME-1: the kernel counts in jiffies, and cuts.
#[test]
fn the_kernel_never_ends_a_ban_before_its_end() -> Result<()> {
    in_namespace(|| {
        let (mut nftables, _) = start(1_000)?;
        let since = clock::now();
        let mut waits = BTreeMap::new();
        for number in 0..200 {
            // Each is written at another point within a jiffy.
            let until =
                clock::now().after(Duration::from_micros(300_000 + u64::from(number) * 370));
            let standing = Standing {
                until: Expiry::At(until),
                since,
                rule_id: 1,
                shadow: false,
            };
            let wanted = Hold {
                offender: host(number),
                standing: Some(standing),
            };
            ensure!(hold(&mut nftables, &[wanted]).is_empty());
            waits.insert(host(number), until);
        }
        while !waits.is_empty() {
            let there = standing(&nftables)?;
            let looked_at = clock::now();
            let mut early = None;
            waits.retain(|offender, until| {
                let is_there = there.contains_key(offender);
                if !is_there && *until > looked_at {
                    early = Some(until.since(looked_at));
                }
                is_there
            });
            ensure!(early.is_none(), "over {early:?} too early");
            ensure!(looked_at.since(since) < PATIENCE, "{waits:?} do not end");
        }
        Ok(())
    })
}

/// What an operator adds with `nft` is a ban like others, and is ended like them.
#[test]
fn elements_that_somebody_else_added_are_found_and_ended() -> Result<()> {
    in_namespace(|| {
        drop(start(10)?);
        nft(&[
            "add",
            "element",
            "inet",
            TABLE,
            "bans_v4",
            "{ 203.0.0.1 timeout 1h, 203.0.0.2 }",
        ])?;
        let inspected = inspect(TABLE, clock::kernel_clock())?.context("the table is there")?;
        let (mut nftables, found) = start(10)?;
        ensure!(found.len() == 2 && inspected.len() == 2, "{found:?}");
        ensure!(found[0].offender == host(1) && found[1].offender == host(2));
        let left = found[0].standing.until.left(clock::now());
        let hour = Duration::from_secs(3600);
        ensure!(
            left.is_some_and(|left| left <= hour && left > hour - Duration::from_secs(60)),
            "{left:?}"
        );
        ensure!(found[1].standing.until == Expiry::Never);
        let free = [host(1), host(2)].map(|offender| Hold {
            offender,
            standing: None,
        });
        ensure!(hold(&mut nftables, &free).is_empty());
        ensure!(standing(&nftables)?.is_empty());
        Ok(())
    })
}

#[test]
fn a_table_of_the_name_that_is_made_otherwise_is_refused_and_left() -> Result<()> {
    in_namespace(|| {
        let file = tempfile::NamedTempFile::new()?;
        let other =
            "table inet arfw { chain prerouting { type filter hook prerouting priority 0; }; }";
        std::fs::write(file.path(), other)?;
        nft(&["-f", &file.path().display().to_string()])?;
        let before = nft(&["list", "ruleset"])?;
        let Err(error) = start(10) else {
            anyhow::bail!("expected a refusal");
        };
        let said = format!("{error:#}");
        ensure!(
            said.starts_with("cannot use the nftables table `inet arfw`: cannot make the chain"),
            "{said}"
        );
        release(TABLE)?;
        ensure!(nft(&["list", "ruleset"])? == before);
        Ok(())
    })
}

#[test]
fn a_release_without_a_table_does_nothing() -> Result<()> {
    in_namespace(|| {
        release(TABLE)?;
        ensure!(inspect(TABLE, clock::kernel_clock())?.is_none());
        drop(start(10)?);
        release(TABLE)?;
        release(TABLE)?;
        ensure!(nft(&["list", "ruleset"])?.is_empty());
        Ok(())
    })
}

/// Offenders of few networks, so that they meet.
fn offenders() -> impl Strategy<Value = Offender> {
    let v4 = (0..8_u32, 24..=32_u8).prop_map(|(number, bits)| {
        let addr = IpAddr::from(Ipv4Addr::from_bits(0xcb00_7100 + number * 16));
        (addr, bits)
    });
    let v6 = (0..4_u16, 44..=50_u8).prop_map(|(number, bits)| {
        let addr = Ipv6Addr::new(0x2001, 0xdb8, number, number << 14, 0, 0, 0, number);
        (IpAddr::from(addr), bits)
    });
    let full = v6.clone().prop_map(|(addr, _)| (addr, 128));
    prop_oneof![v4, v6, full]
        .prop_filter_map("a network", |(addr, bits)| Prefix::new(addr, bits))
        .prop_map(Offender::network)
}

/// Whatever is held in whatever batches: it stands with its end and its rule, and nothing else does, also after a start.
#[test]
fn any_bans_that_overlap_stand_each_with_its_own_end() -> Result<()> {
    let seconds = prop_oneof![Just(None), (60..6_000_u64).prop_map(Some)];
    let wanted = (offenders(), any::<bool>(), seconds, any::<u32>());
    let batches =
        prop::collection::vec((prop::collection::vec(wanted, 1..12), any::<bool>()), 1..8);
    let config = Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };
    in_namespace(|| {
        let mut runner = TestRunner::new(config);
        let ran = runner.run(&batches, |batches| {
            let ran = || -> Result<()> {
                release(TABLE)?;
                let (mut nftables, _) = start(1_000)?;
                let mut model: BTreeMap<Offender, Standing> = BTreeMap::new();
                for (batch, restarts) in &batches {
                    let mut wanted = Vec::new();
                    for &(offender, is_banned, seconds, rule_id) in batch {
                        let mut hold = ban(offender, seconds, rule_id);
                        if !is_banned {
                            hold.standing = None;
                        }
                        wanted.push(hold);
                        match hold.standing {
                            Some(standing) => {
                                // A ban that goes on began when it began.
                                let since =
                                    model.get(&offender).map_or(standing.since, |old| old.since);
                                model.insert(offender, Standing { since, ..standing });
                            }
                            None => drop(model.remove(&offender)),
                        }
                    }
                    let failures = hold(&mut nftables, &wanted);
                    ensure!(failures.is_empty(), "{failures:?}");
                    let mut found = nftables.enforced(clock::kernel_clock())?;
                    if *restarts {
                        drop(nftables);
                        (nftables, found) = start(1_000)?;
                    }
                    ensure!(found.len() == model.len(), "{found:?} for {model:?}");
                    for ban in found {
                        let wanted = model.get(&ban.offender).context("nobody wants it")?;
                        let same = Standing {
                            until: wanted.until,
                            ..ban.standing
                        };
                        ensure!(same == *wanted, "{ban:?} for {wanted:?}");
                        is_same_end(ban.standing.until, wanted.until, nftables.grain())?;
                    }
                }
                Ok(())
            };
            ran().map_err(|error| TestCaseError::fail(format!("{error:#}")))
        });
        Ok(ran?)
    })
}

fn is_same_end(found: Expiry, wanted: Expiry, grain: Duration) -> Result<()> {
    let same = match (found, wanted) {
        (Expiry::At(found), Expiry::At(wanted)) => {
            found.since(wanted) <= grain && wanted.since(found) <= grain
        }
        _ => found == wanted,
    };
    ensure!(same, "{found:?} for {wanted:?}");
    Ok(())
}
