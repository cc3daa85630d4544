//! `leveret top`: a live view of nodes' topics, channels and routes, with rates and what waits.
//!
//! | file | what it is |
//! | --- | --- |
//! | `sample` | what nodes tell over HTTP, at one moment |
//! | `model` | two moments made into rows; which of them are shown, in which order |
//! | `view` | the rows on a terminal |
//!
//! Real nsqds can be watched as well; they have no routes.

mod model;
mod sample;
mod view;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::program::{LogPlan, ToolError, run as run_program, stop_signals};
use crate::clock;
use crate::task::{spawn, stopped};
use model::{Model, Step};
use sample::Nodes;

/// What to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// HTTP addresses of nodes.
    pub nodes: Vec<String>,
    /// HTTP addresses of nsqlookupds that know further nodes.
    pub lookupd: Vec<String>,
    /// Between two looks; not zero.
    pub interval: Duration,
    /// Whether the tables are written once, as text, after two looks.
    pub once: bool,
}

/// Watches until a key or a signal says so.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    // Its lines would come into the picture.
    let log = LogPlan { level: "off".into(), prefix: "leveret top: ".into() };
    run_program(&log, || watch(options))
}

async fn watch(options: &Options) -> Result<(), ToolError> {
    let nodes = Nodes::new(options)?;
    let mut model = Model::default();
    model.update(nodes.sample().await, clock::now());
    if options.once || !std::io::stdout().is_terminal() {
        tokio::time::sleep(options.interval).await;
        model.update(nodes.sample().await, clock::now());
        say(&model.text());
        return Ok(());
    }
    let mut terminal = ratatui::try_init().map_err(ToolError::io("cannot draw on the terminal"))?;
    let ended = show(options, nodes, model, &mut terminal).await;
    ratatui::restore();
    ended
}

async fn show(
    options: &Options,
    nodes: Nodes,
    mut model: Model,
    terminal: &mut ratatui::DefaultTerminal,
) -> Result<(), ToolError> {
    let mut stop = stop_signals()?;
    let mut keys = keys();
    // Nodes that are slow to answer are not to hold up the keys.
    let (sampled, mut samples) = mpsc::channel(1);
    let period = options.interval;
    let sampling = spawn("samples", async move {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if sampled.send(nodes.sample().await).await.is_err() {
                return;
            }
        }
    });
    let ended = loop {
        let drawn = terminal.draw(|frame| view::draw(frame, &mut model));
        if let Err(error) = drawn {
            break Err(ToolError::io("cannot draw on the terminal")(error));
        }
        tokio::select! {
            () = stopped(&mut stop) => break Ok(()),
            Some(sample) = samples.recv() => model.update(sample, clock::now()),
            key = keys.recv() => match key {
                Some(event) => if model.press(event) == Step::Leave {
                    break Ok(());
                },
                None => break Ok(()),
            },
        }
    };
    sampling.abort();
    ended
}

/// Keys, as they are pressed; a change of the terminal's size counts as none in particular.
fn keys() -> mpsc::Receiver<event::KeyCode> {
    let (pressed, keys) = mpsc::channel(16);
    // It waits for the next key when nobody reads any more, and goes with the process.
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let code = match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    let is_control = key.modifiers.contains(event::KeyModifiers::CONTROL);
                    let leaves = is_control && key.code == event::KeyCode::Char('c');
                    if leaves { event::KeyCode::Char('q') } else { key.code }
                }
                Event::Resize(..) => event::KeyCode::Null,
                _ => continue,
            };
            if pressed.blocking_send(code).is_err() {
                return;
            }
        }
    });
    keys
}

#[allow(clippy::print_stdout, reason = "the tables are the program's output")]
fn say(text: &str) {
    println!("{}", text.trim_end());
}
