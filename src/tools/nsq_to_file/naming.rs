//! Names of files: the topic, the host, the time and a revision in a format.

use jiff::ZonedDateTime;

/// Where the revision stands in a format.
const REVISION: &str = "<REV>";
/// What is known of a date and a time, each a letter behind a `%`.
const TOKENS: &str = "BbmAadHIMSYypZz";

/// How the files of a topic are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Naming {
    /// With the time and the revision still open.
    format: String,
    datetime_format: String,
}

/// A format that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("missing <REV> in --filename-format when gzip, rotation, or work dir enabled")]
pub struct NoRevision;

/// What a format may speak of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) topic: &'a str,
    /// With `<SHORT_HOST>` and `<HOSTNAME>` in it, or empty for the short one.
    pub(super) host_identifier: &'a str,
    pub(super) hostname: &'a str,
    pub(super) pid: u32,
}

impl Naming {
    /// `has_revisions` says whether there is more than one file of a name.
    pub(super) fn new(
        format: &str,
        datetime_format: &str,
        parts: &Parts<'_>,
        is_gzip: bool,
        has_revisions: bool,
    ) -> Result<Self, NoRevision> {
        if has_revisions && !format.contains(REVISION) {
            return Err(NoRevision);
        }
        let short = parts.hostname.split('.').next().unwrap_or_default();
        let host = match parts.host_identifier {
            "" => short.to_owned(),
            identifier => {
                identifier.replace("<SHORT_HOST>", short).replace("<HOSTNAME>", parts.hostname)
            }
        };
        let mut format = format
            .replace("<TOPIC>", parts.topic)
            .replace("<HOST>", &host)
            .replace("<PID>", &parts.pid.to_string());
        if is_gzip && !format.ends_with(".gz") {
            format.push_str(".gz");
        }
        if !has_revisions {
            format = format.replace(REVISION, "");
        }
        Ok(Self { format, datetime_format: datetime_format.to_owned() })
    }

    /// The name at this time, with the revision still open.
    pub(super) fn at(&self, time: &ZonedDateTime) -> String {
        self.format.replace("<DATETIME>", &datetime(&self.datetime_format, time))
    }
}

/// A name with its revision in it.
pub(super) fn revised(name: &str, revision: u32) -> String {
    name.replace(REVISION, &format!("-{revision:06}"))
}

/// A time by a format. What is no token stays as it is.
fn datetime(format: &str, time: &ZonedDateTime) -> String {
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            None => text.push('%'),
            Some('%') => text.push('%'),
            Some(token) if TOKENS.contains(token) => {
                text.push_str(&time.strftime(&format!("%{token}")).to_string());
            }
            Some(other) => text.extend(['%', other]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: Parts<'_> =
        Parts { topic: "orders", host_identifier: "", hostname: "web-1.example.com", pid: 7 };
    const DEFAULT: &str = "<TOPIC>.<HOST><REV>.<DATETIME>.log";

    fn time() -> ZonedDateTime {
        "2026-03-04T15:06:07+01:00[+01:00]".parse().unwrap()
    }

    fn name(format: &str, parts: &Parts<'_>, is_gzip: bool, has_revisions: bool) -> String {
        let naming = Naming::new(format, "%Y-%m-%d_%H", parts, is_gzip, has_revisions).unwrap();
        naming.at(&time())
    }

    #[test]
    fn a_name_is_filled_in() {
        assert_eq!(name(DEFAULT, &PARTS, false, false), "orders.web-1.2026-03-04_15.log");
        let gzip = name(DEFAULT, &PARTS, true, true);
        assert_eq!(gzip, "orders.web-1<REV>.2026-03-04_15.log.gz");
        assert_eq!(revised(&gzip, 12), "orders.web-1-000012.2026-03-04_15.log.gz");
        assert_eq!(name("<TOPIC>/<PID><REV>.gz", &PARTS, true, true), "orders/7<REV>.gz");
        let parts = Parts { host_identifier: "<SHORT_HOST>+<HOSTNAME>", ..PARTS };
        assert_eq!(name("<HOST>", &parts, false, false), "web-1+web-1.example.com");
        assert_eq!(Naming::new("x", "", &PARTS, true, true), Err(NoRevision));
    }

    #[test]
    fn times_have_the_originals_tokens() {
        let time = time();
        assert_eq!(datetime("%Y%m%d%H%M%S", &time), "20260304150607");
        assert_eq!(
            datetime("%B %b %A %a %I%p %y %z %%", &time),
            "March Mar Wednesday Wed 03PM 26 +0100 %"
        );
        assert_eq!(datetime("%Q%j%", &time), "%Q%j%", "what is no token stays");
    }
}
