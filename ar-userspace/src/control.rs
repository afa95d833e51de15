//! The control socket: HTTP and JSON over a Unix socket, both ends of it.
//!
//! A request becomes a [`Request`] for the daemon, which owns everything that is asked about. What is
//! told is plain values ([`view`]). Nothing here decides anything.

mod client;
mod server;
pub mod view;

use tokio::sync::oneshot;

pub use client::{Unreachable, get, post};
pub use server::serve;

/// A question to the daemon, and where the answer goes.
#[derive(Debug)]
pub enum Request {
    /// `GET /v1/status`
    Status(oneshot::Sender<view::Status>),
    /// `GET /v1/bans`
    Bans(oneshot::Sender<Vec<view::Ban>>),
    /// `POST /v1/stop`: an orderly stop, begun when it is answered.
    Stop(view::Stop, oneshot::Sender<()>),
}

/// Requests that may wait for the daemon; more make their clients wait.
pub const QUEUE: usize = 16;

/// Path of [`view::Status`].
pub const STATUS: &str = "/v1/status";

/// Path of the list of [`view::Ban`].
pub const BANS: &str = "/v1/bans";

/// Path that takes a [`view::Stop`].
pub const STOP: &str = "/v1/stop";
