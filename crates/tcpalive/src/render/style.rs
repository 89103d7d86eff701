//! Colour and width of what people read.

use clap::ColorChoice;
use std::ffi::OsStr;
use std::io::IsTerminal;

/// How text for people is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colours are used.
    pub color: bool,
    /// Columns that a line may have; [`Style::UNLIMITED`] cuts nothing.
    pub width: usize,
}

impl Style {
    /// No limit: every column is shown and no cell is cut.
    pub const UNLIMITED: usize = usize::MAX;

    /// Plain text of the given width.
    #[must_use]
    pub const fn plain(width: usize) -> Self {
        Self {
            color: false,
            width,
        }
    }

    /// The style for standard output.
    ///
    /// The width is `COLUMNS` if set, else the terminal's (100 if it does not
    /// tell). Where standard output is a file or a pipe and `COLUMNS` is not
    /// set, lines are not limited, so that `grep` finds what a cut would hide.
    #[must_use]
    pub fn stdout(choice: ColorChoice) -> Self {
        let stdout = std::io::stdout();
        let surroundings = Surroundings {
            terminal: stdout.is_terminal(),
            terminal_width: rustix::termios::tcgetwinsize(&stdout)
                .map(|size| usize::from(size.ws_col))
                .ok(),
            columns: std::env::var("COLUMNS").ok(),
            no_color: is_set(std::env::var_os("NO_COLOR").as_deref()),
            dumb: std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
        };
        Self::choose(choice, &surroundings)
    }

    fn choose(choice: ColorChoice, around: &Surroundings) -> Self {
        let color = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => around.terminal && !around.no_color && !around.dumb,
        };
        let told = |width: &usize| *width > 0;
        let columns = around
            .columns
            .as_deref()
            .and_then(|text| text.trim().parse().ok())
            .filter(told);
        let width = match (columns, around.terminal) {
            (Some(columns), _) => columns,
            (None, true) => around.terminal_width.filter(told).unwrap_or(100),
            (None, false) => Self::UNLIMITED,
        };
        Self { color, width }
    }

    /// The width that running text is wrapped at: long lines are hard to read.
    pub(crate) fn prose_width(self) -> usize {
        self.width.min(120)
    }
}

struct Surroundings {
    terminal: bool,
    terminal_width: Option<usize>,
    columns: Option<String>,
    no_color: bool,
    dumb: bool,
}

/// <https://no-color.org>: any value that is not empty counts.
fn is_set(value: Option<&OsStr>) -> bool {
    value.is_some_and(|value| !value.is_empty())
}

/// The few colours in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Bold,
    Green,
    Yellow,
}

impl Paint {
    /// Appends `text` in this colour if `color` is wanted.
    pub(crate) fn push(self, out: &mut String, text: &str, color: bool) {
        let code = match self {
            Self::Bold => "\x1b[1m",
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Plain => "",
        };
        if !color || code.is_empty() || text.is_empty() {
            out.push_str(text);
        } else {
            out.push_str(code);
            out.push_str(text);
            out.push_str("\x1b[0m");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal() -> Surroundings {
        Surroundings {
            terminal: true,
            terminal_width: Some(132),
            columns: None,
            no_color: false,
            dumb: false,
        }
    }

    #[test]
    fn a_terminal_gives_its_width_and_colour() {
        let style = Style::choose(ColorChoice::Auto, &terminal());
        assert_eq!(
            style,
            Style {
                color: true,
                width: 132
            }
        );
    }

    #[test]
    fn a_terminal_that_hides_its_width_counts_as_100() {
        for terminal_width in [None, Some(0)] {
            let around = Surroundings {
                terminal_width,
                ..terminal()
            };
            assert_eq!(Style::choose(ColorChoice::Never, &around).width, 100);
        }
    }

    #[test]
    fn a_pipe_is_plain_and_unlimited() {
        let around = Surroundings {
            terminal: false,
            terminal_width: None,
            ..terminal()
        };
        assert_eq!(
            Style::choose(ColorChoice::Auto, &around),
            Style::plain(Style::UNLIMITED)
        );
    }

    #[test]
    fn columns_wins_where_it_is_a_number() {
        for (columns, width) in [("90", 90), ("0", 132), ("wide", 132), ("", 132)] {
            let around = Surroundings {
                columns: Some(columns.to_owned()),
                ..terminal()
            };
            assert_eq!(Style::choose(ColorChoice::Never, &around).width, width);
        }
    }

    #[test]
    fn no_color_and_dumb_terminals_are_respected_unless_colour_is_asked_for() {
        for around in [
            Surroundings {
                no_color: true,
                ..terminal()
            },
            Surroundings {
                dumb: true,
                ..terminal()
            },
        ] {
            assert!(!Style::choose(ColorChoice::Auto, &around).color);
            assert!(Style::choose(ColorChoice::Always, &around).color);
        }
        assert!(!is_set(Some(OsStr::new(""))));
        assert!(is_set(Some(OsStr::new("1"))));
    }
}
