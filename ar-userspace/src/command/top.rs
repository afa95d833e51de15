//! `arfw top`: who is dropped just now, on a screen that goes on.
//!
//! One thread looks at the daemon, so that keys work however long it takes to answer.

mod draw;
mod state;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use schemars::JsonSchema;
use serde::Serialize;

use super::run::on_runtime;
use super::{Directories, Exit, events, output, unban};
use crate::clock;
use crate::control::{self, Unreachable, view};
use crate::time::Moment;
use draw::{Paint, draw};
use state::{Host, Look, State, Wish};

/// How long a key waits for anything at most.
const TICK: Duration = Duration::from_millis(100);

/// Hosts in a line of JSON.
const TOLD: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Look this long after the last look; longer when there are so many bans that a look takes its time
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    directories: Directories,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match interval < Duration::from_millis(100) {
        true => Err("expected 100ms or longer".to_owned()),
        false => Ok(interval),
    }
}

/// What comes from the threads.
enum News {
    Look(anyhow::Result<Box<Look>>),
    Event(String),
    Said(String),
}

/// One line of `arfw top --json`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TopLook")]
pub(super) struct Told<'a> {
    /// Packets dropped a second since the look before; `null` at the first.
    packets_per_second: Option<u64>,
    /// Who is dropped most, 20 at most.
    hosts: Vec<&'a Host>,
}

pub(super) fn run(arguments: &Arguments, json: bool) -> anyhow::Result<Exit> {
    let socket = arguments.directories.socket();
    let began = clock::now();
    let mut state = State::default();
    // The first look decides whether there is anything to show.
    state.look(look(&socket, began)?);
    if json {
        return lines(&socket, began, arguments.interval, state);
    }
    ensure!(
        io::stdout().is_terminal() && io::stdin().is_terminal(),
        "`arfw top` needs a terminal; `arfw top --json` prints a line a look, `arfw list` and `arfw status` one look"
    );
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (tell, news) = mpsc::channel();
    watch(socket.clone(), began, arguments.interval, tell.clone());
    listen(socket.clone(), arguments.interval, tell.clone());
    let mut terminal = ratatui::try_init().context("cannot use this terminal")?;
    let ended = screen(&mut terminal, state, Paint { colour }, &news, &|address| {
        unban_beside(socket.clone(), address, tell.clone());
    });
    ratatui::try_restore().context("cannot put the terminal back")?;
    ended?;
    Ok(Exit::Done)
}

fn screen(
    terminal: &mut ratatui::DefaultTerminal,
    mut state: State,
    paint: Paint,
    news: &mpsc::Receiver<News>,
    unban: &dyn Fn(String),
) -> anyhow::Result<()> {
    loop {
        let mut rows = 0;
        terminal.draw(|frame| rows = draw(frame, &state, paint))?;
        if event::poll(TICK)?
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
        {
            match state.key(key, rows) {
                Some(Wish::Quit) => return Ok(()),
                Some(Wish::Unban(address)) => unban(address),
                None => {}
            }
        }
        for news in news.try_iter() {
            match news {
                News::Look(Ok(look)) => state.look(*look),
                News::Look(Err(error)) => state.trouble = format!("{error:#}"),
                News::Event(text) => state.event(text),
                News::Said(said) => state.said = said,
            }
        }
    }
}

/// Prints a line a look, until the reader or the daemon goes.
fn lines(
    socket: &Path,
    began: Moment,
    interval: Duration,
    mut state: State,
) -> anyhow::Result<Exit> {
    loop {
        let told = Told {
            packets_per_second: state.drops.back().copied(),
            hosts: state.hosts().take(TOLD).collect(),
        };
        let line = format!("{}\n", serde_json::to_string(&told)?);
        if !output::line(&line)? {
            return Ok(Exit::Done);
        }
        thread::sleep(interval);
        state.look(look(socket, began)?);
    }
}

fn look(socket: &Path, began: Moment) -> anyhow::Result<Look> {
    on_runtime(async {
        let status = control::get::<view::Status>(socket, control::STATUS).await?;
        let bans = control::get::<Vec<view::Ban>>(socket, control::BANS).await?;
        Ok(Look {
            at: clock::now().since(began),
            status,
            bans,
        })
    })
}

/// Looks again and again, until nobody listens.
fn watch(socket: PathBuf, began: Moment, interval: Duration, tell: mpsc::Sender<News>) {
    thread::spawn(move || {
        let mut pause = interval;
        loop {
            thread::sleep(pause);
            let from = clock::now();
            let look = look(&socket, began);
            // A million bans take their time to be told. The daemon shall not be kept busy by whoever watches it.
            pause = interval.max(clock::now().since(from) * 10);
            if tell.send(News::Look(look.map(Box::new))).is_err() {
                return;
            }
        }
    });
}

/// Tells what happens, until nobody listens; a daemon that comes back is listened to again.
fn listen(socket: PathBuf, again_after: Duration, tell: mpsc::Sender<News>) {
    thread::spawn(move || {
        let mut is_closed = false;
        while !is_closed {
            // That there is no daemon is told by the looks.
            let _ = on_runtime(control::listen(&socket, |event| {
                // Times are RFC 3339 in UTC: of it, hours, minutes and seconds.
                let time = event.time.get(11..19).unwrap_or(&event.time);
                let text = format!("{time} {}", events::told(&event.what));
                is_closed = tell.send(News::Event(text)).is_err();
                ensure!(!is_closed, "the screen is closed");
                Ok(())
            }));
            thread::sleep(again_after);
        }
    });
}

fn unban_beside(socket: PathBuf, address: String, tell: mpsc::Sender<News>) {
    thread::spawn(move || {
        let order = view::UnbanOrder {
            addresses: vec![address],
            ..view::UnbanOrder::default()
        };
        let answer = on_runtime(control::post::<Vec<view::Unbanned>>(
            &socket,
            control::UNBAN,
            &order,
        ));
        let said = match answer {
            Ok(unbanned) => unban::render(&unbanned).trim_end().to_owned(),
            Err(error) if error.is::<Unreachable>() => "the daemon does not run".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        // The screen may be closed by now.
        let _ = tell.send(News::Said(said));
    });
}
