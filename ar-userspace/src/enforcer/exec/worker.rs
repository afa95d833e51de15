//! The thread that executables are started from and listened to, so that none of it delays a ban in the kernel.
//!
//! How many run at once is bounded by whoever hands in jobs.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::place::Place;
use super::wire::{Call, Verb, Wire};
use super::{Report, RunId, orphans, process};
use crate::responses_log::Lines;

/// What every run needs.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) place: Place,
    pub(super) limit: Duration,
    pub(super) wire: Wire,
    /// Name of this host.
    pub(super) node: String,
    pub(super) responses: Option<Lines>,
    live: Mutex<BTreeSet<i32>>,
}

/// One run to make.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) run: RunId,
    /// `Add` or `Delete`.
    pub(super) verb: Verb,
    pub(super) call: Arc<Call>,
}

/// The thread.
#[derive(Debug)]
pub(super) struct Worker {
    /// Holds no more jobs than run at once.
    jobs: Option<mpsc::UnboundedSender<Job>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Shop {
    pub(super) fn new(
        place: Place,
        limit: Duration,
        wire: Wire,
        node: String,
        responses: Option<Lines>,
    ) -> Self {
        Self {
            place,
            limit,
            wire,
            node,
            responses,
            live: Mutex::default(),
        }
    }

    /// The processes of runs that have not been waited for.
    pub(super) fn live(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Starts the thread.
    pub(super) fn start(shop: Arc<Shop>, reports: mpsc::Sender<Report>) -> io::Result<Self> {
        orphans::adopt_descendants();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (jobs, inbox) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("executables".to_owned())
            .spawn(move || runtime.block_on(work(inbox, &shop, &stopped, &reports)))?;
        Ok(Self {
            jobs: Some(jobs),
            stop,
            thread: Some(thread),
        })
    }

    /// Begins a run.
    pub(super) fn begin(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only after this sender.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Worker {
    /// Kills what still runs and waits for it.
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn work(
    mut inbox: mpsc::UnboundedReceiver<Job>,
    shop: &Arc<Shop>,
    stopped: &watch::Receiver<bool>,
    reports: &mpsc::Sender<Report>,
) {
    let mut runs = JoinSet::new();
    loop {
        tokio::select! {
            job = inbox.recv() => match job {
                Some(job) => {
                    runs.spawn(process::run(job, Arc::clone(shop), stopped.clone(), reports.clone()));
                }
                None => break,
            },
            Some(_) = runs.join_next() => {}
        }
    }
    while runs.join_next().await.is_some() {}
}
