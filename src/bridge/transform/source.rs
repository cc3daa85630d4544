//! What can be told of a template by looking at its text, without understanding it. Whatever is in doubt is told in the
//! way that is safe: then the engine does the work, over all of the message.

use super::program::Language;

/// A piece of a template that needs no engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment<'s> {
    Text(&'s str),
    /// Names with dots between them.
    Field(&'s str),
}

/// Words of the language that are no names.
const RESERVED: [&str; 18] = [
    "and",
    "else",
    "false",
    "False",
    "if",
    "in",
    "is",
    "loop",
    "none",
    "None",
    "not",
    "null",
    "or",
    "recursive",
    "self",
    "super",
    "true",
    "True",
];

/// The segments of a template of nothing but texts and fields.
pub(super) fn fields(source: &str) -> Option<Vec<Segment<'_>>> {
    if source.contains("{%") || source.contains("{#") {
        return None;
    }
    let mut segments = Vec::new();
    let mut rest = source;
    while let Some((text, behind)) = rest.split_once("{{") {
        let (expression, behind) = behind.split_once("}}")?;
        let expression = expression.trim_matches([' ', '\t']);
        if !expression.split('.').all(is_name) {
            return None;
        }
        if !text.is_empty() {
            segments.push(Segment::Text(text));
        }
        segments.push(Segment::Field(expression));
        rest = behind;
    }
    if !rest.is_empty() {
        segments.push(Segment::Text(rest));
    }
    Some(segments)
}

fn is_name(word: &str) -> bool {
    let mut bytes = word.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(is_word)
        && !RESERVED.contains(&word)
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The source with everything that is no code (text between braces, comments, what is in quotes) as blanks, at the same
/// offsets.
pub(super) fn code(source: &str, language: Language) -> String {
    let mut code = vec![b' '; source.len()];
    let mut inside = language == Language::Condition;
    let mut quote = None;
    let bytes = source.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = (byte, bytes.get(at + 1).copied().unwrap_or(0));
        if let Some(open) = quote {
            match byte {
                b'\\' => at += 1,
                _ if byte == open => quote = None,
                _ => {}
            }
        } else if !inside && pair == (b'{', b'#') {
            let behind = source.get(at..).and_then(|rest| rest.find("#}"));
            at = behind.map_or(bytes.len(), |behind| at + behind + 1);
        } else if !inside && matches!(pair, (b'{', b'{' | b'%')) {
            inside = true;
            at += 1;
        } else if inside && language == Language::Template && matches!(pair, (b'}' | b'%', b'}')) {
            inside = false;
            at += 1;
        } else if inside && matches!(byte, b'"' | b'\'') {
            quote = Some(byte);
            // Something was there: what is before and behind it does not belong together.
            set(&mut code, at, b'"');
        } else if inside && byte.is_ascii() {
            set(&mut code, at, byte);
        }
        at += 1;
    }
    String::from_utf8(code).unwrap_or_default()
}

fn set(code: &mut [u8], at: usize, byte: u8) {
    if let Some(place) = code.get_mut(at) {
        *place = byte;
    }
}

/// The words of code with their offsets, and every other character but blanks as a word of its own.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = code.get(at..)?;
        let start = at + rest.find(|letter: char| !letter.is_ascii_whitespace())?;
        let rest = code.get(start..)?;
        let len = rest.bytes().take_while(|byte| is_word(*byte)).count().max(1);
        at = start + len;
        code.get(start..at).map(|word| (start, word))
    })
}

/// Names of filters (`true`) and tests (`false`) with their offsets.
pub(super) fn filters_and_tests(code: &str) -> Vec<(&str, usize, bool)> {
    let words: Vec<_> = words(code).collect();
    let mut names = Vec::new();
    for pair in words.windows(3) {
        let [(_, first), (second_at, second), (third_at, third)] = pair else { continue };
        match *first {
            "|" if is_name(second) => names.push((*second, *second_at, true)),
            "is" if *second == "not" && is_name(third) => names.push((*third, *third_at, false)),
            "is" if is_name(second) => names.push((*second, *second_at, false)),
            _ => {}
        }
    }
    if let [.., (_, first), (at, second)] = words.as_slice()
        && is_name(second)
    {
        match *first {
            "|" => names.push((*second, *at, true)),
            "is" => names.push((*second, *at, false)),
            _ => {}
        }
    }
    names
}

/// Whether code asks if `body` is there at all: `body is defined`, `body is not undefined` and the like.
pub(super) fn asks_for_body(code: &str) -> bool {
    let words: Vec<_> = words(code).map(|(_, word)| word).collect();
    let is_body =
        |at: usize| words.get(at) == Some(&"body") && words.get(at.wrapping_sub(1)) != Some(&".");
    (0..words.len()).filter(|at| is_body(*at)).any(|at| {
        matches!(
            words.get(at + 1..).unwrap_or_default(),
            ["is", "defined" | "undefined", ..] | ["is", "not", "defined" | "undefined", ..]
        )
    })
}

/// Whether all that is read of a variable can be told from its paths: no statement that gives names to values, and no
/// method, which looks at the whole of what it is called on.
pub(super) fn has_plain_paths(source: &str) -> bool {
    const PLAIN: [&str; 4] = ["if", "elif", "else", "endif"];
    let mut rest = source;
    while let Some((_, behind)) = rest.split_once("{%") {
        let statement = behind.trim_start_matches(['-', '+']).trim_start();
        let len = statement.bytes().take_while(|byte| is_word(*byte)).count();
        if !statement.get(..len).is_some_and(|word| PLAIN.contains(&word)) {
            return false;
        }
        rest = behind;
    }
    // A name behind a dot with a parenthesis behind it, even where it is only text.
    let words: Vec<_> = words(source).collect();
    !words.windows(3).any(|triple| {
        matches!(triple, [(_, "."), (_, name), (_, "(")] if is_word(name.bytes().next().unwrap_or(0)))
    })
}

/// Whether `word` is somewhere in the source as a word of its own.
pub(super) fn has_word(source: &str, word: &str) -> bool {
    words(source).any(|(_, found)| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_fields_need_no_engine() {
        assert_eq!(
            fields("a.{{ body.x_1.y }}-{{topic}}"),
            Some(vec![
                Segment::Text("a."),
                Segment::Field("body.x_1.y"),
                Segment::Text("-"),
                Segment::Field("topic"),
            ])
        );
        for source in [
            "{{ body.x | lower }}",
            "{{- body.x }}",
            "{{ body.x() }}",
            "{{ body[0] }}",
            "{{ body.0 }}",
            "{{ body. }}",
            "{{ not }}",
            "{{ body.x",
            "{{ '}}' }}",
            "{{ x }}{% if x %}{% endif %}",
            "{{ x }}{# y #}",
        ] {
            assert_eq!(fields(source), None, "{source}");
        }
    }

    #[test]
    fn code_is_what_is_in_braces_and_not_in_quotes() {
        let code = code(
            "a | b {{ c | d('e | f\\' }}') }} g {# h | i #}{% if j is k %}",
            Language::Template,
        );
        let names: Vec<_> = filters_and_tests(&code).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["d", "k"]);
        let code = super::code("a is not b and c|d == '| e'", Language::Condition);
        assert_eq!(filters_and_tests(&code), [("b", 9, false), ("d", 17, true)]);
    }

    #[test]
    fn a_question_for_the_body_is_seen() {
        for (source, expected) in [
            ("body is defined and body.x", true),
            ("body  is  not undefined", true),
            ("body.x is defined", false),
            ("headers.body is defined", false),
            ("'body is defined' == topic", false),
        ] {
            assert_eq!(asks_for_body(&code(source, Language::Condition)), expected, "{source}");
        }
    }

    #[test]
    fn statements_and_methods_are_not_plain() {
        for (source, expected) in [
            ("{{ body.x | default(topic) }}", true),
            ("{% if body.x %}{% elif body.y %}{% else %}{%- endif -%}", true),
            ("{% set x = body %}", false),
            ("{{ body.x.items () }}", false),
            ("{% filter upper %}{% endfilter %}", false),
            ("body.x == (1)", true),
        ] {
            assert_eq!(has_plain_paths(source), expected, "{source}");
        }
        assert!(has_word("{{ bodyx.body }}", "body") && !has_word("{{ bodyx }}", "body"));
    }
}
