//! Colours, for people at a terminal: few, and a word tells the same without them.
//!
//! Off in a pipe, with `NO_COLOR` and on a terminal that has none, unless `--color` says otherwise.

use std::io;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shade {
    /// A headline.
    Head,
    /// As it should be.
    Good,
    /// To be looked at.
    Careful,
    /// Wrong, or banned.
    Bad,
}

impl Shade {
    fn style(self) -> Style {
        match self {
            Self::Head => Style::new().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Careful => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// Whether to colour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Colours {
    is_on: bool,
}

impl Colours {
    /// Never.
    pub(super) const PLAIN: Self = Self { is_on: false };

    /// What the command line asks for, for all that is printed from here on.
    pub(super) fn choose(choice: clap::ColorChoice) {
        let choice = match choice {
            clap::ColorChoice::Auto => ColorChoice::Auto,
            clap::ColorChoice::Always => ColorChoice::Always,
            clap::ColorChoice::Never => ColorChoice::Never,
        };
        choice.write_global();
    }

    /// For standard output.
    pub(super) fn answers() -> Self {
        Self::of(AutoStream::choice(&io::stdout()))
    }

    /// For standard error.
    pub(super) fn errors() -> Self {
        Self::of(AutoStream::choice(&io::stderr()))
    }

    fn of(choice: ColorChoice) -> Self {
        let is_on = choice != ColorChoice::Never;
        Self { is_on }
    }

    pub(super) fn is_on(self) -> bool {
        self.is_on
    }

    /// The text in its colour.
    pub(super) fn text(self, shade: Shade, text: &str) -> String {
        if !self.is_on {
            return text.to_owned();
        }
        let style = shade.style();
        format!("{style}{text}{style:#}")
    }

    /// A number and its noun, in a colour when the number is not 0.
    pub(super) fn unless_none(self, shade: Shade, number: usize, noun: &str) -> String {
        let told = format!("{number} {noun}");
        if number == 0 {
            return told;
        }
        self.text(shade, &told)
    }
}
