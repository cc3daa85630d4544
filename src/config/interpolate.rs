//! `${NAME}` and `${NAME:-default}` in values.

use std::ffi::OsString;

/// Looks a name up in the environment; `None` if it is not set.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process.
#[must_use]
pub fn process_env(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Why a reference has no value, and the byte offset of its `${`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unresolved {
    pub(super) offset: usize,
    pub(super) reason: String,
}

/// Puts the values of environment variables in place of their names; `None` if `text` names none.
///
/// As in a shell, an empty variable takes the default too, if there is one. `$${` stands for a literal `${`.
pub(super) fn interpolate(text: &str, env: Env<'_>) -> Result<Option<String>, Unresolved> {
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let offset = text.len() - rest.len() + start;
        let (before, from_reference) = rest.split_at(start);
        if let Some(escaped) = before.strip_suffix('$') {
            result.push_str(escaped);
            result.push_str("${");
            rest = from_reference.get(2..).unwrap_or_default();
            continue;
        }
        result.push_str(before);
        let inside = from_reference.get(2..).unwrap_or_default();
        let unresolved = |reason| Unresolved { offset, reason };
        let (reference, after) =
            inside.split_once('}').ok_or_else(|| unresolved("${ is not closed by }".to_owned()))?;
        result.push_str(&lookup(reference, env).map_err(unresolved)?);
        rest = after;
    }
    if rest.len() == text.len() {
        return Ok(None);
    }
    result.push_str(rest);
    Ok(Some(result))
}

fn lookup(reference: &str, env: Env<'_>) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if !is_name {
        return Err(format!(
            "\"{name}\" is not the name of an environment variable; write ${{NAME}} or ${{NAME:-default}}, \
             and $${{ for a literal ${{"
        ));
    }
    let value = env(name)
        .map(OsString::into_string)
        .transpose()
        .map_err(|_| format!("environment variable {name} is not UTF-8"))?;
    match (value, default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "environment variable {name} is not set; set it, or give a default as ${{{name}:-default}}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<OsString> {
        match name {
            "HOST" => Some("rabbit".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced() {
        for (text, expected) in [
            ("plain $HOME {x}", None),
            ("${HOST}", Some("rabbit")),
            ("a${HOST}b${HOST}c", Some("arabbitbrabbitc")),
            ("${PORT:-5672}", Some("5672")),
            ("${EMPTY:-x}${EMPTY}", Some("x")),
            ("${PORT:-}", Some("")),
            ("${PORT:-a:-b}", Some("a:-b")),
            ("$${HOST} ${HOST}", Some("${HOST} rabbit")),
            ("ü${HOST}", Some("ürabbit")),
        ] {
            assert_eq!(interpolate(text, &env).unwrap().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_says_why_and_where() {
        for (text, offset, reason) in [
            (
                "x${NOPE}",
                1,
                "environment variable NOPE is not set; set it, or give a default as ${NOPE:-default}",
            ),
            ("${HOST}${HO", 7, "${ is not closed by }"),
            ("${}", 0, "\"\" is not the name"),
            ("${1A}", 0, "\"1A\" is not the name"),
            ("${A B}", 0, "\"A B\" is not the name"),
        ] {
            let unresolved = interpolate(text, &env).unwrap_err();
            assert_eq!(unresolved.offset, offset, "{text}");
            assert!(unresolved.reason.contains(reason), "{}", unresolved.reason);
        }
    }
}
