//! Whole conversations, cut into pieces anywhere: what is read does not depend on how the bytes arrive.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::*;

const LIMITS: Limits = Limits {
    max_msg_size: 40,
    max_body_size: 120,
    max_rdy_count: 100,
    max_req_timeout: Duration::from_secs(3600),
    max_defer_time: None,
    explain_errors: false,
};

/// A connection's side of reading: takes pieces, keeps what is incomplete, and notes what it read.
struct Reader {
    parser: Parser,
    gate: Gate,
    buffer: Vec<u8>,
    seen: Vec<String>,
    closed: bool,
}

impl Reader {
    fn new() -> Self {
        Self {
            parser: Parser::default(),
            gate: Gate { heartbeats: true, ..Gate::default() },
            buffer: Vec::new(),
            seen: Vec::new(),
            closed: false,
        }
    }

    fn take(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        let mut used = 0;
        while !self.closed {
            match self.parser.next(&self.buffer[used..], self.gate, &LIMITS) {
                Ok(Some((command, length))) => {
                    match command {
                        Command::Sub { .. } => self.gate.phase = Phase::Subscribed,
                        Command::Cls => self.gate.phase = Phase::Closing,
                        _ => {}
                    }
                    self.seen.push(said(&command));
                    assert!(length > 0, "a command takes bytes");
                    used += length;
                }
                Ok(None) => break,
                Err(fault) => self.close(&fault),
            }
        }
        self.buffer.drain(..used);
    }

    fn close(&mut self, fault: &Fault) {
        self.seen.push(format!("{fault:?}"));
        self.closed = true;
    }

    fn end(mut self) -> Vec<String> {
        if !self.closed
            && let Some(fault) = self.parser.at_end(&self.buffer, self.gate, &LIMITS)
        {
            self.close(&fault);
        }
        self.seen
    }
}

/// A command with all that it carries. The bytes behind an MPUB's last message are not its own.
fn said(command: &Command<'_>) -> String {
    match command {
        Command::Mpub { topic, bodies } => format!("MPUB {topic} {:?}", bodies.collect::<Vec<_>>()),
        other => format!("{other:?}"),
    }
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut reader = Reader::new();
    for piece in pieces {
        reader.take(piece);
    }
    reader.end()
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("t".to_owned()), Just("t#ephemeral".to_owned()), "[a-z.#*\"]{0,4}"]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[0-9]{1,4}",
        Just("18446744073709551615".to_owned()),
        "[-x0-9]{1,3}"
    ]
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![9 => "[0-9a-f]{16}", 1 => "[0-9a-f]{15,17}"]
}

/// A size that is nearly always the body's own.
fn sized(body: &[u8], wrong: Option<i32>) -> Vec<u8> {
    let size = wrong.unwrap_or_else(|| i32::try_from(body.len()).unwrap());
    [&size.to_be_bytes()[..], body].concat()
}

fn wrong() -> impl Strategy<Value = Option<i32>> {
    prop_oneof![
        19 => Just(None),
        1 => prop_oneof![-2..130_i32, Just(i32::MAX)].prop_map(Some),
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    (proptest::collection::vec(any::<u8>(), 0..12), wrong())
        .prop_map(|(body, wrong)| sized(&body, wrong))
}

fn members() -> impl Strategy<Value = Vec<u8>> {
    (proptest::collection::vec(body(), 0..5), wrong(), wrong()).prop_map(
        |(members, count, size)| {
            let count = count.unwrap_or_else(|| i32::try_from(members.len()).unwrap());
            sized(&[&count.to_be_bytes()[..], &members.concat()].concat(), size)
        },
    )
}

fn with(line: &str, body: &[u8]) -> Vec<u8> {
    [line.as_bytes(), body].concat()
}

/// A command that is mostly in order.
fn command() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("NOP".to_owned()),
        Just("CLS".to_owned()),
        Just("RDY".to_owned()),
        (name(), name()).prop_map(|(topic, channel)| format!("SUB {topic} {channel}")),
        number().prop_map(|count| format!("RDY {count}")),
        id().prop_map(|id| format!("FIN {id}")),
        id().prop_map(|id| format!("TOUCH {id}")),
        (id(), number()).prop_map(|(id, delay)| format!("REQ {id} {delay}")),
        "[A-Z ]{0,6}",
    ];
    let end = prop_oneof![8 => Just("\n"), 1 => Just("\r\n"), 1 => Just(" x\n")];
    prop_oneof![
        6 => (line, end).prop_map(|(line, end)| format!("{line}{end}").into_bytes()),
        2 => (name(), body()).prop_map(|(topic, body)| with(&format!("PUB {topic}\n"), &body)),
        2 => (name(), members()).prop_map(|(topic, members)| with(&format!("MPUB {topic}\n"), &members)),
        1 => (name(), number(), body())
            .prop_map(|(topic, delay, body)| with(&format!("DPUB {topic} {delay}\n"), &body)),
        1 => body().prop_map(|body| with("IDENTIFY\n", &body)),
        1 => body().prop_map(|body| with("AUTH\n", &body)),
    ]
}

/// A conversation that begins well, so that its commands are not all refused for coming too early.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![Just(&b""[..]), Just(&b"SUB t c\n"[..]), Just(&b"SUB t c\nCLS\n"[..])];
    (start, proptest::collection::vec(command(), 0..8))
        .prop_map(|(start, commands)| [start, &commands.concat()].concat())
}

proptest! {
    #[test]
    fn two_pieces_are_read_as_one(stream in stream()) {
        let whole = read([&stream[..]]);
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            prop_assert_eq!(&read([first, second]), &whole, "cut at {}", cut);
        }
    }

    #[test]
    fn single_bytes_are_read_as_one_piece(stream in stream(), step in 1_usize..9) {
        let whole = read([&stream[..]]);
        prop_assert_eq!(&read(stream.chunks(1)), &whole);
        prop_assert_eq!(&read(stream.chunks(step)), &whole);
    }

    #[test]
    fn garbage_is_read_the_same_in_pieces(stream in proptest::collection::vec(any::<u8>(), 0..80)) {
        prop_assert_eq!(read(stream.chunks(1)), read([&stream[..]]));
    }
}

#[test]
fn conversations_of_the_test_do_get_somewhere() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let streams = proptest::collection::vec(stream(), 300);
    let streams = streams.new_tree(&mut runner).unwrap().current();
    let seen: Vec<String> = streams.iter().flat_map(|stream| read([&stream[..]])).collect();
    for word in [
        "Nop", "Sub", "Cls", "Rdy", "Fin", "Touch", "Req", "Pub", "Dpub", "MPUB", "Identify",
        "Auth",
    ] {
        assert!(
            seen.iter().any(|said| said.starts_with(word)),
            "no {word} in {} commands",
            seen.len()
        );
    }
    let faults = seen.iter().filter(|said| said.starts_with("Fault")).count();
    assert!(faults * 10 < seen.len() * 9, "{faults} faults in {} commands", seen.len());
}

#[test]
fn a_long_line_is_refused_the_same_in_pieces() {
    for length in [LINE_MAX - 1, LINE_MAX, LINE_MAX + 1] {
        let mut stream = vec![b'x'; length];
        stream[..4].copy_from_slice(b"NOP ");
        stream[length - 1] = b'\n';
        stream.extend_from_slice(b"PUB t\n\0\0\0\x01x");
        let whole = read([&stream[..]]);
        assert_eq!(read(stream.chunks(1)), whole);
        assert_eq!(read(stream.chunks(LINE_MAX)), whole);
        assert_eq!(whole.len(), if length > LINE_MAX { 1 } else { 2 });
    }
}
