//! Reads expressions. `or` binds least, then `and`, comparisons, `+` and `-`, `*` and `/`.

use std::time::Duration;

use super::{Node, Operator, Selection};

/// What stands before each metric's name.
const PREFIX: &str = "leveret_";
/// How deep brackets may be.
const DEPTH_MAX: u32 = 32;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct ExpressionError {
    /// Characters before it, plus one.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

/// Reads a whole expression.
pub(super) fn parse(text: &str) -> Result<Node, ExpressionError> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let node = parser.or()?;
    parser.blanks();
    if parser.rest().is_empty() {
        Ok(node)
    } else {
        Err(parser.wrong("expected an operator or the end"))
    }
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn wrong(&self, message: impl Into<String>) -> ExpressionError {
        let before = self.text.get(..self.at).unwrap_or_default();
        let found = match self.rest().chars().next() {
            Some(found) => format!(", found {found:?}"),
            None => ", found the end".to_owned(),
        };
        ExpressionError { column: before.chars().count() + 1, message: message.into() + &found }
    }

    /// Takes `symbol` if it comes next.
    fn takes(&mut self, symbol: &str) -> bool {
        self.blanks();
        let is_next = self.rest().starts_with(symbol);
        if is_next {
            self.at += symbol.len();
        }
        is_next
    }

    /// Takes a word that is one of its own.
    fn takes_word(&mut self, word: &str) -> bool {
        self.blanks();
        let after = self.rest().strip_prefix(word);
        let is_next = after.is_some_and(|rest| !rest.starts_with(is_of_name));
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    fn expect(&mut self, symbol: &str) -> Result<(), ExpressionError> {
        if self.takes(symbol) { Ok(()) } else { Err(self.wrong(format!("expected {symbol:?}"))) }
    }

    fn or(&mut self) -> Result<Node, ExpressionError> {
        let mut node = self.and()?;
        while self.takes_word("or") {
            node = Node::Binary(Operator::Or, Box::new(node), Box::new(self.and()?));
        }
        Ok(node)
    }

    fn and(&mut self) -> Result<Node, ExpressionError> {
        let mut node = self.comparison()?;
        while self.takes_word("and") {
            node = Node::Binary(Operator::And, Box::new(node), Box::new(self.comparison()?));
        }
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node, ExpressionError> {
        let node = self.sum()?;
        let operators = [
            (">=", Operator::AtLeast),
            ("<=", Operator::AtMost),
            ("==", Operator::Is),
            ("!=", Operator::IsNot),
            (">", Operator::Above),
            ("<", Operator::Below),
        ];
        for (symbol, operator) in operators {
            if self.takes(symbol) {
                return Ok(Node::Binary(operator, Box::new(node), Box::new(self.sum()?)));
            }
        }
        Ok(node)
    }

    fn sum(&mut self) -> Result<Node, ExpressionError> {
        let mut node = self.product()?;
        loop {
            let operator = if self.takes("+") {
                Operator::Plus
            } else if self.takes("-") {
                Operator::Minus
            } else {
                return Ok(node);
            };
            node = Node::Binary(operator, Box::new(node), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Node, ExpressionError> {
        let mut node = self.unary()?;
        loop {
            let operator = if self.takes("*") {
                Operator::Times
            } else if self.takes("/") {
                Operator::Per
            } else {
                return Ok(node);
            };
            node = Node::Binary(operator, Box::new(node), Box::new(self.unary()?));
        }
    }

    fn unary(&mut self) -> Result<Node, ExpressionError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong("nested too deeply"));
        }
        let node = if self.takes("-") {
            Node::Negate(Box::new(self.unary()?))
        } else if self.takes("(") {
            let inner = self.or()?;
            self.expect(")")?;
            inner
        } else {
            self.term()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn term(&mut self) -> Result<Node, ExpressionError> {
        self.blanks();
        if self.rest().starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return self.number().map(Node::Number);
        }
        if self.takes_word("rate") {
            self.expect("(")?;
            let selection = self.selection()?;
            self.expect(",")?;
            let span = self.span()?;
            self.expect(")")?;
            return Ok(Node::Rate(selection, span));
        }
        self.selection().map(Node::Select)
    }

    fn word(&mut self, what: &str) -> Result<&'a str, ExpressionError> {
        self.blanks();
        let rest = self.rest();
        let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        match rest.get(..end).filter(|word| !word.is_empty()) {
            Some(word) => {
                self.at += end;
                Ok(word)
            }
            None => Err(self.wrong(format!("expected {what}"))),
        }
    }

    /// A number, with a unit of bytes if it has one.
    fn number(&mut self) -> Result<f64, ExpressionError> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = rest.get(..end).and_then(|digits| digits.parse::<f64>().ok());
        let number = number.ok_or_else(|| self.wrong("expected a number"))?;
        self.at += end;
        let units = [("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0)];
        let unit = units.into_iter().find(|(unit, _)| self.takes(unit));
        Ok(number * unit.map_or(1.0, |(_, factor)| factor))
    }

    /// A span of time, such as `5m`.
    fn span(&mut self) -> Result<Duration, ExpressionError> {
        self.blanks();
        let begin = self.at;
        let number = self.number()?;
        let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let unit = units.into_iter().find(|(unit, _)| self.takes_word(unit));
        let seconds = unit.map(|(_, factor)| number * factor);
        match seconds.filter(|seconds| (10.0..=3600.0).contains(seconds)) {
            Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
            None => {
                self.at = begin;
                Err(self.wrong("expected a span of 10s to 1h, such as 5m"))
            }
        }
    }

    fn selection(&mut self) -> Result<Selection, ExpressionError> {
        let name = self.word("a metric such as depth, a number, rate or a bracket")?;
        let begin = self.at - name.len();
        let mut labels = Vec::new();
        if self.takes("(") && !self.takes(")") {
            loop {
                let label = self.word("a label's name")?;
                self.expect("=")?;
                labels.push((label.to_owned(), self.quoted()?));
                if self.takes(")") {
                    break;
                }
                self.expect(",")?;
            }
        }
        let metric = meant(name, &labels).ok_or_else(|| {
            self.at = begin;
            self.wrong(format!("\"{name}\" is not a metric; docs/metrics.md has them"))
        })?;
        Ok(Selection { metric, labels })
    }

    fn quoted(&mut self) -> Result<String, ExpressionError> {
        self.expect("\"")?;
        let rest = self.rest();
        let Some(end) = rest.find('"') else {
            return Err(self.wrong("expected a text with a quote at its end"));
        };
        self.at += end + 1;
        Ok(rest.get(..end).unwrap_or_default().to_owned())
    }
}

const fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The metric that a short name means; `None` if it is none.
fn meant(name: &str, labels: &[(String, String)]) -> Option<String> {
    let has_channel = labels.iter().any(|(label, _)| label == "channel");
    let short = match name {
        "depth" if has_channel => "channel_depth",
        "depth" => "topic_depth",
        "in_flight" => "channel_in_flight",
        "deferred" => "channel_deferred",
        "lag" => "route_lag",
        "pending" => "route_pending",
        "dead_letters" => "route_dead_lettered_total",
        "disk_free" => "disk_free_bytes",
        other => other.strip_prefix(PREFIX).unwrap_or(other),
    };
    let metric = format!("{PREFIX}{short}");
    crate::telemetry::figures::is_known(&metric).then_some(metric)
}
