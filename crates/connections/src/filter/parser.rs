//! From tokens to a tree.

use super::FilterError;
use super::ast::{Expr, Field, Numbers, Operator, Ranges, Test, Texts};
use super::error::{nearest, quote};
use super::lexer::{Kind, Lexer, Token};
use super::value::{self, Mismatch};
use crate::{State, StateSet};
use std::net::IpAddr;

/// Parentheses within parentheses. Everything that walks a tree recurses as
/// deep as this, and no deeper.
const DEEPEST: usize = 128;

/// Names that other tools have for our fields.
const SYNONYMS: [(&str, &str); 14] = [
    ("addr", "remote.addr"),
    ("cmd", "comm"),
    ("dport", "remote.port"),
    ("dst", "remote.addr"),
    ("host", "remote.addr"),
    ("local", "local.addr"),
    ("name", "comm"),
    ("ns", "netns"),
    ("process", "comm"),
    ("remote", "remote.addr"),
    ("sport", "local.port"),
    ("src", "local.addr"),
    ("unit", "cgroup"),
    ("user", "uid"),
];

/// The tree that the text describes; blank text is the empty conjunction.
pub(super) fn parse(text: &str) -> Result<Expr, FilterError> {
    let mut parser = Parser {
        lexer: Lexer::new(text),
        peeked: None,
        depth: 0,
    };
    if parser.peek()?.kind == Kind::End {
        return Ok(Expr::All(Vec::new()));
    }
    let expr = parser.any()?;
    let token = parser.next()?;
    match token.kind {
        Kind::End => Ok(expr),
        _ => Err(parser.unexpected(&token, "`and`, `or` or the end of the filter")),
    }
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    peeked: Option<Token<'t>>,
    /// Parentheses that are open.
    depth: usize,
}

impl<'t> Parser<'t> {
    fn any(&mut self) -> Result<Expr, FilterError> {
        let mut terms = vec![self.all()?];
        while self.peek()?.kind == Kind::Or {
            self.next()?;
            terms.push(self.all()?);
        }
        Ok(Expr::any(terms))
    }

    fn all(&mut self) -> Result<Expr, FilterError> {
        let mut terms = vec![self.unary()?];
        while self.peek()?.kind == Kind::And {
            self.next()?;
            terms.push(self.unary()?);
        }
        Ok(Expr::all(terms))
    }

    fn unary(&mut self) -> Result<Expr, FilterError> {
        // Counted, not nested: `not not not …` may be as long as it likes.
        let mut negated = false;
        while self.peek()?.kind == Kind::Not {
            self.next()?;
            negated = !negated;
        }
        let expr = if self.peek()?.kind == Kind::Open {
            self.group()?
        } else {
            self.test()?
        };
        Ok(if negated { expr.negated() } else { expr })
    }

    fn group(&mut self) -> Result<Expr, FilterError> {
        let open = self.next()?;
        if self.depth == DEEPEST {
            let message = format!("found more than {DEEPEST} parentheses within each other");
            return Err(self.error(&open, message));
        }
        self.depth += 1;
        let expr = self.any()?;
        let close = self.next()?;
        if close.kind != Kind::Close {
            return Err(self.unexpected(&close, "`and`, `or` or `)`"));
        }
        self.depth -= 1;
        Ok(expr)
    }

    fn test(&mut self) -> Result<Expr, FilterError> {
        let token = self.next()?;
        let Kind::Word(word) = token.kind else {
            let fields = field_names();
            return Err(self.unexpected(&token, &format!("a field ({fields}), `not` or `(`")));
        };
        let Some(field) = Field::named(word) else {
            return Err(self.unknown_field(&token, word));
        };
        if field == Field::KeepAlive && !matches!(self.peek()?.kind, Kind::Operator(_)) {
            return Ok(Expr::Test(Test::KeepAlive));
        }
        let operator = self.operator(field)?;
        let expr = match field {
            Field::State => {
                let states = self
                    .values(operator, value::state)?
                    .into_iter()
                    .map(StateSet::of);
                Expr::Test(Test::State(states.fold(StateSet::NONE, StateSet::union)))
            }
            Field::Family => Expr::Test(Test::Family(self.values(operator, value::family)?)),
            Field::Address(end) => {
                Expr::Test(Test::Address(end, self.values(operator, value::network)?))
            }
            Field::KeepAlive => {
                let test = Expr::Test(Test::KeepAlive);
                if self.value(value::switch)? {
                    test
                } else {
                    test.negated()
                }
            }
            Field::Number(number) => {
                let numbers = match operator.order() {
                    Some(order) => {
                        Numbers::Compare(order, self.value(|word| value::number(number, word))?)
                    }
                    None => Numbers::In(Ranges::new(
                        self.values(operator, |word| value::range(number, word))?,
                    )),
                };
                Expr::Test(Test::Number(number, numbers))
            }
            Field::Text(text) if operator == Operator::Matches => {
                Expr::Test(Test::Text(text, self.pattern()?))
            }
            Field::Text(text) => {
                let texts = self.values(operator, |word| value::text(text, word))?;
                Expr::Test(Test::Text(text, Texts::OneOf(texts)))
            }
        };
        Ok(if operator == Operator::NotEqual {
            expr.negated()
        } else {
            expr
        })
    }

    fn operator(&mut self, field: Field) -> Result<Operator, FilterError> {
        let token = self.next()?;
        match token.kind {
            Kind::Operator(operator) if field.operators().contains(&operator) => Ok(operator),
            _ => {
                let names: Vec<_> = field.operators().iter().map(|one| one.name()).collect();
                let expected = format!(
                    "an operator that `{}` has ({})",
                    field.name(),
                    names.join(" ")
                );
                Err(self.unexpected(&token, &expected))
            }
        }
    }

    /// One value or, after `in`, also a list of them.
    fn values<T>(
        &mut self,
        operator: Operator,
        parse: impl Fn(&str) -> Result<T, Mismatch>,
    ) -> Result<Vec<T>, FilterError> {
        if operator != Operator::In || self.peek()?.kind != Kind::Open {
            return Ok(vec![self.value(parse)?]);
        }
        self.next()?;
        let mut values = vec![self.value(&parse)?];
        loop {
            let token = self.next()?;
            match token.kind {
                Kind::Comma => values.push(self.value(&parse)?),
                Kind::Close => return Ok(values),
                _ => return Err(self.unexpected(&token, "`,` or `)`")),
            }
        }
    }

    fn value<T>(&mut self, parse: impl Fn(&str) -> Result<T, Mismatch>) -> Result<T, FilterError> {
        let token = self.next()?;
        let parsed = match &token.kind {
            Kind::Word(word) => parse(word),
            Kind::Quoted(text) => parse(text),
            _ => return Err(self.unexpected(&token, "a value")),
        };
        parsed.map_err(|mismatch| self.mismatch(&token, &mismatch))
    }

    fn pattern(&mut self) -> Result<Texts, FilterError> {
        debug_assert!(
            self.peeked.is_none(),
            "the operator was the last token taken"
        );
        let token = self.lexer.pattern()?;
        let pattern = match &token.kind {
            Kind::Word(word) => value::pattern(word, true),
            Kind::Quoted(text) => value::pattern(text, false),
            _ => return Err(self.unexpected(&token, "a regular expression")),
        };
        pattern
            .map(Texts::Matching)
            .map_err(|mismatch| self.mismatch(&token, &mismatch))
    }

    fn peek(&mut self) -> Result<&Token<'t>, FilterError> {
        let token = match self.peeked.take() {
            Some(token) => token,
            None => self.lexer.token()?,
        };
        Ok(self.peeked.insert(token))
    }

    fn next(&mut self) -> Result<Token<'t>, FilterError> {
        match self.peeked.take() {
            Some(token) => Ok(token),
            None => self.lexer.token(),
        }
    }

    fn error(&self, token: &Token<'_>, message: String) -> FilterError {
        FilterError::new(self.lexer.text(), token.span.clone(), message)
    }

    fn found(&self, token: &Token<'_>) -> String {
        match token.kind {
            Kind::End => "the end of the filter".to_owned(),
            _ => quote(&self.lexer.text()[token.span.clone()]),
        }
    }

    fn unexpected(&self, token: &Token<'_>, expected: &str) -> FilterError {
        self.error(
            token,
            format!("found {}, expected {expected}", self.found(token)),
        )
    }

    fn mismatch(&self, token: &Token<'_>, mismatch: &Mismatch) -> FilterError {
        let Mismatch { expected, hint } = mismatch;
        match hint {
            Some(hint) => self.unexpected(token, &format!("{expected}; {hint}")),
            None => self.unexpected(token, expected),
        }
    }

    fn unknown_field(&self, token: &Token<'_>, word: &str) -> FilterError {
        let synonym = SYNONYMS
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word));
        let meant = if let Some((_, field)) = synonym {
            Some(field.to_owned())
        } else if let Some(near) = nearest(word, Field::ALL.map(Field::name)) {
            Some(near.to_owned())
        } else if let Ok(state) = word.parse::<State>() {
            Some(format!("state = {state}"))
        } else if word.parse::<u16>().is_ok() {
            Some(format!("port = {word}"))
        } else if word.parse::<IpAddr>().is_ok() {
            Some(format!("remote.addr = {word}"))
        } else {
            None
        };
        let hint = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
        self.unexpected(token, &format!("a field ({}){hint}", field_names()))
    }
}

fn field_names() -> String {
    Field::ALL.map(Field::name).join(", ")
}
