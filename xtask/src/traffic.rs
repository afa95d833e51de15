//! A steady sender of UDP datagrams and a receiver that counts them by source, in namespaces of a `Link`.
//!
//! Each datagram carries its number, so that the two sides can be compared. What is dropped on the way, and why,
//! is not known here.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::netns::Namespace;

/// How soon a receiver notices that it is to stop.
const STOP_LATENCY: Duration = Duration::from_millis(20);

/// Sends one datagram per interval until it is stopped or dropped.
pub struct Sender {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Sender {
    /// Begins to send from `source`, an address of the namespace `from`, to `target`.
    ///
    /// The first datagram has number 0. Late ones are made up for, so the mean rate holds on a busy machine.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be entered, or `source` is not one of its addresses.
    pub fn start(
        from: &Namespace,
        source: IpAddr,
        target: SocketAddr,
        interval: Duration,
    ) -> Result<Self> {
        let socket = open(from, source)?;
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let thread = thread::spawn({
            let (stop, sent) = (stop.clone(), sent.clone());
            move || send(&socket, target, interval, &stop, &sent)
        });
        Ok(Self {
            stop,
            sent,
            thread: Some(thread),
        })
    }

    /// How many datagrams have been sent: the number of the next one.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Stops, and returns how many datagrams were sent in all.
    ///
    /// # Errors
    ///
    /// When sending failed: nothing was sent from then on.
    pub fn stop(mut self) -> Result<u64> {
        self.finish().context("cannot send")?;
        Ok(self.sent())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread.thread().unpark();
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // Whoever wants to know about failures calls `stop`.
        let _ = self.finish();
    }
}

fn send(
    socket: &UdpSocket,
    target: SocketAddr,
    interval: Duration,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> io::Result<()> {
    let mut due = Instant::now();
    while !stop.load(Ordering::Acquire) {
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            thread::park_timeout(wait);
            continue;
        }
        let number = sent.load(Ordering::Relaxed);
        match socket.send_to(&number.to_be_bytes(), target) {
            Ok(_) => sent.store(number + 1, Ordering::Release),
            // What the other side answered to an earlier datagram, which was sent all the same.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
        due += interval;
    }
    Ok(())
}

/// What has come from one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrivals {
    /// Datagrams.
    pub count: u64,
    /// The number that the latest one carried.
    pub last_number: u64,
    /// When the latest one was read.
    pub last_at: Instant,
}

/// Counts datagrams by source until it is dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    counts: Mutex<BTreeMap<IpAddr, Arrivals>>,
    changed: Condvar,
}

impl Receiver {
    /// Begins to receive at `address` of the namespace `at`, on a free port.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be entered, or `address` is not one of its own.
    pub fn start(at: &Namespace, address: IpAddr) -> Result<Self> {
        let socket = open(at, address)?;
        socket.set_read_timeout(Some(STOP_LATENCY))?;
        let address = socket.local_addr()?;
        let shared = Arc::<Shared>::default();
        let thread = thread::spawn({
            let shared = shared.clone();
            move || shared.receive(&socket)
        });
        Ok(Self {
            address,
            shared,
            thread: Some(thread),
        })
    }

    /// Where to send to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come from `source`; `None` when nothing has.
    #[must_use]
    pub fn from(&self, source: IpAddr) -> Option<Arrivals> {
        self.shared.lock().get(&source).copied()
    }

    /// Waits until `condition` holds for what has come from `source`, for `limit` at most; whether it does.
    ///
    /// It is asked once at the start, and again after each datagram from anywhere.
    #[must_use]
    pub fn wait_until(
        &self,
        source: IpAddr,
        limit: Duration,
        mut condition: impl FnMut(Option<Arrivals>) -> bool,
    ) -> bool {
        let counts = self.shared.lock();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(counts, limit, |counts| {
                !condition(counts.get(&source).copied())
            });
        let (counts, result) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(counts);
        !result.timed_out()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It has nothing to report but a panic, which has been printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn receive(&self, socket: &UdpSocket) {
        let mut number = [0; 8];
        while !self.stop.load(Ordering::Acquire) {
            // A timeout, or an answer to a datagram of somebody else: there is nothing to count.
            let Ok((_, source)) = socket.recv_from(&mut number) else {
                continue;
            };
            let mut counts = self.lock();
            let before = counts
                .get(&source.ip())
                .map_or(0, |arrivals| arrivals.count);
            let arrivals = Arrivals {
                count: before + 1,
                last_number: u64::from_be_bytes(number),
                last_at: Instant::now(),
            };
            counts.insert(source.ip(), arrivals);
            drop(counts);
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Arrivals>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(namespace: &Namespace, address: IpAddr) -> Result<UdpSocket> {
    let socket = namespace.run(|| UdpSocket::bind((address, 0)));
    socket
        .and_then(|bound| bound)
        .with_context(|| format!("cannot open {address} in namespace {}", namespace.name()))
}
