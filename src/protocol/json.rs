//! JSON as Go's `encoding/json` writes it, for answers that are compared byte for byte.

/// Escapes what Go escapes so that its JSON can be put into a web page. `json` is JSON already: these characters occur
/// inside its strings only.
#[must_use]
pub fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for next in json.chars() {
        match next {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            _ => escaped.push(next),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_would_take_for_its_own_is_escaped() {
        let json = serde_json::json!({ "a": "<b>&\u{2028}\u{2029}ü\"" }).to_string();
        assert_eq!(escaped(&json), r#"{"a":"\u003cb\u003e\u0026\u2028\u2029ü\""}"#);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&escaped(&json)).unwrap()["a"],
            "<b>&\u{2028}\u{2029}ü\""
        );
    }
}
