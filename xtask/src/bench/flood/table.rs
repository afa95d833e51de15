//! What the rounds come to: rates, times a packet, and what is over the cost of sending.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::candidate::Candidate;
use super::honest::RATE;
use super::lane::Competed;
use super::sender::Sent;
use crate::bench::figures::{Times, micros};

/// Rounds of one in the first measurement.
pub(super) struct Cost {
    label: &'static str,
    bans: u16,
    rounds: Vec<(Sent, u64)>,
}

/// Rounds of one in the second measurement.
pub(super) struct Compared {
    label: &'static str,
    rounds: Vec<Competed>,
}

impl Cost {
    pub(super) fn new(label: &'static str, bans: u16) -> Self {
        Self {
            label,
            bans,
            rounds: Vec::new(),
        }
    }

    /// One more round, and how many of its packets there was no room for.
    pub(super) fn add(&mut self, sent: Sent, lost: u64) {
        self.rounds.push((sent, lost));
    }

    /// Packets a second that were received, of each round.
    fn rates(&self) -> Vec<f64> {
        let rounds = self.rounds.iter();
        rounds
            .map(|(sent, lost)| rate(sent.packets.saturating_sub(*lost), sent.wall))
            .collect()
    }

    /// Nanoseconds of CPU time a packet, of each round.
    fn whole(&self) -> Vec<f64> {
        let rounds = self.rounds.iter();
        rounds
            .map(|(sent, _)| nanos_each(sent.cpu, sent.packets))
            .collect()
    }

    /// The same for a packet that is received, without sending: less what sending took in the same round.
    fn received(&self, sending: &Self) -> Vec<f64> {
        let rounds = self.rounds.iter().zip(sending.whole());
        rounds
            .map(|((sent, lost), each)| {
                let whole = sent.cpu.as_secs_f64() * 1e9 - each * count(sent.packets);
                whole / count(sent.packets.saturating_sub(*lost))
            })
            .collect()
    }

    fn lost(&self) -> f64 {
        let lost: u64 = self.rounds.iter().map(|(_, lost)| lost).sum();
        let sent: u64 = self.rounds.iter().map(|(sent, _)| sent.packets).sum();
        count(lost) / count(sent)
    }
}

impl Compared {
    pub(super) fn new(label: &'static str) -> Self {
        Self {
            label,
            rounds: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, round: Competed) {
        self.rounds.push(round);
    }

    fn each(&self, of: impl Fn(&Competed) -> f64) -> f64 {
        median(&self.rounds.iter().map(of).collect::<Vec<_>>())
    }

    /// Share of the questions that are answered, of all rounds.
    fn answered(&self) -> f64 {
        let answered = |round: &Competed| round.answered.after.len() as u64;
        let answered: u64 = self.rounds.iter().map(answered).sum();
        let asked: u64 = self.rounds.iter().map(|round| round.answered.asked).sum();
        count(answered) / count(asked)
    }

    /// From a question to its answer, of all rounds; `None` when none was answered.
    fn after(&self) -> Option<Times> {
        let after = self.rounds.iter().flat_map(|round| &round.answered.after);
        Times::new(after.copied().collect())
    }
}

/// A table of the first measurement.
pub(super) fn costs(head: &str, costs: &[Cost]) -> String {
    let mut table = format!(
        "  {head:<32}   packets/s: best     median   CPU ns a packet   received: median    least   times ours\n"
    );
    let Some(sending) = costs.first() else {
        return table;
    };
    let ours = costs
        .iter()
        .find(|cost| cost.label == Candidate::Native.label());
    let ours = ours.map(|ours| median(&ours.received(sending)));
    for cost in costs {
        let (rates, received) = (cost.rates(), cost.received(sending));
        // Writing to a string does not fail.
        let _ = write!(
            table,
            "  {:<32} {:>17.0} {:>10.0} {:>17.0}",
            cost.label,
            greatest(&rates),
            median(&rates),
            median(&cost.whole()),
        );
        if !std::ptr::eq(cost, sending) {
            let ratio = ours.map_or("-".to_owned(), |ours| {
                format!("{:.2}", median(&received) / ours)
            });
            let _ = write!(
                table,
                " {:>18.0} {:>8.0} {ratio:>12}",
                median(&received),
                least(&received)
            );
        }
        if cost.lost() > 0.0 {
            let _ = write!(table, "   no room for {:.1}%", cost.lost() * 100.0);
        }
        table.push('\n');
    }
    table
}

/// The table of the second measurement.
pub(super) fn compared(compared: &[Compared]) -> String {
    let mut table = format!(
        "  another CPU receives and serves    flood, offered/s   received/s   ns a packet   of {RATE} questions/s answered   after us: median      p99\n"
    );
    for one in compared {
        let after = one.after();
        let after = |percent| {
            let times = after.as_ref();
            times.map_or(f64::NAN, |times| micros(times.percentile(percent)))
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            table,
            "  {:<32} {:>18.0} {:>12.0} {:>13.0} {:>29.1}% {:>18.0} {:>8.0}",
            one.label,
            one.each(|round| rate(round.offered, round.wall)),
            one.each(received_rate),
            one.each(|round| nanos_each(round.receiver, received(round))),
            one.answered() * 100.0,
            after(50),
            after(99),
        );
    }
    table
}

/// All rounds of the first measurement.
pub(super) fn costs_json(costs: &[Cost]) -> Value {
    let all = costs.iter().map(|cost| {
        let received = costs.first().map(|sending| cost.received(sending));
        json!({
            "what": cost.label,
            "bans": cost.bans,
            "packets_per_second": cost.rates(),
            "cpu_ns_a_packet": cost.whole(),
            "received_ns_a_packet": received,
            "share_without_room": cost.lost(),
        })
    });
    all.collect()
}

/// All rounds of the second measurement.
pub(super) fn compared_json(compared: &[Compared]) -> Value {
    let all = compared.iter().map(|one| {
        let rounds = one.rounds.iter().map(|round| {
            json!({
                "offered_per_second": rate(round.offered, round.wall),
                "received_per_second": received_rate(round),
                "receiver_ns_a_packet": nanos_each(round.receiver, received(round)),
                "asked": round.answered.asked,
                "answered": round.answered.after.len(),
            })
        });
        json!({
            "what": one.label,
            "rounds": rounds.collect::<Vec<_>>(),
            "answered_after": one.after().map(|times| times.json()),
        })
    });
    all.collect()
}

/// Packets that came to the filter, of the flood and of the client.
fn received(round: &Competed) -> u64 {
    (round.offered + round.answered.asked).saturating_sub(round.lost)
}

fn received_rate(round: &Competed) -> f64 {
    rate(received(round), round.wall)
}

fn rate(packets: u64, wall: Duration) -> f64 {
    count(packets) / wall.as_secs_f64()
}

fn nanos_each(time: Duration, packets: u64) -> f64 {
    time.as_secs_f64() * 1e9 / count(packets)
}

/// For a quotient; nobody counts the last packets.
#[expect(
    clippy::cast_precision_loss,
    reason = "there are fewer packets than 2^52"
)]
fn count(packets: u64) -> f64 {
    packets as f64
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn greatest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The middle one, or the lower of the two; nothing has none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len().saturating_sub(1) / 2;
    sorted.get(middle).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::super::honest::Answered;
    use super::*;

    fn sent(packets: u64, wall_ms: u64, cpu_ms: u64) -> Sent {
        Sent {
            packets,
            wall: Duration::from_millis(wall_ms),
            cpu: Duration::from_millis(cpu_ms),
        }
    }

    fn near(found: &[f64], expected: &[f64]) {
        let close = found.len() == expected.len()
            && found
                .iter()
                .zip(expected)
                .all(|(one, other)| (one - other).abs() < 1e-6);
        assert!(close, "{found:?}, expected {expected:?}");
    }

    #[test]
    fn what_receiving_costs_is_over_sending_in_the_same_round() {
        let mut sending = Cost::new("sending alone", 0);
        sending.add(sent(1_000_000, 500, 400), 0);
        sending.add(sent(1_000_000, 900, 800), 0);
        let mut cost = Cost::new("one", 10_000);
        cost.add(sent(1_000_000, 1_000, 1_000), 0);
        // Half of them found no room: those who did took what is over sending all.
        cost.add(sent(1_000_000, 1_000, 1_000), 500_000);
        near(&cost.whole(), &[1_000.0, 1_000.0]);
        near(&cost.received(&sending), &[600.0, 400.0]);
        near(&cost.rates(), &[1_000_000.0, 500_000.0]);
        near(&[cost.lost()], &[0.25]);
    }

    #[test]
    fn ratios_are_to_ours_in_native_mode() {
        let mut sending = Cost::new("sending alone", 0);
        let mut native = Cost::new(Candidate::Native.label(), 10_000);
        let mut other = Cost::new(Candidate::NftRaw.label(), 10_000);
        sending.add(sent(1_000_000, 1_000, 500), 0);
        native.add(sent(1_000_000, 1_000, 700), 0);
        other.add(sent(1_000_000, 1_000, 1_000), 0);
        let table = costs("sent somehow", &[sending, native, other]);
        let last = |label: &str| {
            let row = table.lines().find(|row| row.contains(label)).unwrap();
            row.split_whitespace().last().unwrap().to_owned()
        };
        assert_eq!(last(Candidate::Native.label()), "1.00");
        assert_eq!(last(Candidate::NftRaw.label()), "2.50");
        // Without ours there is nothing to compare with.
        let mut sending = Cost::new("sending alone", 0);
        sending.add(sent(1_000_000, 1_000, 500), 0);
        let mut other = Cost::new(Candidate::Ipset.label(), 10_000);
        other.add(sent(1_000_000, 1_000, 1_000), 0);
        let alone = costs("sent somehow", &[sending, other]);
        assert!(alone.ends_with(" -\n"), "{alone}");
        // Sending has nothing over itself.
        assert_eq!(last("sending alone"), "500");
    }

    #[test]
    fn the_median_is_a_value_that_was_measured() {
        near(&[median(&[5.0, 1.0, 3.0])], &[3.0]);
        near(&[median(&[4.0, 1.0, 3.0, 2.0])], &[2.0]);
        assert!(median(&[]).is_nan());
        near(&[least(&[2.0, 1.0]), greatest(&[2.0, 3.0])], &[1.0, 3.0]);
    }

    #[test]
    fn what_comes_to_the_filter_is_the_flood_and_the_client_less_what_found_no_room() {
        let round = Competed {
            answered: Answered {
                asked: 100,
                after: vec![Duration::from_micros(70); 25],
            },
            offered: 1_000,
            lost: 300,
            wall: Duration::from_millis(500),
            receiver: Duration::from_micros(400),
        };
        assert_eq!(received(&round), 800);
        near(&[received_rate(&round)], &[1_600.0]);
        near(&[nanos_each(round.receiver, received(&round))], &[500.0]);
        let mut compared = Compared::new("one");
        compared.add(round.clone());
        near(&[compared.answered()], &[0.25]);
        let median = compared.after().unwrap().median();
        assert_eq!(median, Duration::from_micros(70));
    }
}
