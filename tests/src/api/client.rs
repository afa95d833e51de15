//! HTTP at the control socket, as any program speaks it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, Result};

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) method: &'static str,
    /// With the query.
    pub(super) target: String,
    /// Media type and text.
    pub(super) body: Option<(&'static str, String)>,
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) media_type: String,
    /// Of the header `Allow`.
    pub(super) allow: String,
    pub(super) body: Vec<u8>,
}

impl Question {
    pub(super) fn get(target: impl Into<String>) -> Self {
        Self::plain("GET", target)
    }

    pub(super) fn plain(method: &'static str, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            body: None,
        }
    }

    pub(super) fn post(target: &str, body: impl ToString) -> Self {
        Self {
            method: "POST",
            target: target.to_owned(),
            body: Some(("application/json", body.to_string())),
        }
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn text(&self, last: bool) -> String {
        let Self { method, target, .. } = self;
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: arfw\r\n");
        if last {
            text.push_str("Connection: close\r\n");
        }
        match &self.body {
            Some((media_type, body)) => {
                let length = body.len();
                text.push_str(&format!(
                    "Content-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{body}"
                ));
            }
            None => text.push_str("\r\n"),
        }
        text
    }
}

/// One connection.
pub(super) struct Connection(BufReader<UnixStream>);

impl Connection {
    pub(super) fn open(socket: &Path) -> Result<Self> {
        Ok(Self(BufReader::new(UnixStream::connect(socket)?)))
    }

    pub(super) fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.0.get_mut().write_all(text.as_bytes())?)
    }

    /// The answer without what comes after its head.
    pub(super) fn head(&mut self) -> Result<(Answer, usize)> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1);
        let status = status.context("the connection was closed")?.parse()?;
        let mut answer = Answer {
            status,
            media_type: String::new(),
            allow: String::new(),
            body: Vec::new(),
        };
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(": ") else {
                return Ok((answer, length));
            };
            match name {
                "content-type" => answer.media_type = value.to_owned(),
                "content-length" => length = value.parse()?,
                "allow" => answer.allow = value.to_owned(),
                _ => {}
            }
        }
    }

    pub(super) fn answer(&mut self) -> Result<Answer> {
        let (mut answer, length) = self.head()?;
        answer.body = vec![0; length];
        self.0.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    /// The fields of the next event of a stream.
    pub(super) fn event(&mut self) -> Result<Vec<(String, String)>> {
        let (mut fields, mut line) = (Vec::new(), String::new());
        loop {
            line.clear();
            let read = self.0.read_line(&mut line)?;
            anyhow::ensure!(read > 0, "the stream ended");
            // Comments, and how long the chunks of the stream are.
            match line.trim_end().split_once(": ") {
                Some((name, value)) if !name.is_empty() => {
                    fields.push((name.to_owned(), value.to_owned()));
                }
                Some(_) => {}
                None if line == "\n" && !fields.is_empty() => return Ok(fields),
                None => {}
            }
        }
    }
}

/// Asks one thing.
pub(super) fn ask(socket: &Path, question: &Question) -> Result<Answer> {
    let mut connection = Connection::open(socket)?;
    connection.send(&question.text(true))?;
    let (mut answer, length) = connection.head()?;
    if question.method != "HEAD" {
        answer.body = vec![0; length];
        connection.0.read_exact(&mut answer.body)?;
    }
    Ok(answer)
}
