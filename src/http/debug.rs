//! `/debug/*`: what an operator of nsqd asks of Go's runtime, as far as there is an answer here.
//!
//! There is no garbage collector, no sampling profiler and no record of blocking inside the process. What has a
//! counterpart is given as text when `debug` is asked for (tasks, threads, memory); a profile in Go's binary format is
//! 501 with a word on what to use instead, so that `go tool pprof` shows that word rather than a wrong picture. Where nsqd answers 500 although it
//! did what was asked (`setblockrate`, `freememory`), the truth is told.

use std::fmt::Write as _;

use axum::http::StatusCode;
use axum::response::Response;

use super::query::Query;
use super::reply::{self, Refusal};
use super::{Context, VERSION};
use crate::engine::Engine;
use crate::telemetry::process::ProcessUsage;

/// The pages below `/debug/pprof/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    Index,
    Cmdline,
    Symbol,
    Cpu,
    Heap,
    Goroutine,
    Block,
    ThreadCreate,
}

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Each with what it is here.
const PROFILES: [(&str, &str); 7] = [
    ("block", "not recorded"),
    ("cmdline", "the command line"),
    ("goroutine", "how many tasks there are"),
    ("heap", "memory by topic"),
    ("profile", "not sampled; use perf on the process"),
    ("symbol", "no symbols"),
    ("threadcreate", "how many threads there are"),
];

/// GET (and POST) `/debug/pprof/...`, of a process that has an `engine` or none.
pub(super) fn profile(engine: Option<&Engine>, profile: Profile, raw: &str) -> Response {
    let has_text = Query::parse(raw).is_ok_and(|query| {
        query
            .get("debug")
            .and_then(|level| level.parse::<i32>().ok())
            .is_some_and(|level| level > 0)
    });
    match profile {
        Profile::Index => reply::bare(StatusCode::OK, HTML, index()),
        Profile::Cmdline => reply::bare(StatusCode::OK, TEXT, cmdline()),
        // Nothing can be looked up, and pprof asks no further.
        Profile::Symbol => reply::bare(StatusCode::OK, TEXT, "num_symbols: 0\n".to_owned()),
        Profile::Cpu => {
            missing("CPU profiles are not taken inside the process: use perf record -p")
        }
        Profile::Block => missing("blocking is not recorded: use perf sched on the process"),
        Profile::Heap | Profile::Goroutine | Profile::ThreadCreate if !has_text => {
            missing("there is no profile in this format: add ?debug=1 for a text about the process")
        }
        Profile::Heap => reply::bare(StatusCode::OK, TEXT, heap(engine)),
        Profile::Goroutine => reply::bare(StatusCode::OK, TEXT, tasks()),
        Profile::ThreadCreate => reply::bare(StatusCode::OK, TEXT, threads()),
    }
}

fn missing(reason: &str) -> Response {
    let reason = format!("{reason} {}\n", std::process::id());
    reply::bare(StatusCode::NOT_IMPLEMENTED, TEXT, reason)
}

fn index() -> String {
    let mut page = format!(
        "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n/debug/pprof/ of leveret {VERSION}\n<br>\n\
         <p>Add debug=1 for a text. There are no profiles in Go's binary format.</p>\n<table>\n"
    );
    for (name, what) in PROFILES {
        // Writing to a string cannot fail.
        writeln!(page, "<tr><td><a href='{name}?debug=1'>{name}</a></td><td>{what}</td></tr>")
            .unwrap_or_default();
    }
    page + "</table>\n</body>\n</html>\n"
}

/// The arguments with zero bytes between them, as Go gives them.
fn cmdline() -> String {
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    arguments.collect::<Vec<_>>().join("\0")
}

fn heap(engine: Option<&Engine>) -> String {
    let usage = ProcessUsage::read().unwrap_or_default();
    let mut text = format!(
        "# Memory of the process in bytes, and what its messages take of it.\n\
         resident {}\nheap_and_stacks {}\n",
        usage.resident_bytes, usage.anonymous_bytes
    );
    for topic in engine.into_iter().flat_map(Engine::topics) {
        writeln!(text, "topic {} {}", topic.name(), topic.memory()).unwrap_or_default();
    }
    text
}

fn tasks() -> String {
    let metrics = tokio::runtime::Handle::current().metrics();
    format!(
        "# Tasks of the runtime; there are no goroutines.\ntasks {}\nworker_threads {}\nqueued {}\n",
        metrics.num_alive_tasks(),
        metrics.num_workers(),
        metrics.global_queue_depth()
    )
}

fn threads() -> String {
    let threads = ProcessUsage::read().unwrap_or_default().threads;
    format!("# Threads of the process.\nthreads {threads}\n")
}

/// PUT `/debug/setblockrate?rate=N`.
pub(super) fn set_block_rate(raw: &str) -> Result<String, Refusal> {
    // As Go's FormValue, which reads what it can of a bad query.
    let query = Query::parse(raw).unwrap_or_default();
    let rate = query.get("rate").unwrap_or_default();
    match rate.parse::<i64>() {
        Ok(..=0) => Ok("OK".to_owned()),
        Ok(_) => Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "blocking is not recorded: there is no rate to set",
        )),
        Err(error) => {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let reason = match error.kind() {
                PosOverflow | NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            let text = format!("invalid block rate : strconv.Atoi: parsing {rate:?}: {reason}");
            Err(Refusal::new(StatusCode::BAD_REQUEST, text))
        }
    }
}

/// POST `/debug/freememory`: spare memory goes back to the allocator.
pub(super) fn free_memory(context: &Context) -> String {
    let topics = context.engine.topics();
    let bytes: usize = topics.iter().map(|topic| topic.give_back_memory()).sum();
    format!("OK: {bytes} bytes of spare memory were given back to the allocator")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_rates_are_refused_in_gos_words() {
        let text = |raw| set_block_rate(raw).unwrap_err().text.into_owned();
        let parsing = "invalid block rate : strconv.Atoi: parsing";
        assert_eq!(text("rate=x"), format!("{parsing} \"x\": invalid syntax"));
        assert_eq!(text(""), format!("{parsing} \"\": invalid syntax"));
        let huge = "99999999999999999999";
        assert_eq!(
            text(&format!("rate={huge}")),
            format!("{parsing} \"{huge}\": value out of range")
        );
        assert_eq!(set_block_rate("rate=0"), Ok("OK".to_owned()));
        assert_eq!(set_block_rate("rate=5").unwrap_err().status, StatusCode::NOT_IMPLEMENTED);
    }
}
