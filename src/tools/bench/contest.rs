//! Measures servers by turns, so that what a shared machine does to one it does to the other, and sets them side by side.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::report::{median, say};
use super::server::{Contender, Origin, Server};
use super::wire::{Outcome, fail};

/// Who is measured, and how often.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Contest {
    /// An NSQ server that runs already, to be measured beside a Leveret
    #[arg(long, value_name = "HOST:PORT")]
    against: Option<String>,
    /// Its HTTP API, where the topics of the measurement are deleted
    #[arg(long, value_name = "HOST:PORT", requires = "against")]
    against_http: Option<String>,
    /// Its process, whose processor time and memory are read
    #[arg(long, value_name = "PID", requires = "against")]
    against_pid: Option<u32>,
    /// Measure that server alone
    #[arg(long, requires = "against")]
    alone: bool,
    /// An nsqd to start and measure beside a Leveret
    #[arg(long, value_name = "PROGRAM")]
    nsqd: Option<PathBuf>,
    /// A flag for that nsqd, such as --mem-queue-size=0; may be repeated
    #[arg(long = "nsqd-flag", value_name = "FLAG", allow_hyphen_values = true)]
    nsqd_flags: Vec<String>,
    /// The Leveret that is started, if not this program
    #[arg(long, value_name = "PROGRAM")]
    leveret: Option<PathBuf>,
    /// A flag for that Leveret, of those of nsqd; may be repeated
    #[arg(long = "leveret-flag", value_name = "FLAG", allow_hyphen_values = true)]
    leveret_flags: Vec<String>,
    /// The --mem-queue-size of the servers that are started; NSQ's own bench.sh takes a million
    #[arg(long, value_name = "MESSAGES", default_value_t = 1_000_000)]
    mem_queue_size: u64,
    /// How often each is measured, in a new process each time; the table has the medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where the servers that are started keep their files [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// One figure of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) value: f64,
}

impl Reading {
    pub(super) fn new(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { name: name.into(), unit, value }
    }
}

/// What one server came to, over all rounds.
#[derive(Debug)]
struct Column {
    name: String,
    rounds: Vec<Vec<Reading>>,
}

/// One figure of all servers.
#[derive(Debug)]
struct Row {
    name: String,
    unit: &'static str,
    /// A median for each server, if it has one.
    medians: Vec<Option<f64>>,
    values: Vec<Vec<f64>>,
}

impl Contest {
    fn contenders(&self) -> Outcome<Vec<Contender>> {
        let queue = format!("--mem-queue-size={}", self.mem_queue_size);
        let flags = |more: &[String]| [std::slice::from_ref(&queue), more].concat();
        let mut contenders = Vec::new();
        if !self.alone {
            let path = match &self.leveret {
                Some(path) => path.clone(),
                None => std::env::current_exe()?,
            };
            let flags = flags(&self.leveret_flags);
            let origin = Origin::Program { path, before: Some("nsqd"), flags };
            contenders.push(Contender { name: "Leveret".into(), origin });
        }
        if let Some(path) = self.nsqd.clone() {
            let origin = Origin::Program { path, before: None, flags: flags(&self.nsqd_flags) };
            contenders.push(Contender { name: "nsqd".into(), origin });
        }
        if let Some(address) = self.against.clone() {
            let (http, pid) = (self.against_http.clone(), self.against_pid);
            let name = address.clone();
            contenders.push(Contender { name, origin: Origin::Elsewhere { address, http, pid } });
        }
        Ok(contenders)
    }

    /// Measures everyone in every round, and prints.
    pub(super) fn run(
        &self,
        title: &str,
        measure: impl Fn(&Server) -> Outcome<Vec<Reading>>,
    ) -> Outcome<()> {
        let contenders = self.contenders()?;
        let dir = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let mut columns: Vec<Column> = contenders
            .iter()
            .map(|contender| Column { name: contender.name.clone(), rounds: Vec::new() })
            .collect();
        if !self.json {
            say(title);
        }
        for round in 1..=self.rounds.max(1) {
            for (contender, column) in contenders.iter().zip(&mut columns) {
                let server = contender.start(&dir)?;
                let readings = measure(&server)?;
                drop(server);
                if readings.is_empty() {
                    return fail(format!("nothing was measured of {}", contender.name));
                }
                if !self.json {
                    say(line(round, &contender.name, &readings));
                }
                column.rounds.push(readings);
            }
        }
        let rows = rows(&columns);
        say(if self.json { as_json(title, &columns, &rows) } else { as_table(&columns, &rows) });
        Ok(())
    }
}

fn line(round: usize, name: &str, readings: &[Reading]) -> String {
    let mut line = format!("  round {round}  {name:<8}");
    for Reading { name, unit, value } in readings {
        append(&mut line, format_args!("  {name} {} {unit};", figure(*value)));
    }
    line
}

/// Writing to a text cannot fail.
fn append(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).unwrap_or_default();
}

/// Three significant digits at least, and no more places than make sense.
fn figure(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The figures in the order in which they came first.
fn rows(columns: &[Column]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for reading in columns.iter().flat_map(|column| column.rounds.iter().flatten()) {
        if rows.iter().any(|row| row.name == reading.name) {
            continue;
        }
        let values: Vec<Vec<f64>> = columns
            .iter()
            .map(|column| {
                let all = column.rounds.iter().flatten();
                all.filter(|other| other.name == reading.name).map(|other| other.value).collect()
            })
            .collect();
        let medians = values.iter().map(|values| median(values.iter().copied())).collect();
        rows.push(Row { name: reading.name.clone(), unit: reading.unit, medians, values });
    }
    rows
}

/// The first server's median divided by that of the one at `at`.
fn ratio(row: &Row, at: usize) -> Option<f64> {
    let (first, other) = (row.medians.first().copied()??, row.medians.get(at).copied()??);
    (other != 0.0).then(|| first / other)
}

fn as_table(columns: &[Column], rows: &[Row]) -> String {
    let mut text = String::from("\n| medians |");
    let mut rule = String::from("\n|---|");
    for (at, column) in columns.iter().enumerate() {
        append(&mut text, format_args!(" {} |", column.name));
        rule.push_str("---|");
        if at > 0 {
            text.push_str(" ratio |");
            rule.push_str("---|");
        }
    }
    text.push_str(&rule);
    for row in rows {
        append(&mut text, format_args!("\n| {}, {} |", row.name, row.unit));
        for (at, median) in row.medians.iter().enumerate() {
            append(&mut text, format_args!(" {} |", median.map_or_else(|| "-".into(), figure)));
            if at > 0 {
                let ratio =
                    ratio(row, at).map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"));
                append(&mut text, format_args!(" {ratio} |"));
            }
        }
    }
    text
}

fn as_json(title: &str, columns: &[Column], rows: &[Row]) -> String {
    let servers: Vec<Value> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let readings: Map<String, Value> = rows
                .iter()
                .map(|row| {
                    let reading = json!({
                        "unit": row.unit,
                        "median": row.medians.get(at),
                        "rounds": row.values.get(at),
                        "ratio": (at > 0).then(|| ratio(row, at)).flatten(),
                    });
                    (row.name.clone(), reading)
                })
                .collect();
            json!({ "name": column.name, "readings": readings })
        })
        .collect();
    json!({ "title": title, "servers": servers }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let rounds = |values: &[f64]| {
            values.iter().map(|value| vec![Reading::new("rate", "msg/s", *value)]).collect()
        };
        let mut second: Vec<Vec<Reading>> = rounds(&[50.0, 60.0, 40.0]);
        second[0].push(Reading::new("CPU", "µs/msg", 1.25));
        vec![
            Column { name: "A".into(), rounds: rounds(&[100.0, 300.0, 200.0]) },
            Column { name: "B".into(), rounds: second },
        ]
    }

    #[test]
    fn the_table_has_medians_and_their_ratio() {
        let columns = columns();
        let table = as_table(&columns, &rows(&columns));
        assert_eq!(
            table,
            "\n| medians | A | B | ratio |\n|---|---|---|---|\n| rate, msg/s | 200 | 50.0 | 4.00 |\
             \n| CPU, µs/msg | - | 1.25 | - |"
        );
    }

    #[test]
    fn json_has_every_round() {
        let columns = columns();
        let value: Value =
            serde_json::from_str(&as_json("what", &columns, &rows(&columns))).unwrap();
        let rate = &value["servers"][1]["readings"]["rate"];
        assert_eq!(rate["ratio"], 4.0);
        assert_eq!(rate["rounds"].as_array().unwrap().len(), 3);
        assert_eq!(value["servers"][0]["readings"]["rate"]["median"], 200.0);
    }
}
