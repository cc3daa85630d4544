//! Log lines as nsqd writes them: `[nsqd] 2026/01/02 03:04:05.678901 INFO: text`. The time is UTC: what is known of the
//! machine's time zone would have to be read from files that may change.

use std::fmt::{Result, Write as _};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes an event, without the spans around it.
#[derive(Clone, Debug)]
pub(super) struct Format {
    prefix: String,
}

impl Format {
    pub(super) const fn new(prefix: String) -> Self {
        Self { prefix }
    }
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            // nsqd has nothing more detailed.
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        writer.write_str(&line(&self.prefix, level, ""))?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// One line of nsqd's log, without its end.
#[must_use]
pub fn line(prefix: &str, level: &str, text: &str) -> String {
    let mut now = String::new();
    // Writing to a string cannot fail.
    SystemTime.format_time(&mut Writer::new(&mut now)).unwrap_or_default();
    let mut line = String::from(prefix);
    for next in now.chars() {
        match next {
            '-' => line.push('/'),
            'T' => line.push(' '),
            'Z' => {}
            _ => line.push(next),
        }
    }
    write!(line, " {level}: {text}").unwrap_or_default();
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_laid_out_as_nsqds() {
        let line = line("[nsqd] ", "FATAL", "failed to instantiate nsqd - x");
        let (prefix, rest) = line.split_at("[nsqd] ".len());
        let (time, rest) = rest.split_at("2026/01/02 03:04:05.678901".len());
        assert_eq!((prefix, rest), ("[nsqd] ", " FATAL: failed to instantiate nsqd - x"));
        let shape: String =
            time.chars().map(|next| if next.is_ascii_digit() { '0' } else { next }).collect();
        assert_eq!(shape, "0000/00/00 00:00:00.000000");
    }
}
