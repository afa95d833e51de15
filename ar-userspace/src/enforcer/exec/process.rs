//! One executable, from its start to its end: the conversation of AR-WIRE-3, the time limit, what it leaves behind.
//!
//! No shell, no inherited environment, a process group of its own. Decides nothing about bans: it asks.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::orphans;
use super::wire::{Call, Said, Verb, Wire};
use super::worker::{Job, Shop};
use super::{Ending, Report};

/// The whole environment of an executable.
const ENVIRONMENT: [(&str, &str); 2] = [
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("LANG", "C.UTF-8"),
];

/// Bytes of an executable's output that are kept, of each stream; the rest is read and dropped.
const KEPT: usize = 64 * 1024;

/// Bytes of what it said that are told in a message.
const TOLD: usize = 200;

/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// Time for reading what an executable that has ended has left in a pipe.
const REST: Duration = Duration::from_millis(20);

/// Runs a job to its end and reports it.
pub(super) async fn run(
    job: Job,
    shop: Arc<Shop>,
    stop: watch::Receiver<bool>,
    reports: mpsc::Sender<Report>,
) {
    let log = |text: String| shop.log(&job.call, vec![text]);
    let ending = match perform(&job, &shop, stop, &reports).await {
        Ok(ending) => ending,
        Err(cause) => Ending::Failed {
            cause,
            may_have_acted: false,
        },
    };
    match &ending {
        Ending::Acted | Ending::Stateless => log("Ended".to_owned()),
        Ending::Aborted => log("Aborted".to_owned()),
        Ending::Failed { cause, .. } => log(format!("Failed: {cause}")),
    }
    // The daemon may be gone; then nobody wants to know.
    let _ = reports
        .send(Report::Ended {
            run: job.run,
            ending,
        })
        .await;
}

async fn perform(
    job: &Job,
    shop: &Shop,
    mut stop: watch::Receiver<bool>,
    reports: &mpsc::Sender<Report>,
) -> Result<Ending, String> {
    shop.place
        .check(&job.call.program)
        .map_err(|unfit| unfit.to_string())?;
    let mut process = Process::start(job, shop)?;
    let talked = tokio::select! {
        talked = timeout(shop.limit, process.talk(job, shop, reports)) => {
            talked.map_err(|_| format!("did not end within {:?}", shop.limit))
        }
        _ = stop.wait_for(|stop| *stop) => Err("the daemon stops".to_owned()),
    };
    let status = match talked {
        Ok(status) => status.map_err(|error| format!("cannot be waited for: {error}")),
        Err(cause) => {
            process.kill().await;
            Err(format!("{cause}, and was killed"))
        }
    };
    shop.live().remove(&process.pid);
    orphans::sweep(|| shop.live().clone()).await;
    let said = process.errors.rest().await;
    let failed = |cause: String| Ending::Failed {
        cause,
        may_have_acted: process.told == Some(Verb::Continue) || shop.wire == Wire::Ossec,
    };
    Ok(match status {
        Err(cause) => failed(cause),
        // What it does when it is told to do nothing is of no consequence.
        Ok(_) if process.told == Some(Verb::Abort) => Ending::Aborted,
        Ok(status) if !status.success() => failed(describe(status, &said)),
        Ok(_) if job.verb == Verb::Add && process.told.is_none() && shop.wire == Wire::Wazuh => {
            Ending::Stateless
        }
        Ok(_) => Ending::Acted,
    })
}

struct Process {
    child: Child,
    pid: i32,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    errors: Drain,
    /// The answer that it was given.
    told: Option<Verb>,
}

impl Process {
    fn start(job: &Job, shop: &Shop) -> Result<Self, String> {
        let program: PathBuf = shop.place.program(&job.call.program);
        let mut command = Command::new(&program);
        if shop.wire == Wire::Ossec {
            command.args(job.call.ossec_arguments(job.verb));
        }
        command
            .arg0(job.call.path())
            .current_dir(shop.place.home())
            .env_clear()
            .envs(ENVIRONMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot run `{}`: {error}", program.display()))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.ok_or("ended before it began")?;
        shop.live().insert(pid);
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err("has no pipes".to_owned());
        };
        Ok(Self {
            stdin: child.stdin.take(),
            child,
            pid,
            stdout,
            errors: Drain::new(stderr),
            told: None,
        })
    }

    /// The conversation, until it has ended.
    async fn talk(
        &mut self,
        job: &Job,
        shop: &Shop,
        reports: &mpsc::Sender<Report>,
    ) -> io::Result<ExitStatus> {
        shop.log(&job.call, vec!["Starting".to_owned()]);
        let sending = match shop.wire {
            Wire::Wazuh => self.send(job, shop, job.verb),
            Wire::Ossec => None,
        };
        if job.verb == Verb::Add && shop.wire == Wire::Wazuh {
            // Input stays open until the answer, as an executable may wait for it.
            let line = self.first_line().await;
            self.stdin = match sending {
                Some(sending) if !line.is_empty() => sending.await.ok().flatten(),
                Some(sending) => {
                    sending.abort();
                    None
                }
                None => None,
            };
            if !line.is_empty() {
                self.answer(job, shop, &line, reports).await;
            }
        } else if let Some(mut sending) = sending {
            // It need not read what it is sent.
            tokio::select! {
                _ = &mut sending => {}
                _ = self.child.wait() => sending.abort(),
            }
        }
        self.stdin = None;
        self.drain_until_end().await
    }

    /// Begins to send a message; what is sent is not read by every executable, so that nobody waits for it.
    fn send(
        &mut self,
        job: &Job,
        shop: &Shop,
        verb: Verb,
    ) -> Option<JoinHandle<Option<ChildStdin>>> {
        let mut stdin = self.stdin.take()?;
        let mut message = job.call.message(&shop.node, verb);
        shop.log(&job.call, vec![message.clone()]);
        message.push('\n');
        Some(tokio::spawn(async move {
            let sent = stdin.write_all(message.as_bytes()).await;
            // A broken pipe tells of an executable that does not read, which is its right.
            sent.is_ok().then_some(stdin)
        }))
    }

    /// The first line of its output, without a line end; empty when there is none (it is stateless).
    async fn first_line(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        while !heard.contains(&b'\n') && heard.len() < KEPT {
            let read = tokio::select! {
                biased;
                read = self.stdout.read_buf(&mut heard) => read,
                _ = self.child.wait() => {
                    // Something that it has started may hold the pipe open for ever.
                    let rest = timeout(REST, self.stdout.read_buf(&mut heard)).await;
                    rest.unwrap_or(Ok(0))
                }
            };
            if !matches!(read, Ok(1..)) {
                break;
            }
        }
        let end = heard.iter().position(|&byte| byte == b'\n');
        heard.truncate(end.unwrap_or(heard.len()).min(KEPT));
        heard
    }

    async fn answer(
        &mut self,
        job: &Job,
        shop: &Shop,
        line: &[u8],
        reports: &mpsc::Sender<Report>,
    ) {
        shop.log(&job.call, vec![String::from_utf8_lossy(line).into_owned()]);
        let (sender, answer) = oneshot::channel();
        let asked = reports
            .send(Report::Keys {
                run: job.run,
                said: Said::read(line),
                answer: sender,
            })
            .await;
        // A daemon that does not answer is about to end, and nobody would reverse what is done from here on.
        let verb = match asked {
            Ok(()) => answer.await.unwrap_or(Verb::Abort),
            Err(_) => Verb::Abort,
        };
        self.told = Some(verb);
        if let Some(mut sending) = self.send(job, shop, verb) {
            tokio::select! {
                _ = &mut sending => {}
                _ = self.child.wait() => sending.abort(),
            }
        }
    }

    /// Reads and drops what else it prints, until it has ended.
    async fn drain_until_end(&mut self) -> io::Result<ExitStatus> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            tokio::select! {
                status = self.child.wait() => return status,
                read = self.stdout.read(&mut buffer) => {
                    if !matches!(read, Ok(1..)) {
                        return self.child.wait().await;
                    }
                }
            }
        }
    }

    /// Ends it and its group. What has left the group is the sweep's.
    async fn kill(&mut self) {
        self.signal(Signal::TERM);
        if timeout(GRACE, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            let _ = self.child.wait().await;
        }
    }

    /// Signals the group, as long as its leader has not been waited for: after that its number may be
    /// another's.
    fn signal(&self, signal: Signal) {
        if self.child.id().is_some()
            && let Some(group) = Pid::from_raw(self.pid)
        {
            let _ = kill_process_group(group, signal);
        }
    }
}

/// Reads a stream to its end and keeps its beginning.
struct Drain {
    kept: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Drain {
    fn new(mut stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keeping = Arc::clone(&kept);
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; 4 * 1024];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                let mut kept = keeping.lock().unwrap_or_else(PoisonError::into_inner);
                let room = KEPT - kept.len();
                kept.extend_from_slice(&buffer[..read.min(room)]);
            }
        });
        Self { kept, reading }
    }

    /// What was kept, once everybody who could write has ended.
    async fn rest(&mut self) -> Vec<u8> {
        if timeout(REST, &mut self.reading).await.is_err() {
            self.reading.abort();
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut kept)
    }
}

/// How it ended, and the end of what it complained of: an executable's text, made visible.
fn describe(status: ExitStatus, said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let last = text.trim_end().lines().next_back().unwrap_or_default();
    if last.is_empty() {
        return status.to_string();
    }
    let shown: String = last.chars().take(TOLD).collect();
    format!("{status}: `{}`", shown.escape_debug())
}

impl Shop {
    /// Writes lines into the log of active responses, when there is one.
    pub(super) fn log(&self, call: &Call, texts: Vec<String>) {
        if let Some(log) = &self.responses {
            log.write(call.path(), texts);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn check(raw: i32, said: &str, expected: &str) {
        let told = describe(ExitStatus::from_raw(raw), said.as_bytes());
        assert_eq!(told, expected);
    }

    #[test]
    fn a_failure_is_told_with_the_last_complaint_made_visible() {
        check(256, "", "exit status: 1");
        check(9, "", "signal: 9 (SIGKILL)");
        check(
            256,
            "first\nno \u{1b}[31mrule\n\n",
            "exit status: 1: `no \\u{1b}[31mrule`",
        );
        let long = "x".repeat(1_000);
        check(
            256,
            &long,
            &format!("exit status: 1: `{}`", "x".repeat(TOLD)),
        );
    }
}
