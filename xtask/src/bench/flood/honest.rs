//! An honest client that asks, and a server that answers, both over UDP and past the same filter as the flood.
//!
//! Questions come at a steady rate, whatever becomes of those before: what is told is how many of them are answered, and
//! how soon. What the server does not know as a question it reads and does not answer.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xtask::netns::Namespace;

use super::sender::pin;

/// Questions a second.
pub(super) const RATE: u32 = 2_000;

/// How long after the last question the client waits for answers.
const PATIENCE: Duration = Duration::from_millis(100);

/// How soon a thread that waits notices that it is to stop.
const GLANCE: Duration = Duration::from_millis(10);

/// What a question begins with; the flood's packets are of zeros.
const QUESTION: [u8; 8] = *b"question";

/// Bytes of a question and of its answer: the word, and a number.
const LENGTH: usize = QUESTION.len() + size_of::<u64>();

/// What the client got.
#[derive(Clone, Debug, Default)]
pub(super) struct Answered {
    pub(super) asked: u64,
    /// From each question that was answered to its answer.
    pub(super) after: Vec<Duration>,
}

/// A socket of UDP at an address of a namespace.
pub(super) fn socket(at: &Namespace, address: IpAddr) -> Result<UdpSocket> {
    let bound = at.run(|| UdpSocket::bind((address, 0)));
    let bound = bound.and_then(|bound| bound);
    bound.with_context(|| format!("cannot open {address} in namespace {}", at.name()))
}

/// Answers questions on a thread on `cpu` as long as `work` lasts.
pub(super) fn answering<T>(
    server: &UdpSocket,
    cpu: usize,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let stop = AtomicBool::new(false);
    server.set_nonblocking(false)?;
    server.set_read_timeout(Some(GLANCE))?;
    thread::scope(|scope| {
        let answerer = scope.spawn(|| -> Result<()> {
            pin(None, cpu)?;
            answer(server, &stop).context("the server failed")
        });
        let done = work();
        stop.store(true, Ordering::Release);
        let ended = answerer.join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        done
    })
}

fn answer(server: &UdpSocket, stop: &AtomicBool) -> io::Result<()> {
    let mut message = [0; LENGTH];
    while !stop.load(Ordering::Acquire) {
        match server.recv_from(&mut message) {
            Ok((LENGTH, from)) if message.starts_with(&QUESTION) => {
                server.send_to(&message, from)?;
            }
            Ok(_) => {}
            Err(error) if is_nothing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Asks `server` from `client` for a while, on a thread on `cpu`.
pub(super) fn ask(
    client: &UdpSocket,
    server: SocketAddr,
    time: Duration,
    cpu: usize,
) -> Result<Answered> {
    let on_cpu = || {
        pin(None, cpu)?;
        ask_here(client, server, time).context("the client failed")
    };
    let joined = thread::scope(|scope| scope.spawn(on_cpu).join());
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn ask_here(client: &UdpSocket, server: SocketAddr, time: Duration) -> io::Result<Answered> {
    // Answers to whoever asked before from this address.
    client.set_nonblocking(true)?;
    while client.recv(&mut [0; LENGTH]).is_ok() {}
    client.set_nonblocking(false)?;
    let (start, interval) = (Instant::now(), Duration::from_secs(1) / RATE);
    let mut asked: Vec<Instant> = Vec::new();
    let mut after = Vec::new();
    // Late questions are made up for, so the mean rate holds on a busy machine.
    let mut due = start;
    while due < start + time {
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            after.extend(hear(client, &asked, wait)?);
            continue;
        }
        let number = (asked.len() as u64).to_be_bytes();
        asked.push(Instant::now());
        client.send_to(&[QUESTION, number].concat(), server)?;
        due += interval;
    }
    let end = Instant::now() + PATIENCE;
    while after.len() < asked.len() && Instant::now() < end {
        after.extend(hear(client, &asked, GLANCE)?);
    }
    Ok(Answered {
        asked: asked.len() as u64,
        after,
    })
}

/// Waits so long for an answer; how long after its question it came.
fn hear(client: &UdpSocket, asked: &[Instant], wait: Duration) -> io::Result<Option<Duration>> {
    let mut message = [0; LENGTH];
    client.set_read_timeout(Some(wait))?;
    let length = match client.recv(&mut message) {
        Ok(length) => length,
        Err(error) if is_nothing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let number = message[..length].strip_prefix(&QUESTION);
    let number = number.and_then(|number| number.try_into().ok());
    let number = number.map(u64::from_be_bytes);
    let question = number.and_then(|number| asked.get(usize::try_from(number).ok()?));
    Ok(question.map(Instant::elapsed))
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::super::sender::cpus;
    use super::*;

    #[test]
    fn questions_are_answered_and_a_flood_is_not() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let flooder = UdpSocket::bind("127.0.0.1:0").unwrap();
        flooder.send_to(&[0; LENGTH], address).unwrap();
        // An answer to a client before this one.
        let late = [QUESTION, 0_u64.to_be_bytes()].concat();
        for _ in 0..200 {
            server.send_to(&late, client.local_addr().unwrap()).unwrap();
        }
        let (cpu, _) = cpus().unwrap();
        let answered = answering(&server, cpu, || {
            ask(&client, address, Duration::from_millis(50), cpu)
        });
        let answered = answered.unwrap();
        assert_eq!(answered.asked, 100, "{answered:?}");
        assert!(!answered.after.is_empty(), "{answered:?}");
        assert!(answered.after.len() <= 100, "{answered:?}");
        flooder.set_nonblocking(true).unwrap();
        let answer = flooder.recv(&mut [0; LENGTH]).map_err(|error| error.kind());
        assert_eq!(answer, Err(ErrorKind::WouldBlock));
    }
}
