//! What is sent to statsd: pure text, from the figures of this push and the last one.

use std::fmt::{self, Display};
use std::sync::Arc;

use crate::engine::ChannelCounts;
use crate::telemetry::process::HeapFigures;

/// The node's figures at one moment.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Sorted by name.
    pub(super) topics: Vec<TopicFigures>,
    /// `None` if they are not wanted.
    pub(super) heap: Option<HeapFigures>,
}

#[derive(Debug)]
pub(super) struct TopicFigures {
    pub(super) name: Arc<str>,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) depth: u64,
    /// Quantiles and their values in nanoseconds.
    pub(super) latency: Vec<(f64, f64)>,
    /// Sorted by name.
    pub(super) channels: Vec<ChannelFigures>,
}

#[derive(Debug)]
pub(super) struct ChannelFigures {
    pub(super) name: Arc<str>,
    pub(super) counts: ChannelCounts,
    pub(super) latency: Vec<(f64, f64)>,
}

/// Lines as they grow, each with its line feed.
struct Lines<'a> {
    prefix: &'a str,
    lines: Vec<String>,
}

impl Lines<'_> {
    fn gauge(&mut self, name: impl Display, value: impl Display) {
        self.lines.push(format!("{}{name}:{value}|g\n", self.prefix));
    }

    /// What was added since `last`. A total that shrank is one that began anew.
    fn counter(&mut self, name: impl Display, total: u64, last: u64) {
        let added = total.checked_sub(last).unwrap_or(total);
        self.lines.push(format!("{}{name}:{added}|c\n", self.prefix));
    }

    fn latency(&mut self, stem: fmt::Arguments<'_>, values: &[(f64, f64)]) {
        for (quantile, value) in values {
            let percent = quantile * 100.0;
            let value = value.trunc();
            self.gauge(format_args!("{stem}.e2e_processing_latency_{percent:.0}"), value);
        }
    }
}

/// Every line of a push, in nsqd's order. Counters say what was added since `last`.
pub(super) fn render(prefix: &str, now: &Figures, last: &Figures) -> Vec<String> {
    let mut lines = Lines { prefix, lines: Vec::new() };
    for topic in &now.topics {
        let before = last.topics.binary_search_by(|other| other.name.cmp(&topic.name));
        let before = before.ok().and_then(|at| last.topics.get(at));
        render_topic(&mut lines, topic, before);
    }
    if let Some(heap) = &now.heap {
        for (name, value) in heap.lines() {
            // Its only counter, which nsqd calls otherwise here; there are no collections to count.
            if name == "gc_total_runs" {
                lines.counter("mem.gc_runs", value, 0);
            } else {
                lines.gauge(format_args!("mem.{name}"), value);
            }
        }
    }
    lines.lines
}

fn render_topic(lines: &mut Lines<'_>, topic: &TopicFigures, last: Option<&TopicFigures>) {
    let name = &topic.name;
    let (messages, bytes) = last.map_or((0, 0), |last| (last.messages, last.bytes));
    lines.counter(format_args!("topic.{name}.message_count"), topic.messages, messages);
    lines.counter(format_args!("topic.{name}.message_bytes"), topic.bytes, bytes);
    lines.gauge(format_args!("topic.{name}.depth"), topic.depth);
    lines.gauge(format_args!("topic.{name}.backend_depth"), 0);
    lines.latency(format_args!("topic.{name}"), &topic.latency);
    let before = last.map_or(&[][..], |last| &last.channels);
    for channel in &topic.channels {
        let before = before
            .binary_search_by(|other| other.name.cmp(&channel.name))
            .ok()
            .and_then(|at| before.get(at));
        let before = before.map_or_else(ChannelCounts::default, |before| before.counts);
        render_channel(lines, name, channel, &before);
    }
}

fn render_channel(
    lines: &mut Lines<'_>,
    topic: &str,
    channel: &ChannelFigures,
    last: &ChannelCounts,
) {
    let stem = format!("topic.{topic}.channel.{}", channel.name);
    let now = &channel.counts;
    lines.counter(format_args!("{stem}.message_count"), now.messages, last.messages);
    lines.gauge(format_args!("{stem}.depth"), now.depth);
    lines.gauge(format_args!("{stem}.backend_depth"), 0);
    lines.gauge(format_args!("{stem}.in_flight_count"), now.in_flight);
    lines.gauge(format_args!("{stem}.deferred_count"), now.deferred);
    lines.counter(format_args!("{stem}.requeue_count"), now.requeues, last.requeues);
    lines.counter(format_args!("{stem}.timeout_count"), now.timeouts, last.timeouts);
    lines.gauge(format_args!("{stem}.clients"), now.consumers);
    lines.latency(format_args!("{stem}"), &channel.latency);
}

/// Packs lines into datagrams of at most `size` bytes, in order. No line is split: one that is longer goes alone.
pub(super) fn pack(lines: &[String], size: usize) -> Vec<String> {
    let mut datagrams: Vec<String> = Vec::new();
    for line in lines {
        match datagrams.last_mut() {
            Some(open) if open.len() + line.len() <= size => open.push_str(line),
            _ => datagrams.push(line.clone()),
        }
    }
    datagrams
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(messages: u64) -> Figures {
        let counts = ChannelCounts {
            depth: 3,
            in_flight: 2,
            deferred: 1,
            messages,
            requeues: 4,
            timeouts: messages,
            consumers: 6,
            ..ChannelCounts::default()
        };
        let latency = vec![(0.999, 2_500_000.7), (0.5, 12.0)];
        let channel = ChannelFigures { name: "c#ephemeral".into(), counts, latency };
        let topic = TopicFigures {
            name: "a.b".into(),
            messages,
            bytes: messages * 10,
            depth: 7,
            latency: vec![(1.0, 9.0)],
            channels: vec![channel],
        };
        Figures { topics: vec![topic], heap: None }
    }

    #[test]
    fn lines_are_nsqds_in_nsqds_order() {
        let lines = render("nsq.h_4151.", &figures(5), &figures(2)).concat();
        let expected = "\
nsq.h_4151.topic.a.b.message_count:3|c
nsq.h_4151.topic.a.b.message_bytes:30|c
nsq.h_4151.topic.a.b.depth:7|g
nsq.h_4151.topic.a.b.backend_depth:0|g
nsq.h_4151.topic.a.b.e2e_processing_latency_100:9|g
nsq.h_4151.topic.a.b.channel.c#ephemeral.message_count:3|c
nsq.h_4151.topic.a.b.channel.c#ephemeral.depth:3|g
nsq.h_4151.topic.a.b.channel.c#ephemeral.backend_depth:0|g
nsq.h_4151.topic.a.b.channel.c#ephemeral.in_flight_count:2|g
nsq.h_4151.topic.a.b.channel.c#ephemeral.deferred_count:1|g
nsq.h_4151.topic.a.b.channel.c#ephemeral.requeue_count:0|c
nsq.h_4151.topic.a.b.channel.c#ephemeral.timeout_count:3|c
nsq.h_4151.topic.a.b.channel.c#ephemeral.clients:6|g
nsq.h_4151.topic.a.b.channel.c#ephemeral.e2e_processing_latency_100:2500000|g
nsq.h_4151.topic.a.b.channel.c#ephemeral.e2e_processing_latency_50:12|g
";
        assert_eq!(lines, expected);
    }

    #[test]
    fn edge_148_the_name_of_a_quantile_is_rounded() {
        let mut lines = Lines { prefix: "", lines: Vec::new() };
        lines.latency(format_args!("t"), &[0.999, 0.99, 0.5, 1.0, 0.004].map(|q| (q, 1.0)));
        let names: Vec<&str> = lines
            .lines
            .iter()
            .filter_map(|line| line.strip_prefix("t.e2e_processing_latency_"))
            .collect();
        assert_eq!(names, ["100:1|g\n", "99:1|g\n", "50:1|g\n", "100:1|g\n", "0:1|g\n"]);
    }

    #[test]
    fn what_was_not_there_or_began_anew_counts_from_zero() {
        for last in [Figures::default(), figures(9)] {
            let lines = render("", &figures(5), &last);
            assert_eq!(lines[0], "topic.a.b.message_count:5|c\n");
            assert_eq!(lines[5], "topic.a.b.channel.c#ephemeral.message_count:5|c\n");
        }
    }

    #[test]
    fn memory_comes_last() {
        let heap = HeapFigures { heap_in_use_bytes: 42, ..HeapFigures::default() };
        let lines =
            render("p.", &Figures { topics: vec![], heap: Some(heap) }, &Figures::default());
        let names: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("p.mem."))
            .map(str::trim_end)
            .collect();
        assert_eq!(
            names,
            [
                "heap_objects:0|g",
                "heap_idle_bytes:0|g",
                "heap_in_use_bytes:42|g",
                "heap_released_bytes:0|g",
                "gc_pause_usec_100:0|g",
                "gc_pause_usec_99:0|g",
                "gc_pause_usec_95:0|g",
                "next_gc_bytes:0|g",
                "gc_runs:0|c",
            ]
        );
    }

    #[test]
    fn datagrams_are_filled_and_lines_kept_whole() {
        let lines = ["aaaa\n", "bbbb\n", "cc\n", "longer than all\n", "d\n"].map(str::to_owned);
        assert_eq!(
            pack(&lines, 10),
            ["aaaa\nbbbb\n", "cc\n", "longer than all\n", "d\n"],
            "exactly full, then whole lines"
        );
        assert_eq!(pack(&lines, 1).len(), 5);
        assert_eq!(pack(&[], 10), Vec::<String>::new());
    }
}
