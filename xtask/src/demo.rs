//! `cargo xtask demo`: an attacker's namespace, real packets, and a ban that begins, ends and grows.
//!
//! It checks all that it shows, and fails when something is not so. Nothing of the host's own is touched, and
//! nothing is left behind, also when it is interrupted.

mod cast;
mod screen;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask::netns::{HOST_V4, HOST_V6, INTERFACE, Link, offender_v4, offender_v6};
use xtask::traffic::Receiver;

use crate::build;
use crate::interrupt::Interrupt;
use crate::scene::{Alerts, Scene, alert};
use crate::shell::{self, say};
use crate::workspace::Workspace;
use cast::{Actor, ban_of, is_banned, is_free};
use screen::Screen;

/// The first ban: short enough to wait for its end.
const FIRST: Duration = Duration::from_secs(4);

/// What the second offence costs, in seconds.
const SECOND: f64 = 60.0;

const RULE: u32 = 5763;

const CONF: &str = "\
<ossec_config>
  <command>
    <name>firewall-drop</name>
    <executable>firewall-drop</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <rules_id>5763</rules_id>
    <timeout>4</timeout>
    <repeated_offenders>1,5,10</repeated_offenders>
  </active-response>
</ossec_config>
";

/// How long one look at the traffic waits for some of it.
const GLANCE: Duration = Duration::from_millis(500);

/// Builds what is missing, and shows it.
pub(crate) fn command(ws: &Workspace) -> Result<()> {
    ensure!(
        shell::is_root(),
        "the demonstration makes network namespaces and loads a program into the kernel: run it as root"
    );
    let bpftool = shell::find("bpftool").context(
        "there is no `bpftool` to show the kernel's map with; `cargo xtask setup` installs it",
    )?;
    let daemon = build::command(ws, true)?;
    let interrupt = Interrupt::listen()?;
    let screen = Screen::new();
    say("");
    let mut traces = Traces::default();
    let shown = Stage::set(&screen, &interrupt, &daemon, bpftool, &mut traces)
        .and_then(|mut stage| stage.play().and_then(|()| stage.strike()));
    if let Err(error) = &shown {
        let part = if interrupt.check().is_ok() {
            "NOT SO"
        } else {
            "end"
        };
        screen.tell(part, &format!("{error:#}"));
    }
    // First what went wrong on the stage, then what stayed on it.
    shown.and(traces.are_gone())?;
    screen.tell(
        "end",
        "all of it was so, and nothing is left: no process, no pin, no namespace",
    );
    Ok(())
}

/// What must not be there afterwards.
#[derive(Default)]
struct Traces(Vec<PathBuf>);

impl Traces {
    fn are_gone(&self) -> Result<()> {
        let left: Vec<String> = self
            .0
            .iter()
            .filter(|path| path.exists())
            .map(|path| path.display().to_string())
            .collect();
        ensure!(left.is_empty(), "left behind: {}", left.join(", "));
        Ok(())
    }
}

/// All that takes part. The fields are dropped in this order: the daemon goes before its namespace.
struct Stage<'a> {
    screen: &'a Screen,
    interrupt: &'a Interrupt,
    bpftool: PathBuf,
    cast: Cast,
    alerts: Alerts,
    scene: Scene,
    _link: Link,
}

/// Both families: an attacker and an innocent neighbour in the same network.
struct Cast {
    v4: Side,
    v6: Side,
}

/// One family.
struct Side {
    attacker: Actor,
    neighbour: Actor,
    receiver: Receiver,
}

impl Side {
    fn enter(link: &Link, host: IpAddr, attacker: IpAddr, neighbour: IpAddr) -> Result<Self> {
        let receiver = Receiver::start(&link.host, host)?;
        Ok(Self {
            attacker: Actor::enter("attacker", link, attacker, &receiver)?,
            neighbour: Actor::enter("neighbour", link, neighbour, &receiver)?,
            receiver,
        })
    }

    /// Looks at both and expects of the attacker what `banned` says.
    fn look(&mut self, screen: &Screen, scene: &Scene, banned: bool) -> Result<()> {
        let attacker = self.attacker.look(screen, scene, &self.receiver)?;
        let expected = if banned { is_banned } else { is_free };
        expected(attacker)?;
        is_free(self.neighbour.look(screen, scene, &self.receiver)?)
    }

    /// The attacker's ban ends by itself: never early, and then packets arrive again.
    fn comes_back(&self, screen: &Screen, interrupt: &Interrupt, written: Instant) -> Result<()> {
        let back = self.attacker.next_arrival(interrupt, &self.receiver)?;
        let after = back - written;
        let text = format!(
            "those of {} arrive again, {:.3} s after its alert",
            self.attacker.address,
            after.as_secs_f64()
        );
        screen.tell("packets", &text);
        ensure!(
            after >= FIRST,
            "the ban ended after {after:?}, before its time"
        );
        Ok(())
    }
}

impl<'a> Stage<'a> {
    fn set(
        screen: &'a Screen,
        interrupt: &'a Interrupt,
        daemon: &Path,
        bpftool: PathBuf,
        traces: &mut Traces,
    ) -> Result<Self> {
        let link = Link::new()?;
        let names = [link.host.name(), link.offender.name()];
        traces
            .0
            .extend(names.map(|name| PathBuf::from(format!("/run/netns/{name}"))));
        screen.tell(
            "setup",
            &format!("two network namespaces, joined by {INTERFACE}:"),
        );
        screen.more(&format!("{} has {HOST_V4} and {HOST_V6}", names[0]));
        screen.more(&format!(
            "{} has 198.18.0.0/16 and 2001:db8:a::/48",
            names[1]
        ));

        let mut scene = Scene::new(daemon, CONF)?;
        traces.0.push(scene.pin_dir().to_owned());
        let alerts = Alerts::open(&scene.alerts())?;
        // Few places, so that the map is soon read.
        let arguments = ["--interface", INTERFACE, "--max-bans", "1000"];
        scene.start(interrupt, &link.host, &arguments)?;
        let pid = scene.pid().context("the daemon runs")?;
        traces.0.push(format!("/proc/{pid}").into());
        let status = scene.status()?;
        let mode = status["interfaces"][0]["mode"].as_str().unwrap_or("none");
        screen.tell(
            "daemon",
            &format!("arfw runs as process {pid} and covers {INTERFACE} in {mode} mode"),
        );
        let cast = Cast {
            v4: Side::enter(&link, HOST_V4.into(), offender_v4(7), offender_v4(8))?,
            v6: Side::enter(&link, HOST_V6.into(), offender_v6(7), offender_v6(8))?,
        };
        let stage = Self {
            screen,
            interrupt,
            bpftool,
            cast,
            alerts,
            scene,
            _link: link,
        };
        stage
            .screen
            .tell("traffic", "four senders, 100 UDP packets a second each");
        Ok(stage)
    }

    fn play(&mut self) -> Result<()> {
        self.everything_arrives()?;
        let written = self.ban_of_v4("length=\"4s\"", "offence=1")?;
        self.it_is_dropped_and_listed()?;
        let written_v6 = self.ban_of_v6()?;
        self.timer_ends_it(written)?;
        self.ban_of_v4("length=\"1m\"", "offence=2")?;
        self.second_ban_is_longer()?;
        self.kernel_needs_no_daemon(written_v6)?;
        self.release_ends_it()
    }

    fn everything_arrives(&mut self) -> Result<()> {
        self.interrupt.pause(GLANCE)?;
        for side in [&mut self.cast.v4, &mut self.cast.v6] {
            side.attacker.arrives(self.interrupt, &side.receiver, 2)?;
            side.neighbour.arrives(self.interrupt, &side.receiver, 2)?;
            side.look(self.screen, &self.scene, false)?;
        }
        Ok(())
    }

    /// Appends the alert, waits until the ban is told, and returns when the alert was written.
    fn ban_of_v4(&mut self, length: &str, offence: &str) -> Result<Instant> {
        let attacker = self.cast.v4.attacker.address;
        let written = self.offend(attacker, &[length, offence])?;
        let side = &mut self.cast.v4;
        // Takes in what was under way when the ban began, so that the next look finds nothing new.
        side.attacker.settle(&side.receiver);
        Ok(written)
    }

    fn offend(&mut self, attacker: IpAddr, words: &[&str]) -> Result<Instant> {
        let line = alert(RULE, 10, &attacker.to_string());
        self.screen.tell(
            "alert",
            &format!("appended to alerts.json: rule {RULE}, level 10, srcip {attacker}"),
        );
        let written = Instant::now();
        self.alerts
            .append(&line)
            .context("cannot append an alert")?;
        let address = format!("address={attacker} ");
        let words = [&["ban ", &address, "rule=5763"][..], words].concat();
        let told = self.scene.await_line(self.interrupt, &words)?;
        self.screen.tell("log", &told);
        Ok(written)
    }

    fn it_is_dropped_and_listed(&mut self) -> Result<()> {
        for _ in 0..2 {
            self.interrupt.pause(GLANCE)?;
            self.cast.v4.look(self.screen, &self.scene, true)?;
        }
        self.show_list()?;
        let says =
            "bpftool map lookup pinned .../bans_v4 and .../details_v4, the place that is taken";
        self.screen.tell("kernel", says);
        let pin = |name| self.scene.pin_dir().join(name);
        let mut dump = Command::new(&self.bpftool);
        dump.args(["-j", "map", "dump", "pinned"])
            .arg(pin("bans_v4"));
        let places: Vec<Value> = serde_json::from_str(&shell::look_up(&mut dump)?)
            .context("`bpftool` does not dump JSON")?;
        let mut places = places.iter().map(|place| &place["formatted"]);
        let taken = places.find(|place| place["value"]["expires_at_ns"] != 0);
        let place = taken.and_then(|place| place["key"].as_u64());
        let place = u32::try_from(place.context("no place of the map is taken")?)?;
        let octets = place.to_ne_bytes().map(|octet| octet.to_string());
        for name in ["bans_v4", "details_v4"] {
            let mut look_up = Command::new(&self.bpftool);
            look_up.args(["map", "lookup", "pinned"]).arg(pin(name));
            let shown = shell::look_up(look_up.arg("key").args(&octets))?;
            self.screen.more(&shown);
            let tells_rule = shown.contains("5763");
            ensure!(
                tells_rule || name != "details_v4",
                "the map does not show the rule"
            );
        }
        Ok(())
    }

    fn show_list(&self) -> Result<()> {
        self.screen.tell("list", "arfw list");
        let list = shell::look_up(&mut self.scene.command(&["list"]))?;
        self.screen.more(&list);
        let attacker = self.cast.v4.attacker.address.to_string();
        ensure!(
            list.contains(&attacker),
            "`arfw list` does not show {attacker}"
        );
        Ok(())
    }

    fn ban_of_v6(&mut self) -> Result<Instant> {
        let attacker = self.cast.v6.attacker.address;
        let written = self.offend(attacker, &["length=\"4s\"", "offence=1"])?;
        let side = &mut self.cast.v6;
        side.attacker.settle(&side.receiver);
        side.neighbour.settle(&side.receiver);
        self.interrupt.pause(GLANCE)?;
        side.look(self.screen, &self.scene, true)?;
        Ok(written)
    }

    fn timer_ends_it(&mut self, written: Instant) -> Result<()> {
        self.cast
            .v4
            .comes_back(self.screen, self.interrupt, written)?;
        let address = format!("address={} ", self.cast.v4.attacker.address);
        let told = self
            .scene
            .await_line(self.interrupt, &["unban", &address])?;
        self.screen.tell("log", &told);
        let side = &mut self.cast.v4;
        side.attacker.arrives(self.interrupt, &side.receiver, 20)?;
        side.look(self.screen, &self.scene, false)
    }

    fn second_ban_is_longer(&mut self) -> Result<()> {
        self.interrupt.pause(GLANCE)?;
        self.cast.v4.look(self.screen, &self.scene, true)?;
        self.show_list()?;
        let bans = self.scene.bans()?;
        let ban = ban_of(&bans, self.cast.v4.attacker.address).context("the second ban stands")?;
        let left = ban["seconds_left"].as_f64().unwrap_or(f64::INFINITY);
        ensure!(
            left > FIRST.as_secs_f64() && left <= SECOND,
            "the second ban has {left} s left"
        );
        ensure!(
            ban["by"][0]["offences"] == 2,
            "expected two offences, found {}",
            ban["by"]
        );
        Ok(())
    }

    /// Without the daemon bans stand, and end at their time.
    fn kernel_needs_no_daemon(&mut self, written_v6: Instant) -> Result<()> {
        self.scene.stop()?;
        self.screen.tell(
            "daemon",
            "stopped by SIGTERM; the kernel goes on by itself:",
        );
        self.cast
            .v6
            .comes_back(self.screen, self.interrupt, written_v6)?;
        self.interrupt.pause(GLANCE)?;
        self.cast.v4.look(self.screen, &self.scene, true)
    }

    fn release_ends_it(&mut self) -> Result<()> {
        self.scene.release()?;
        self.screen.tell(
            "release",
            "arfw stop --release: nothing is left in the kernel",
        );
        let side = &mut self.cast.v4;
        side.attacker.arrives(self.interrupt, &side.receiver, 20)?;
        let text = format!("those of {} arrive again", side.attacker.address);
        self.screen.tell("packets", &text);
        Ok(())
    }

    /// Takes everything apart, and tells what could not be.
    fn strike(self) -> Result<()> {
        let Cast { v4, v6 } = self.cast;
        for side in [v4, v6] {
            side.attacker.leave()?;
            side.neighbour.leave()?;
        }
        Ok(())
    }
}
