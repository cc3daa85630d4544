//! Rust's text cut into words, as far as the house rules need: identifiers, strings, punctuation and lines, with
//! comments gone.

/// A word of the text and the line it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or a keyword, without `r#`.
    Word(String),
    /// What stands between the quotes, escapes as they are written.
    Text(String),
    /// One character of anything else; `::` is two of them.
    Mark(char),
}

impl Token {
    pub(crate) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }

    pub(crate) fn is_mark(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

/// Cuts `text` into tokens.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut cursor = Cursor { rest: text, line: 1 };
    let mut found = Vec::new();
    while let Some(next) = cursor.rest.chars().next() {
        let line = cursor.line;
        let kind = if next.is_whitespace() {
            cursor.skip(next.len_utf8());
            None
        } else if cursor.rest.starts_with("//") {
            cursor.skip(cursor.rest.find('\n').unwrap_or(cursor.rest.len()));
            None
        } else if cursor.rest.starts_with("/*") {
            cursor.skip_block_comment();
            None
        } else if let Some((open, hashes)) = raw_string(cursor.rest) {
            cursor.skip(open);
            Some(Kind::Text(cursor.until(&format!("\"{}", "#".repeat(hashes)))))
        } else if next == '"' || ["b\"", "c\""].iter().any(|open| cursor.rest.starts_with(open)) {
            cursor.skip(cursor.rest.find('"').unwrap_or_default() + 1);
            Some(Kind::Text(cursor.string()))
        } else if next == '\'' || cursor.rest.starts_with("b'") {
            cursor.char_or_lifetime();
            None
        } else if next.is_alphabetic() || next == '_' {
            let word = cursor.word();
            Some(Kind::Word(word))
        } else if next.is_ascii_digit() {
            // A number's suffix is no identifier.
            cursor.word();
            None
        } else {
            cursor.skip(next.len_utf8());
            Some(Kind::Mark(next))
        };
        found.extend(kind.map(|kind| Token { line, kind }));
    }
    found
}

/// For text that opens a raw string: the length of the opening, and its number of hashes.
fn raw_string(text: &str) -> Option<(usize, usize)> {
    let after = ["br", "cr", "r"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let quote = after.trim_start_matches('#');
    let hashes = after.len() - quote.len();
    quote.starts_with('"').then(|| (text.len() - quote.len() + 1, hashes))
}

struct Cursor<'a> {
    rest: &'a str,
    line: usize,
}

impl Cursor<'_> {
    fn skip(&mut self, bytes: usize) {
        let (gone, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.line += gone.matches('\n').count();
        self.rest = rest;
    }

    fn until(&mut self, end: &str) -> String {
        let at = self.rest.find(end).unwrap_or(self.rest.len());
        let text = self.rest[..at].to_owned();
        self.skip(at + end.len());
        text
    }

    /// The rest of a string whose opening quote is gone.
    fn string(&mut self) -> String {
        let mut escaped = false;
        let at = self
            .rest
            .find(|next| {
                let ends = next == '"' && !escaped;
                escaped = next == '\\' && !escaped;
                ends
            })
            .unwrap_or(self.rest.len());
        let text = self.rest[..at].to_owned();
        self.skip(at + 1);
        text
    }

    fn word(&mut self) -> String {
        if self.rest.starts_with("r#") {
            self.skip(2);
        }
        let end = self
            .rest
            .find(|next: char| !next.is_alphanumeric() && next != '_')
            .unwrap_or(self.rest.len());
        let word = self.rest[..end].to_owned();
        self.skip(end);
        word
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.skip(2);
            } else {
                let Some(next) = self.rest.chars().next() else {
                    return;
                };
                self.skip(next.len_utf8());
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Skips `'x'`, `'\n'`, `b'x'` or `'lifetime`.
    fn char_or_lifetime(&mut self) {
        self.skip(self.rest.find('\'').unwrap_or_default() + 1);
        if self.rest.starts_with('\\') {
            self.skip(2);
            self.until("'");
            return;
        }
        let mut chars = self.rest.chars();
        let first = chars.next().map_or(0, char::len_utf8);
        if chars.next() == Some('\'') {
            self.skip(first + 1);
        } else {
            self.word();
        }
    }
}

#[test]
fn comments_strings_and_lifetimes_are_told_apart() {
    let text = r####"use a::b; // use c
/* use d /* use e */ use f */ fn g<'h>(i: &'h str) -> char { '\'' }
const J: &str = "k \" l"; const M: &[u8] = br#"n " o"#; const P: char = '"'; r#type 1_u8 "#;"####;
    let found = tokens(text);
    let words: Vec<&str> = found.iter().filter_map(Token::word).collect();
    assert_eq!(words.join(" "), "use a b fn g i str char const J str const M u8 const P char type");
    let texts: Vec<_> = found
        .iter()
        .filter(|token| matches!(token.kind, Kind::Text(_)))
        .map(|token| (token.line, &token.kind))
        .collect();
    assert_eq!(texts[0], (3, &Kind::Text("k \\\" l".to_owned())));
    assert_eq!(texts[1], (3, &Kind::Text("n \" o".to_owned())));
}
