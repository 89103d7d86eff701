//! The filter language: which connections a command is about.
//!
//! ```
//! use tcpalive_connections::Filter;
//!
//! let filter = Filter::parse("local.port = 3333 and not keepalive and idle > 10m")?;
//! assert_eq!(filter.to_string(), "local.port = 3333 and not keepalive and idle > 10m");
//! assert!(filter.selection().local_port.contains(3333));
//!
//! let error = Filter::parse("remote.prot in (80, 443)").unwrap_err();
//! assert_eq!(error.column(), 1);
//! assert!(error.to_string().ends_with("did you mean `remote.port`?"));
//! # Ok::<(), tcpalive_connections::FilterError>(())
//! ```
//!
//! # Grammar
//!
//! ```text
//! filter  = [ any ]                            blank text accepts everything
//! any     = all { ("or" | "||") all }
//! all     = unary { ("and" | "&&") unary }
//! unary   = { "not" | "!" } ( "(" any ")" | test )
//! test    = "keepalive"
//!         | field ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=") value
//!         | field "in" ( value | "(" value { "," value } ")" )
//!         | field "~" pattern
//! value   = word | quoted
//! quoted  = "'" … "'" | '"' … '"'              the quote itself is written twice
//! ```
//!
//! A word is anything without blanks, quotes and `( ) , = < > ~ ! & |`; so
//! addresses, networks, unit names and paths need no quotes. A bare pattern may
//! also hold single `|` and balanced parentheses. Keywords and the names of
//! fields, states and units are read in any case. Parentheses nest at most
//! 128 deep.
//!
//! | Field | Operators | Value |
//! |---|---|---|
//! | `state` | `= != in` | `established`, `close-wait`, … |
//! | `local.addr` `remote.addr` | `= != in` | `192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32`, `[2001:db8::1]` |
//! | `local.port` `remote.port` `port` | `= != < <= > >= in` | `443`, `8000-9000` |
//! | `pid` `uid` | `= != < <= > >= in` | a number |
//! | `netns` | `= != in` | inode number of the namespace: `4026531840`, `net:[4026531840]` |
//! | `comm` `cgroup` `container` | `= != in ~` | text; after `~` a regular expression, found anywhere in the text |
//! | `family` | `= != in` | `ipv4` `inet` `4`, `ipv6` `inet6` `6` |
//! | `keepalive` | `= !=`, or alone | `on` `true`, `off` `false` |
//! | `idle` | `= != < <= > >= in` | `250ms` `90s` `15m` `2h` `1d` |
//! | `unacked` `memory` | `= != < <= > >= in` | bytes: `1500`, `64k` = `64kB` (1000), `64KiB` (1024), M, G, T alike |
//!
//! * Ranges (`8000-9000`) and networks stand wherever one value does, save
//!   after an order: `port = 8000-9000` is `port in 8000-9000`.
//! * `port` is either port, `pid` and `comm` are those of any owner; `!=` is
//!   always the negation of `=`: `port != 80` has neither port 80.
//! * An IPv4 network holds IPv4 addresses alone, an IPv6 network IPv6 ones
//!   alone: `::/0` is all of IPv6. v4-mapped addresses are IPv4.
//! * `container` is the id in the cgroup's path (see
//!   [`cgroup`](crate::cgroup)), and empty for what runs in none:
//!   `container != ''`. `idle` is the time since the peer was last heard.
//! * The regular expressions are those of the crate
//!   [regex](https://docs.rs/regex/#syntax).
//!
//! # What is unknown
//!
//! A comparison with what is not known (the idle time of a listener;
//! keep-alive, where the kernel cannot be asked for it) is neither true nor
//! false, and neither is its negation. `and`, `or` and `not` follow Kleene: an
//! unknown decides nothing that the other side does not decide alone. Only
//! what is true is selected, so that `not keepalive` never takes in a
//! connection on a guess.

mod ast;
mod display;
mod error;
mod evaluation;
mod lexer;
mod parser;
mod pushdown;
mod value;

pub use error::FilterError;

use crate::{Selection, StateSet, View};
use ast::{Expr, Field, Number, Numbers, Ranges, Test, Text};
use std::fmt;

/// Which connections a command is about. The language is described in the
/// [module's page](self).
///
/// `Display` writes it so that [`Filter::parse`] reads an equivalent filter.
#[derive(Debug, Clone)]
pub struct Filter {
    expr: Expr,
}

impl Filter {
    /// Reads a filter. Empty or blank text accepts everything.
    ///
    /// # Errors
    ///
    /// The text is no filter: the error says where, what was found and what
    /// was expected.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parser::parse(text).map(|expr| Self { expr })
    }

    /// Accepts every connection.
    #[must_use]
    pub const fn everything() -> Self {
        Self {
            expr: Expr::All(Vec::new()),
        }
    }

    /// Accepts the states of the set.
    #[must_use]
    pub fn for_state(states: StateSet) -> Self {
        let expr = if states.is_empty() {
            Expr::Test(Test::State(StateSet::ALL)).negated()
        } else {
            Expr::Test(Test::State(states))
        };
        Self { expr }
    }

    /// Accepts connections with this local or remote port.
    #[must_use]
    pub fn for_port(port: u16) -> Self {
        Self::for_number(Number::Port, port.into())
    }

    /// Accepts connections that this process holds.
    #[must_use]
    pub fn for_pid(pid: u32) -> Self {
        Self::for_number(Number::Pid, pid.into())
    }

    fn for_number(field: Number, number: u64) -> Self {
        let numbers = Numbers::In(Ranges::new([(number, number)]));
        Self {
            expr: Expr::Test(Test::Number(field, numbers)),
        }
    }

    /// Accepts what both accept.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            expr: Expr::all([self.expr, other.expr]),
        }
    }

    /// Whether the connection is one of those that the filter describes, as
    /// far as is known. Allocates nothing.
    #[must_use]
    pub fn matches(&self, view: &View<'_>) -> bool {
        self.expr.evaluate(view) == Some(true)
    }

    /// Whether the filter speaks of `state`. Where it does not, commands add
    /// `state = established`.
    #[must_use]
    pub fn mentions_state(&self) -> bool {
        self.expr.mentions(&|field| field == Field::State)
    }

    /// Whether [`Filter::matches`] looks at the owners.
    #[must_use]
    pub fn needs_owners(&self) -> bool {
        self.expr.mentions(&|field| {
            matches!(field, Field::Number(Number::Pid) | Field::Text(Text::Comm))
        })
    }

    /// Whether [`Filter::matches`] looks at the cgroup's path.
    #[must_use]
    pub fn needs_cgroup(&self) -> bool {
        self.expr
            .mentions(&|field| matches!(field, Field::Text(Text::Cgroup | Text::Container)))
    }

    /// A condition for the kernel: it accepts whatever the filter accepts, and
    /// as little else as it can.
    #[must_use]
    pub fn selection(&self) -> Selection {
        pushdown::push(&self.expr, true).selection()
    }

    /// Whether [`Filter::selection`] accepts just what the filter accepts, so
    /// that [`Filter::matches`] need not be asked. May be `false` where it
    /// could be `true`, never the other way round.
    #[must_use]
    pub fn is_exactly_selected(&self) -> bool {
        pushdown::push(&self.expr, true).is_exact()
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::everything()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}
