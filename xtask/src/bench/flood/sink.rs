//! What sending alone costs: interfaces of the offender's that lead nowhere.

use std::process::Command;

use anyhow::{Context, Result};
use xtask::netns::Namespace;

use super::candidate::Means;
use super::card::Card;
use super::frame::Frame;
use super::lane::{How, WARM};
use super::sender::{Limit, Sender, Sent};
use crate::interrupt::Interrupt;
use crate::shell;

/// Takes what a socket sends, and drops it at once.
const FOR_SOCKET: &str = "sink";

/// Takes what a card sends: a link whose other end is down.
const FOR_CARD: &str = "void";
const END: &str = "void-end";

/// Both, with what sends there.
pub(super) struct Sink {
    sender: Sender,
    card: Card,
    pool: Vec<Frame>,
}

impl Sink {
    /// Makes them in a namespace, with which they go.
    pub(super) fn open(
        namespace: &Namespace,
        means: &Means<'_>,
        interrupt: &Interrupt,
        pool: &[Frame],
        cpu: usize,
    ) -> Result<Self> {
        for_socket(namespace)?;
        for_card(namespace)?;
        let out = (namespace, FOR_CARD);
        Ok(Self {
            sender: Sender::open(namespace, FOR_SOCKET)?,
            card: Card::start(interrupt, means.live_flood(), out, pool, cpu)?,
            pool: pool.to_vec(),
        })
    }

    pub(super) fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Sends what leads nowhere.
    pub(super) fn flood(
        &mut self,
        interrupt: &Interrupt,
        how: How,
        limit: Limit,
        cpu: usize,
    ) -> Result<Sent> {
        let mut send = |limit| match how {
            How::Card => self.card.flood(interrupt, limit),
            How::Socket => self.sender.flood(&self.pool, limit, cpu),
        };
        send(WARM)?;
        send(limit)
    }
}

/// Without something that is redirected to it, an ifb does what a dummy does.
fn for_socket(namespace: &Namespace) -> Result<()> {
    if ip(namespace, &format!("link add {FOR_SOCKET} type dummy")).is_err() {
        ip(namespace, &format!("link add {FOR_SOCKET} type ifb"))
            .context("the kernel has neither dummy nor ifb interfaces")?;
        let mut tc = Command::new("tc");
        tc.args(["-netns", namespace.name(), "qdisc", "replace"]);
        shell::look_up(tc.args(["dev", FOR_SOCKET, "root", "noqueue"]))?;
    }
    ip(namespace, &format!("link set {FOR_SOCKET} up"))
}

/// With GRO at its end an interface takes frames, and it says so only when that end has been up.
fn for_card(namespace: &Namespace) -> Result<()> {
    ip(
        namespace,
        &format!("link add {FOR_CARD} type veth peer name {END}"),
    )?;
    ip(namespace, &format!("link set {FOR_CARD} up"))?;
    ip(namespace, &format!("link set {END} up"))?;
    feature(namespace, END, "gro", "on")?;
    ip(namespace, &format!("link set {END} down"))
}

fn ip(namespace: &Namespace, words: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-netns", namespace.name()]);
    shell::look_up(command.args(words.split(' '))).map(drop)
}

/// Sets a feature of an interface.
pub(super) fn feature(
    namespace: &Namespace,
    interface: &str,
    name: &str,
    state: &str,
) -> Result<()> {
    let mut command = Command::new("ethtool");
    command.args(["--features", interface, name, state]);
    let ended = namespace.run(|| shell::look_up(&mut command))?;
    ended
        .map(drop)
        .context("cannot set a feature of an interface")
}
