//! Alerts that are read ahead: while one batch of lines is decided on, a thread reads the alerts of the next ones.
//!
//! Reading is a quarter of the work of a burst. Who finds nothing else waiting reads for himself, so that an alert that comes
//! alone waits for no thread. Batches come out in the order in which they came in.

use std::sync::mpsc as blocking;
use std::thread::available_parallelism;

use anyhow::Context as _;
use self_cell::self_cell;
use tokio::sync::mpsc;

use crate::alert::Alert;
use crate::source::Batch;

/// Batches that are with the thread at most: one that it reads, and one that it finds when it has done so.
const MOST: usize = 2;

/// Bytes of a batch from which on it is worth waking a thread.
const WORTH: u64 = 16 * 1024;

/// A line and the alert that it is; none if it is malformed, or has to be mended first.
type Line<'a> = (&'a [u8], Option<Alert<'a>>);

type Lines<'a> = Vec<Line<'a>>;

self_cell!(
    struct Cell {
        owner: Batch,
        #[covariant]
        dependent: Lines,
    }

    impl {Debug}
);

/// A batch and its alerts.
#[derive(Debug)]
pub(super) struct Read(Cell);

impl Read {
    fn new(batch: Batch) -> Self {
        Self(Cell::new(batch, |batch| {
            batch.cut.lines().map(line).collect()
        }))
    }

    pub(super) fn batch(&self) -> &Batch {
        self.0.borrow_owner()
    }

    pub(super) fn lines(&self) -> &[Line<'_>] {
        self.0.borrow_dependent()
    }
}

fn line(line: &[u8]) -> Line<'_> {
    (line, Alert::parse(line).ok())
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// Lines that nobody has read yet.
    Lines(Batch),
    /// Alerts.
    Read(Read),
}

/// Batches on their way from the source to where they are decided on.
pub(super) struct Ahead {
    batches: mpsc::Receiver<Batch>,
    /// What came from there and is not worth a thread.
    waiting: Option<Batch>,
    /// None where there is one processor.
    thread: Option<Thread>,
}

struct Thread {
    lines: blocking::Sender<Batch>,
    read: mpsc::UnboundedReceiver<Read>,
    /// Batches that are with it, or wait to be taken from it.
    with_it: usize,
}

impl Ahead {
    /// Takes batches from a source.
    pub(super) fn start(batches: mpsc::Receiver<Batch>) -> anyhow::Result<Self> {
        let thread = match available_parallelism() {
            Ok(processors) if processors.get() > 1 => Some(Thread::start()?),
            _ => None,
        };
        Ok(Self {
            batches,
            waiting: None,
            thread,
        })
    }

    /// Whether the source has to be let run, so that more can come from it.
    pub(super) fn wants_more(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.waiting.is_none() && !self.is_with_thread()
    }

    /// Waits for what comes next, and has what comes behind it read ahead. Nothing is lost when it is not waited for to the end.
    ///
    /// # Errors
    ///
    /// When the thread is gone, and the batches with it.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Next>> {
        if self.is_with_thread() {
            self.feed();
            let thread = self.thread.as_mut().context(GONE)?;
            let read = thread.read.recv().await.context(GONE)?;
            return Ok(Some(self.taken(read)));
        }
        let batch = match self.waiting.take() {
            Some(batch) => Some(batch),
            None => self.batches.recv().await,
        };
        self.feed();
        Ok(batch.map(Next::Lines))
    }

    /// What comes next, if it is there.
    ///
    /// # Errors
    ///
    /// As of [`Ahead::next`].
    pub(super) fn try_next(&mut self) -> anyhow::Result<Option<Next>> {
        if self.is_with_thread() {
            self.feed();
            let thread = self.thread.as_mut().context(GONE)?;
            return match thread.read.try_recv() {
                Ok(read) => Ok(Some(self.taken(read))),
                Err(mpsc::error::TryRecvError::Empty) => Ok(None),
                Err(mpsc::error::TryRecvError::Disconnected) => Err(anyhow::anyhow!(GONE)),
            };
        }
        let batch = self.waiting.take().or_else(|| self.batches.try_recv().ok());
        self.feed();
        Ok(batch.map(Next::Lines))
    }

    fn is_with_thread(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| thread.with_it > 0)
    }

    fn taken(&mut self, read: Read) -> Next {
        if let Some(thread) = &mut self.thread {
            thread.with_it -= 1;
        }
        self.feed();
        Next::Read(read)
    }

    /// Hands the thread what waits, as far as it has room and that is worth it.
    fn feed(&mut self) {
        let Some(thread) = &mut self.thread else {
            return;
        };
        while thread.with_it < MOST {
            let batch = self.waiting.take().or_else(|| self.batches.try_recv().ok());
            let Some(batch) = batch else {
                return;
            };
            if thread.with_it == 0 && batch.cut.bytes() < WORTH {
                self.waiting = Some(batch);
                return;
            }
            thread.with_it += 1;
            // A thread that is gone is noticed when its alerts are waited for.
            let _ = thread.lines.send(batch);
        }
    }
}

const GONE: &str = "the thread that reads alerts has ended";

impl Thread {
    fn start() -> anyhow::Result<Self> {
        let (lines, inbox) = blocking::channel();
        let (outbox, read) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("read-ahead".to_owned())
            .spawn(move || {
                for batch in inbox {
                    if outbox.send(Read::new(batch)).is_err() {
                        break;
                    }
                }
            })
            .context("cannot start a thread")?;
        Ok(Self {
            lines,
            read,
            with_it: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::runtime::Builder;
    use tokio::task::yield_now;

    use super::*;
    use crate::source::{Lines as Cutter, Position, QUEUE};

    /// A batch of numbered alerts.
    fn batch(from: usize, count: usize) -> Batch {
        let text: String = (from..from + count)
            .map(|number| format!("{{\"id\":\"{number}\"}}\n"))
            .collect();
        Batch {
            cut: Cutter::default().push(text.as_bytes()),
            position: Position::default(),
            backlog: false,
            may_repeat: false,
        }
    }

    /// The numbers of alerts, and whether a thread has read them.
    fn numbers(next: &Next) -> (Vec<usize>, bool) {
        let number = |alert: &Alert<'_>| alert.id.as_deref().and_then(|id| id.parse().ok());
        match next {
            Next::Lines(batch) => {
                let alerts = batch.cut.lines().map(|line| Alert::parse(line).unwrap());
                let numbers = alerts.map(|alert| number(&alert).unwrap());
                (numbers.collect(), false)
            }
            Next::Read(read) => {
                assert!(
                    read.batch()
                        .cut
                        .lines()
                        .eq(read.lines().iter().map(|it| it.0))
                );
                let alerts = read.lines().iter().filter_map(|it| it.1.as_ref());
                (alerts.map(|alert| number(alert).unwrap()).collect(), true)
            }
        }
    }

    /// Sends batches of so many alerts and takes them out, asking now and then without waiting; how many a thread has read.
    fn take_all(counts: &[usize], without_waiting: &[bool]) -> usize {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (sender, batches) = mpsc::channel(QUEUE);
            let mut ahead = Ahead {
                batches,
                waiting: None,
                // However many processors there are.
                thread: Some(Thread::start().unwrap()),
            };
            let counts = counts.to_vec();
            let all: usize = counts.iter().sum();
            let source = tokio::spawn(async move {
                let mut from = 0;
                for count in counts {
                    sender.send(batch(from, count)).await.unwrap();
                    from += count;
                }
            });
            let (mut seen, mut read) = (Vec::new(), 0);
            let mut without_waiting = without_waiting.iter().cycle();
            loop {
                let next = match without_waiting.next() {
                    Some(true) => {
                        yield_now().await;
                        match ahead.try_next().unwrap() {
                            None => continue,
                            next => next,
                        }
                    }
                    _ => ahead.next().await.unwrap(),
                };
                let Some(next) = next else { break };
                let (numbers, was_read) = numbers(&next);
                read += usize::from(was_read);
                seen.extend(numbers);
            }
            source.await.unwrap();
            assert!(ahead.is_empty());
            assert!(seen.into_iter().eq(0..all));
            read
        })
    }

    #[test]
    fn alerts_come_out_in_the_order_in_which_they_came_in() {
        let counts = prop_oneof![1_usize..4, 1500_usize..2000];
        let config = ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(64)
        };
        let strategy = (
            prop::collection::vec(counts, 0..20),
            prop::collection::vec(any::<bool>(), 1..5).prop_map(|mut them| {
                them.push(false);
                them
            }),
        );
        proptest!(config, |((counts, without_waiting) in strategy)| {
            take_all(&counts, &without_waiting);
        });
    }

    #[test]
    fn many_alerts_are_read_ahead_and_a_few_are_not() {
        assert_eq!(take_all(&[1; 20], &[false]), 0);
        // Not the first, for which nothing is waited for.
        assert!((1..20).contains(&take_all(&[2000; 20], &[false])));
    }

    #[test]
    fn a_thread_that_is_gone_is_told() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let (_sender, batches) = mpsc::channel(QUEUE);
        let (lines, _) = blocking::channel();
        let (_, read) = mpsc::unbounded_channel();
        let mut ahead = Ahead {
            batches,
            waiting: None,
            thread: Some(Thread {
                lines,
                read,
                with_it: 1,
            }),
        };
        assert!(ahead.try_next().is_err());
        assert!(runtime.block_on(ahead.next()).is_err());
    }
}
