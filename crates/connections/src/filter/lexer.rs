//! From text to tokens.
//!
//! The parser asks for one token at a time, because a pattern after `~` is
//! read by its own rule.

use super::FilterError;
use super::ast::Operator;
use std::borrow::Cow;
use std::ops::Range;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind<'t>,
    /// Where it stands, in bytes.
    pub(super) span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind<'t> {
    Word(&'t str),
    Quoted(Cow<'t, str>),
    Operator(Operator),
    And,
    Or,
    Not,
    Open,
    Close,
    Comma,
    End,
}

/// Characters that end a bare word. All others may be part of one: addresses,
/// networks, unit names and paths need no quotes.
pub(super) fn ends_word(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '(' | ')' | ',' | '=' | '<' | '>' | '~' | '!' | '&' | '|' | '\'' | '"'
        )
}

/// The keyword that a bare word is, in any case.
pub(super) fn keyword(word: &str) -> Option<Kind<'static>> {
    [
        ("and", Kind::And),
        ("or", Kind::Or),
        ("not", Kind::Not),
        ("in", Kind::Operator(Operator::In)),
    ]
    .into_iter()
    .find_map(|(name, kind)| name.eq_ignore_ascii_case(word).then_some(kind))
}

#[derive(Debug)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    position: usize,
}

impl<'t> Lexer<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self { text, position: 0 }
    }

    pub(super) const fn text(&self) -> &'t str {
        self.text
    }

    /// The next token.
    pub(super) fn token(&mut self) -> Result<Token<'t>, FilterError> {
        use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual, Matches, NotEqual};
        // Longer symbols before those that they begin with.
        const SYMBOLS: [(&str, Kind<'static>); 14] = [
            ("==", Kind::Operator(Equal)),
            ("!=", Kind::Operator(NotEqual)),
            ("<=", Kind::Operator(LessEqual)),
            (">=", Kind::Operator(GreaterEqual)),
            ("&&", Kind::And),
            ("||", Kind::Or),
            ("=", Kind::Operator(Equal)),
            ("<", Kind::Operator(Less)),
            (">", Kind::Operator(Greater)),
            ("~", Kind::Operator(Matches)),
            ("!", Kind::Not),
            ("(", Kind::Open),
            (")", Kind::Close),
            (",", Kind::Comma),
        ];
        let rest = self.skip_blank();
        let Some(first) = rest.chars().next() else {
            return Ok(self.take(0, Kind::End));
        };
        if matches!(first, '\'' | '"') {
            return self.quoted(first);
        }
        if let Some((symbol, kind)) = SYMBOLS
            .into_iter()
            .find(|(symbol, _)| rest.starts_with(symbol))
        {
            return Ok(self.take(symbol.len(), kind));
        }
        if matches!(first, '&' | '|') {
            return Err(self.error(1, &format!("found `{first}`, expected `{first}{first}`")));
        }
        let length = rest.find(ends_word).unwrap_or(rest.len());
        let word = &rest[..length];
        Ok(self.take(length, keyword(word).unwrap_or(Kind::Word(word))))
    }

    /// The next token where a regular expression is expected. A bare one ends
    /// at a blank or where the filter goes on, and may hold single `|` and
    /// balanced parentheses.
    pub(super) fn pattern(&mut self) -> Result<Token<'t>, FilterError> {
        let rest = self.skip_blank();
        let mut depth = 0_usize;
        let mut length = rest.len();
        let mut characters = rest.char_indices().peekable();
        while let Some((at, c)) = characters.next() {
            let ends = match c {
                '\\' => {
                    // The next character stands for itself, unless it is a blank.
                    characters.next_if(|(_, escaped)| !escaped.is_whitespace());
                    false
                }
                '(' => {
                    depth += 1;
                    false
                }
                ')' if depth > 0 => {
                    depth -= 1;
                    false
                }
                '|' => rest[at..].starts_with("||"),
                c => ends_word(c),
            };
            if ends {
                length = at;
                break;
            }
        }
        let word = &rest[..length];
        if length == 0 || keyword(word).is_some() {
            return self.token();
        }
        Ok(self.take(length, Kind::Word(word)))
    }

    /// Text between quotes. The quote itself is written twice; nothing else
    /// is special, so that regular expressions keep their backslashes.
    fn quoted(&mut self, quote: char) -> Result<Token<'t>, FilterError> {
        let body = &self.text[self.position + 1..];
        let mut from = 0;
        loop {
            let Some(found) = body[from..].find(quote) else {
                return Err(self.error(
                    1,
                    &format!("found a {quote} that is never closed, expected another {quote}"),
                ));
            };
            let end = from + found;
            if !body[end + 1..].starts_with(quote) {
                let raw = &body[..end];
                let text = if raw.contains(quote) {
                    let quote = String::from(quote);
                    Cow::Owned(raw.replace(&quote.repeat(2), &quote))
                } else {
                    Cow::Borrowed(raw)
                };
                return Ok(self.take(end + 2, Kind::Quoted(text)));
            }
            from = end + 2;
        }
    }

    fn skip_blank(&mut self) -> &'t str {
        let rest = &self.text[self.position..];
        let trimmed = rest.trim_start();
        self.position += rest.len() - trimmed.len();
        trimmed
    }

    fn take(&mut self, length: usize, kind: Kind<'t>) -> Token<'t> {
        let start = self.position;
        self.position += length;
        Token {
            kind,
            span: start..self.position,
        }
    }

    fn error(&self, length: usize, message: &str) -> FilterError {
        FilterError::new(
            self.text,
            self.position..self.position + length,
            message.to_owned(),
        )
    }
}
