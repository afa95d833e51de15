//! What `GET /metrics` of a daemon's control socket answers.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, ensure};

use super::daemon::Home;

/// A request that was made.
pub struct Asked(UnixStream);

/// Asks, also a daemon that cannot answer at the moment.
///
/// # Errors
///
/// When there is no socket.
pub fn ask(home: &Home) -> Result<Asked> {
    let mut socket = UnixStream::connect(home.run_dir().join("arfw.sock"))?;
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: arfw\r\nConnection: close\r\n\r\n")?;
    Ok(Asked(socket))
}

impl Asked {
    /// Waits for the answer.
    ///
    /// # Errors
    ///
    /// When it is not metrics in Prometheus' text format.
    pub fn answer(mut self) -> Result<String> {
        let mut answer = String::new();
        self.0.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
        ensure!(
            head.starts_with("HTTP/1.1 200 ") && head.contains("version=0.0.4"),
            "{head}"
        );
        Ok(body.to_owned())
    }
}

/// The number of a series, which is named with its labels.
///
/// # Errors
///
/// When there is none.
pub fn value(text: &str, series: &str) -> Result<f64> {
    let of = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    let found = text.lines().find_map(of);
    found.with_context(|| format!("no `{series}`:\n{text}"))
}
