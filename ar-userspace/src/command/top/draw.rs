//! How the live screen looks.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table, TableState};

use super::super::output;
use super::state::{Host, Mode, State};
use crate::control::view;

/// Lines of the sparkline, its title among them.
const DROPS: u16 = 4;

/// Lines of recent events, their title among them, on a screen of 24 lines; on a higher one more.
const EVENTS: u16 = 5;

/// Colours, or none of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub(super) colour: bool,
}

impl Paint {
    fn of(self, colour: Color) -> Style {
        match self.colour {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    fn alarm(self) -> Style {
        self.of(Color::Red).add_modifier(Modifier::BOLD)
    }
}

/// Draws the whole screen, and tells how many hosts there is room for.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, paint: Paint) -> usize {
    let interfaces = interfaces(state);
    let alarms = alarms(state);
    let height = |lines: usize| u16::try_from(lines).unwrap_or(u16::MAX).min(3);
    let more = frame.area().height.saturating_sub(24) / 4;
    let [
        head_area,
        alarm_area,
        drops_area,
        interface_area,
        host_area,
        event_area,
        key_area,
    ] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(height(alarms.len())),
        Constraint::Length(DROPS),
        Constraint::Length(height(interfaces.len())),
        Constraint::Min(3),
        Constraint::Length(EVENTS + more),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(head(state), head_area);
    let alarms: Vec<Line<'_>> = alarms.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(alarms).style(paint.alarm()), alarm_area);
    drops(frame, drops_area, state, paint);
    frame.render_widget(Paragraph::new(interfaces), interface_area);
    let rows = hosts(frame, host_area, state, paint);
    let events: Vec<Line<'_>> = state
        .events
        .iter()
        .map(|event| Line::from(event.as_str()))
        .collect();
    frame.render_widget(
        Paragraph::new(events).block(titled(" recent ".to_owned())),
        event_area,
    );
    frame.render_widget(keys(state, paint), key_area);
    rows
}

fn titled(title: String) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(title)
}

fn head(state: &State) -> Paragraph<'static> {
    let Some(status) = &state.status else {
        return Paragraph::new("arfw: waiting for the daemon");
    };
    let uptime = Duration::try_from_secs_f64(status.uptime_seconds).unwrap_or(Duration::MAX);
    let text = format!(
        "arfw {}  up {}  {}  banned {} IPv4, {} IPv6",
        status.version,
        output::duration(uptime),
        status.enforcer,
        output::count(status.active.v4 as u64),
        output::count(status.active.v6 as u64),
    );
    Paragraph::new(text).style(Style::new().add_modifier(Modifier::BOLD))
}

/// What is wrong at the moment, a line each.
fn alarms(state: &State) -> Vec<String> {
    let mut alarms = Vec::new();
    if !state.trouble.is_empty() {
        alarms.push(format!("NO ANSWER: {}", state.trouble));
    }
    let Some(status) = &state.status else {
        return alarms;
    };
    if let Some(cause) = &status.source.trouble {
        alarms.push(format!("ALERTS CANNOT BE READ: {cause}"));
    } else if status.source.missing {
        alarms.push(format!("ALERTS: {} is not there", status.alerts));
    }
    if let Some(trouble) = &status.store.trouble {
        alarms.push(format!("STORE CANNOT BE WRITTEN: {}", trouble.cause));
    }
    for interface in status
        .interfaces
        .iter()
        .filter(|interface| interface.mode == "none")
    {
        alarms.push(format!(
            "NOT COVERED: {} ({})",
            interface.name, interface.why
        ));
    }
    if status.shadow.all {
        alarms.push("SHADOW MODE: packets are counted, and nothing is dropped".to_owned());
    }
    if !status.enabled {
        alarms.push(format!(
            "ACTIVE RESPONSE IS SWITCHED OFF in {}",
            status.config
        ));
    }
    alarms
}

fn interfaces(state: &State) -> Vec<Line<'static>> {
    let none: &[view::Interface] = &[];
    let all = state
        .status
        .as_ref()
        .map_or(none, |status| &status.interfaces);
    // As many as fit into a few lines; `arfw status` has each with its reason.
    let mut lines: Vec<String> = Vec::new();
    for interface in all {
        let text = format!("{} {}", interface.name, interface.mode);
        match lines.last_mut() {
            Some(line) if line.len() + text.len() < 77 => {
                line.push_str("  ");
                line.push_str(&text);
            }
            Some(_) | None => lines.push(text),
        }
    }
    lines.into_iter().map(Line::from).collect()
}

fn drops(frame: &mut Frame<'_>, area: Rect, state: &State, paint: Paint) {
    let block = titled(format!(
        " dropped a second: {} ",
        output::count(state.drops.back().copied().unwrap_or(0))
    ));
    let inner = block.inner(area);
    // The newest stands at the right, also before the line is full.
    let width = usize::from(inner.width);
    let kept = state.drops.len().min(width);
    let blank = std::iter::repeat_n(0, width - kept);
    let shown = state.drops.iter().skip(state.drops.len() - kept).copied();
    let data: Vec<u64> = blank.chain(shown).collect();
    frame.render_widget(block, area);
    frame.render_widget(
        Sparkline::default()
            .data(data)
            .style(paint.of(Color::Yellow)),
        inner,
    );
}

fn hosts(frame: &mut Frame<'_>, area: Rect, state: &State, paint: Paint) -> usize {
    let filter = match state.filter.is_empty() {
        true => String::new(),
        false => format!(", with \"{}\"", state.filter),
    };
    let block = titled(format!(
        " {} banned{filter}, by {} ",
        output::count(state.hosts().count() as u64),
        state.order.name()
    ));
    let visible = usize::from(block.inner(area).height.saturating_sub(1));
    // A table of a hundred thousand rows is not made for the ten that are seen.
    let first = state.selected.saturating_sub(visible.saturating_sub(1));
    let rows = state.hosts().skip(first).take(visible).map(row);
    let header = Row::new(
        [
            ("ADDRESS", false),
            ("DROPS/S", true),
            ("DROPPED", true),
            ("LEFT", true),
            ("RULE", true),
            ("BY", false),
        ]
        .map(|(name, right)| cell(name.to_owned(), right)),
    );
    let widths = [
        Constraint::Fill(3),
        Constraint::Length(9),
        Constraint::Length(13),
        Constraint::Length(12),
        Constraint::Length(7),
        Constraint::Fill(2),
    ];
    let table = Table::new(rows, widths)
        .header(header.style(paint.of(Color::Cyan)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(block);
    let mut marked = TableState::new().with_selected(Some(state.selected - first));
    frame.render_stateful_widget(table, area, &mut marked);
    visible
}

fn row(host: &Host) -> Row<'static> {
    let left = host.seconds_left.map_or("permanent".to_owned(), |seconds| {
        output::duration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    });
    let rule = match host.rule_id {
        0 => "-".to_owned(),
        rule => rule.to_string(),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "never negative, and a rate for people"
    )]
    let rate = host.packets_per_second.round() as u64;
    Row::new([
        cell(host.address.clone(), false),
        cell(output::count(rate), true),
        cell(output::count(host.packets), true),
        cell(left, true),
        cell(rule, true),
        cell(host.by.join(", "), false),
    ])
}

fn cell(text: String, right: bool) -> Cell<'static> {
    let line = Line::from(text);
    Cell::from(if right { line.right_aligned() } else { line })
}

fn keys<'a>(state: &'a State, paint: Paint) -> Paragraph<'a> {
    match &state.mode {
        Mode::Filtering => Paragraph::new(format!(
            "filter: {}_   (address, rule or executable; Enter keeps it, Esc clears it)",
            state.filter
        )),
        Mode::Asking(address) => {
            Paragraph::new(format!("End all bans of {address} now? y/n")).style(paint.alarm())
        }
        Mode::Watching => {
            let said = match state.said.is_empty() {
                true => String::new(),
                false => format!("   {}", state.said),
            };
            Paragraph::new(Line::from(vec![
                Span::from("q quit  s sort  / filter  u unban"),
                Span::styled(said, paint.of(Color::Green)),
            ]))
        }
    }
}
