//! The body of a message that is measured with: a JSON document, so that filters and templates have something to look at.

/// What comes before the padding and after it.
const HEAD: &str =
    r#"{"kind":"order","amount":129.5,"customer":{"id":17,"vip":true},"lines":[3,14,15],"note":""#;
const TAIL: &str = r#""}"#;

/// Bytes of the smallest body that is JSON.
pub(super) const JSON_MIN: usize = HEAD.len() + TAIL.len();

/// A body of exactly `size` bytes, JSON if [`JSON_MIN`] fits.
pub(super) fn body(size: usize) -> Vec<u8> {
    match size.checked_sub(JSON_MIN) {
        Some(rest) => format!("{HEAD}{}{TAIL}", "x".repeat(rest)).into_bytes(),
        None => vec![b'x'; size],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_size_that_was_asked_for_and_is_json_if_it_can_be() {
        for size in [0, 1, JSON_MIN - 1, JSON_MIN, 200, 1024] {
            let body = body(size);
            assert_eq!(body.len(), size);
            let parsed = serde_json::from_slice::<serde_json::Value>(&body);
            assert_eq!(parsed.is_ok_and(|body| body["kind"] == "order"), size >= JSON_MIN);
        }
    }
}
