//! An honest client that asks, and a server that answers, both over UDP and past the same filter as the flood.
//!
//! One question is out at a time, as a client does that waits for what it has asked for. What the server does not
//! know as a question it reads and does not answer.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xtask::netns::Namespace;

use super::sender::pin;

/// How long a client waits before it asks the next question.
const PATIENCE: Duration = Duration::from_millis(10);

/// What a question begins with; the flood's packets are of zeros.
const QUESTION: [u8; 8] = *b"question";

/// Bytes of a question and of its answer: the word, and a number.
const LENGTH: usize = QUESTION.len() + size_of::<u64>();

/// What the client got.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) asked: u64,
    pub(super) answered: u64,
    pub(super) wall: Duration,
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
    server.set_read_timeout(Some(PATIENCE))?;
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

/// Asks `server` from `client` one question after the other, on a thread on `cpu`.
pub(super) fn ask(
    client: &UdpSocket,
    server: SocketAddr,
    time: Duration,
    cpu: usize,
) -> Result<Answered> {
    let on_cpu = || {
        pin(None, cpu)?;
        ask_here(client, server, time)
    };
    let joined = thread::scope(|scope| scope.spawn(on_cpu).join());
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn ask_here(client: &UdpSocket, server: SocketAddr, time: Duration) -> Result<Answered> {
    client.set_read_timeout(Some(PATIENCE))?;
    let start = Instant::now();
    let (mut asked, mut answered) = (0_u64, 0);
    while start.elapsed() < time {
        let question = [QUESTION, asked.to_be_bytes()].concat();
        asked += 1;
        client
            .send_to(&question, server)
            .context("the client cannot ask")?;
        answered += u64::from(is_answered(client, &question).context("the client failed")?);
    }
    Ok(Answered {
        asked,
        answered,
        wall: start.elapsed(),
    })
}

/// Whether the answer to this question comes in time; those to earlier ones do not count.
fn is_answered(client: &UdpSocket, question: &[u8]) -> io::Result<bool> {
    let mut message = [0; LENGTH];
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match client.recv(&mut message) {
            Ok(length) if message[..length] == *question => return Ok(true),
            Ok(_) => {}
            Err(error) if is_nothing(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
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
        // An answer to another question does not count as one.
        let late = [QUESTION, u64::MAX.to_be_bytes()].concat();
        server.send_to(&late, client.local_addr().unwrap()).unwrap();
        let (cpu, _) = cpus().unwrap();
        let answered = answering(&server, cpu, || {
            ask(&client, address, Duration::from_millis(50), cpu)
        });
        let answered = answered.unwrap();
        assert!(answered.answered > 0, "{answered:?}");
        assert!(answered.answered <= answered.asked, "{answered:?}");
        flooder.set_nonblocking(true).unwrap();
        let answer = flooder.recv(&mut [0; LENGTH]).map_err(|error| error.kind());
        assert_eq!(answer, Err(ErrorKind::WouldBlock));
    }
}
