//! Every command, every error text, cut at every byte.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    max_msg_size: 100,
    max_body_size: 1000,
    max_rdy_count: 2500,
    max_req_timeout: Duration::from_secs(3600),
    max_defer_time: None,
    explain_errors: false,
};

const ID: &[u8; 16] = b"0123456789abcdef";

fn gate(phase: Phase) -> Gate {
    Gate { phase, ..Gate::default() }
}

fn parse(bytes: &[u8], phase: Phase) -> Result<Option<(Command<'_>, usize)>, Fault> {
    Parser::default().next(bytes, gate(phase), &LIMITS)
}

fn command(bytes: &[u8], phase: Phase) -> Command<'_> {
    let (command, used) = parse(bytes, phase).unwrap().unwrap();
    assert_eq!(used, bytes.len());
    command
}

fn error(bytes: &[u8], phase: Phase) -> String {
    parse(bytes, phase).unwrap_err().error.unwrap().to_string()
}

fn sized(line: &str, size: i32, body: &[u8]) -> Vec<u8> {
    [line.as_bytes(), &size.to_be_bytes(), body].concat()
}

fn mpub(topic: &str, size: i32, count: i32, members: &[(i32, &[u8])]) -> Vec<u8> {
    let mut bytes = sized(&format!("MPUB {topic}\n"), size, &count.to_be_bytes());
    for (size, body) in members {
        bytes.extend(size.to_be_bytes());
        bytes.extend(*body);
    }
    bytes
}

use Phase::{Closing, Init, Subscribed};

#[test]
fn commands_are_read() {
    assert_eq!(command(b"NOP\n", Init), Command::Nop);
    assert_eq!(command(b"NOP junk \r\n", Init), Command::Nop);
    assert_eq!(command(b"SUB t c junk\n", Init), Command::Sub { topic: "t", channel: "c" });
    assert_eq!(command(b"RDY\n", Subscribed), Command::Rdy(1));
    assert_eq!(command(b"RDY \n", Subscribed), Command::Rdy(0));
    assert_eq!(command(b"RDY 05 junk\n", Subscribed), Command::Rdy(5));
    assert_eq!(command(b"RDY garbage\n", Closing), Command::Nop);
    for fin in ["FIN 0123456789abcdef\n", "FIN 0123456789abcdef\r\n", "FIN 0123456789abcdef x\n"] {
        assert_eq!(command(fin.as_bytes(), Subscribed), Command::Fin(ID));
    }
    assert_eq!(command(b"TOUCH 0123456789abcdef\n", Closing), Command::Touch(ID));
    let second = Duration::from_secs(1);
    assert_eq!(command(b"REQ 0123456789abcdef 1000\n", Subscribed), Command::Req(ID, second));
    assert_eq!(command(b"CLS\n", Subscribed), Command::Cls);
    assert_eq!(command(&sized("IDENTIFY\n", 2, b"{}"), Init), Command::Identify(b"{}"));
    assert_eq!(command(&sized("AUTH\n", 1, b"s"), Init), Command::Auth(b"s"));
    assert_eq!(
        command(&sized("PUB t\n", 1, b"x"), Closing),
        Command::Pub { topic: "t", body: b"x" }
    );
    let body = b"x";
    let dpub = sized("DPUB t 1000\n", 1, body);
    assert_eq!(command(&dpub, Init), Command::Dpub { topic: "t", defer: second, body });
}

#[test]
fn numbers_wrap_as_nsqds() {
    assert_eq!(command(b"RDY 18446744073709551619\n", Subscribed), Command::Rdy(3));
    assert_eq!(
        command(b"REQ 0123456789abcdef 18446744073709551615\n", Subscribed),
        Command::Req(ID, Duration::ZERO)
    );
    let hour = Duration::from_secs(3600);
    assert_eq!(command(b"REQ 0123456789abcdef 3600001\n", Subscribed), Command::Req(ID, hour));
    for delay in ["18446744073709551616", ""] {
        let dpub = sized(&format!("DPUB t {delay}\n"), 1, b"x");
        assert_eq!(
            command(&dpub, Init),
            Command::Dpub { topic: "t", defer: Duration::ZERO, body: b"x" }
        );
    }
    let dpub = sized("DPUB t 3600000\n", 1, b"x");
    assert_eq!(command(&dpub, Init), Command::Dpub { topic: "t", defer: hour, body: b"x" });
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn line_errors_are_nsqds() {
    for (line, phase, text) in [
        ("\n", Init, "E_INVALID invalid command "),
        ("nop\n", Init, "E_INVALID invalid command nop"),
        (" NOP\n", Init, "E_INVALID invalid command "),
        ("NOP\r\r\n", Init, "E_INVALID invalid command NOP\r"),
        ("SUB t c\n", Subscribed, "E_INVALID cannot SUB in current state"),
        ("SUB t c\n", Closing, "E_INVALID cannot SUB in current state"),
        ("SUB t\n", Init, "E_INVALID SUB insufficient number of parameters"),
        ("SUB t#foo c\n", Init, "E_BAD_TOPIC SUB topic name \"t#foo\" is not valid"),
        ("SUB t \n", Init, "E_BAD_CHANNEL SUB channel name \"\" is not valid"),
        ("RDY 1\n", Init, "E_INVALID cannot RDY in current state"),
        ("RDY -1\n", Subscribed, "E_INVALID RDY could not parse count -1"),
        ("RDY 2501\n", Subscribed, "E_INVALID RDY count 2501 out of range 0-2500"),
        ("RDY 18446744073709551615\n", Subscribed, "E_INVALID RDY count -1 out of range 0-2500"),
        ("FIN 1\n", Init, "E_INVALID cannot FIN in current state"),
        ("FIN\n", Subscribed, "E_INVALID FIN insufficient number of params"),
        ("FIN 1\n", Subscribed, "E_INVALID invalid message ID"),
        ("FIN 0123456789abcde\r\n", Subscribed, "E_INVALID invalid message ID"),
        ("FIN 0123456 89abcdef\n", Subscribed, "E_INVALID invalid message ID"),
        ("REQ 0123456789abcdef\n", Subscribed, "E_INVALID REQ insufficient number of params"),
        ("REQ 1 1\n", Subscribed, "E_INVALID invalid message ID"),
        ("REQ 0123456789abcdef -1\n", Subscribed, "E_INVALID REQ could not parse timeout -1"),
        ("TOUCH\n", Subscribed, "E_INVALID TOUCH insufficient number of params"),
        ("TOUCH 1\n", Init, "E_INVALID cannot TOUCH in current state"),
        ("CLS\n", Init, "E_INVALID cannot CLS in current state"),
        ("CLS\n", Closing, "E_INVALID cannot CLS in current state"),
        ("IDENTIFY\n", Subscribed, "E_INVALID cannot IDENTIFY in current state"),
        ("AUTH\n", Subscribed, "E_INVALID cannot AUTH in current state"),
        ("AUTH x\n", Init, "E_INVALID AUTH invalid number of parameters"),
        ("PUB\n", Init, "E_INVALID PUB insufficient number of parameters"),
        ("PUB a/b\n", Init, "E_BAD_TOPIC PUB topic name \"a/b\" is not valid"),
        ("MPUB\n", Init, "E_INVALID MPUB insufficient number of parameters"),
        ("MPUB a/b\n", Init, "E_BAD_TOPIC E_BAD_TOPIC MPUB topic name \"a/b\" is not valid"),
        ("DPUB t\n", Init, "E_INVALID DPUB insufficient number of parameters"),
        ("DPUB a/b 1\n", Init, "E_BAD_TOPIC DPUB topic name \"a/b\" is not valid"),
        ("DPUB t -1\n", Init, "E_INVALID DPUB could not parse timeout -1"),
        ("DPUB t 3600001\n", Init, "E_INVALID DPUB timeout 3600001 out of range 0-3600000"),
    ] {
        assert_eq!(error(line.as_bytes(), phase), text, "{line:?}");
    }
    let mute = Gate { heartbeats: false, ..Gate::default() };
    let fault = Parser::default().next(b"SUB t c\n", mute, &LIMITS).unwrap_err();
    let text = fault.error.unwrap().to_string();
    assert_eq!(text, "E_INVALID cannot SUB with heartbeats disabled");
}

#[test]
fn edge_034_without_tls_nothing_but_identify_is_let_through() {
    let bare = Gate { lacks_tls: true, ..Gate::default() };
    for (line, name) in
        [("PUB t\n", "PUB"), ("NOP\n", "NOP"), ("nonsense x\n", "nonsense"), ("\n", "")]
    {
        let fault = Parser::default().next(line.as_bytes(), bare, &LIMITS).unwrap_err();
        let text = format!("E_INVALID cannot {name} in current state (TLS required)");
        assert_eq!(fault.error.unwrap().to_string(), text);
    }
    let identify = sized("IDENTIFY\n", 2, b"{}");
    let (command, _) = Parser::default().next(&identify, bare, &LIMITS).unwrap().unwrap();
    assert_eq!(command, Command::Identify(b"{}"));
}

#[test]
fn an_mpub_can_be_judged_before_its_body_has_come() {
    let judging = Gate { judges_mpub: true, ..Gate::default() };
    let bytes = mpub("t", 13, 1, &[(5, b"hello")]);
    for cut in 7..=bytes.len() {
        let mut parser = Parser::default();
        let head = parser.next(&bytes[..cut], judging, &LIMITS).unwrap().unwrap();
        assert_eq!(head, (Command::MpubHead { topic: "t" }, 0));
        let (command, used) = parser.next(&bytes, gate(Init), &LIMITS).unwrap().unwrap();
        assert!(matches!(command, Command::Mpub { topic: "t", .. }));
        assert_eq!(used, bytes.len());
    }
    assert_eq!(Parser::default().next(&bytes[..6], judging, &LIMITS), Ok(None));
    let fault = Parser::default().next(b"MPUB a/b\n", judging, &LIMITS).unwrap_err();
    assert!(fault.error.unwrap().to_string().starts_with("E_BAD_TOPIC"));
}

#[test]
fn a_size_is_judged_before_its_body_has_come() {
    for (bytes, text) in [
        (sized("PUB t\n", 0, b""), "E_BAD_MESSAGE PUB invalid message body size 0"),
        (sized("PUB t\n", -1, b""), "E_BAD_MESSAGE PUB invalid message body size -1"),
        (sized("PUB t\n", 101, b""), "E_BAD_MESSAGE PUB message too big 101 > 100"),
        (sized("DPUB t 0\n", i32::MAX, b""), "E_BAD_MESSAGE DPUB message too big 2147483647 > 100"),
        (sized("IDENTIFY\n", 1001, b""), "E_BAD_BODY IDENTIFY body too big 1001 > 1000"),
        (sized("IDENTIFY\n", 0, b""), "E_BAD_BODY IDENTIFY invalid body size 0"),
        (sized("AUTH\n", -5, b""), "E_BAD_BODY AUTH invalid body size -5"),
        (sized("MPUB t\n", 0, b""), "E_BAD_BODY MPUB invalid body size 0"),
        (sized("MPUB t\n", 1001, b""), "E_BAD_BODY MPUB body too big 1001 > 1000"),
        (mpub("t", 8, 0, &[]), "E_BAD_BODY MPUB invalid message count 0"),
        (mpub("t", 8, 200, &[]), "E_BAD_BODY MPUB invalid message count 200"),
        (
            mpub("t", 8, 2, &[(1, b"x"), (0, b"")]),
            "E_BAD_MESSAGE MPUB invalid message(1) body size 0",
        ),
        (mpub("t", 8, 1, &[(101, b"")]), "E_BAD_MESSAGE MPUB message too big 101 > 100"),
    ] {
        assert_eq!(error(&bytes, Init), text);
    }
}

#[test]
fn a_bad_mpub_creates_its_topic_all_the_same() {
    let fault = parse(&mpub("t", 8, 0, &[]), Init).unwrap_err();
    assert_eq!(fault.creates.as_deref(), Some("t"));
    assert_eq!(parse(b"MPUB a/b\n", Init).unwrap_err().creates, None);
    assert_eq!(parse(&sized("PUB t\n", 0, b""), Init).unwrap_err().creates, None);
}

#[test]
fn an_mpubs_count_and_sizes_rule_not_its_body_size() {
    let bytes = mpub("t", 999, 2, &[(1, b"a"), (2, b"bc")]);
    let Command::Mpub { topic, bodies } = command(&bytes, Init) else { panic!() };
    assert_eq!((topic, bodies.len()), ("t", 2));
    assert_eq!(bodies.collect::<Vec<_>>(), [&b"a"[..], b"bc"]);
    let max = mpub("t", 999, 199, &[(1, &b"a"[..]); 199]);
    assert!(matches!(command(&max, Init), Command::Mpub { .. }));
}

#[test]
fn an_mpubs_real_size_is_bounded_too() {
    let member = [7; 100];
    let members = [(100, &member[..]); 12];
    let text = error(&mpub("t", 8, 12, &members), Init);
    assert_eq!(text, "E_BAD_BODY MPUB body too big 1044 > 1000");
    let nine = mpub("t", 8, 9, &members[..9]);
    assert!(matches!(command(&nine, Init), Command::Mpub { .. }));
}

#[test]
fn a_line_may_be_16384_bytes_with_its_end() {
    let mut line = vec![b' '; LINE_MAX - 1];
    line[..4].copy_from_slice(b"NOP ");
    assert_eq!(parse(&line, Init), Ok(None));
    line.push(b'\n');
    assert_eq!(command(&line, Init), Command::Nop);
    line.insert(4, b' ');
    assert_eq!(parse(&line, Init), Err(Fault { error: None, creates: None }));
    assert_eq!(parse(&line[..LINE_MAX], Init), Err(Fault { error: None, creates: None }));
}

#[test]
fn what_was_cut_off_is_named() {
    for (bytes, text) in [
        (b"PUB t\n\0\0".to_vec(), "E_BAD_MESSAGE PUB failed to read message body size"),
        (sized("PUB t\n", 5, b"abc"), "E_BAD_MESSAGE PUB failed to read message body"),
        (b"IDENTIFY\n".to_vec(), "E_BAD_BODY IDENTIFY failed to read body size"),
        (sized("AUTH\n", 5, b"abc"), "E_BAD_BODY AUTH failed to read body"),
        (b"MPUB t\n".to_vec(), "E_BAD_BODY MPUB failed to read body size"),
        (sized("MPUB t\n", 9, b""), "E_BAD_BODY MPUB failed to read message count"),
        (mpub("t", 9, 2, &[(1, b"a")]), "E_BAD_MESSAGE MPUB failed to read message(1) body size"),
        (mpub("t", 9, 1, &[(2, b"a")]), "E_BAD_MESSAGE MPUB failed to read message body"),
    ] {
        let fault = Parser::default().at_end(&bytes, gate(Init), &LIMITS).unwrap();
        assert_eq!(fault.error.unwrap().to_string(), text);
    }
    assert_eq!(Parser::default().at_end(b"PUB t", gate(Init), &LIMITS), None);
    assert_eq!(Parser::default().at_end(b"", gate(Init), &LIMITS), None);
}

proptest! {
    #[test]
    fn cut_anywhere_the_result_is_the_same(
        members in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 1..10),
        spoil in proptest::option::of((0_usize..400, any::<u8>())),
    ) {
        let members: Vec<(i32, &[u8])> = members.iter().map(|m| (i32::try_from(m.len()).unwrap(), &m[..])).collect();
        let mut stream = mpub("t", 500, i32::try_from(members.len()).unwrap(), &members);
        stream.extend(sized("PUB t\n", 3, b"abc"));
        stream.extend(b"NOP\nSUB t c\n");
        if let Some((at, byte)) = spoil && let Some(place) = stream.get_mut(at) {
            *place = byte;
        }
        let first = parse(&stream, Init);
        for cut in 0..=stream.len() {
            let mut parser = Parser::default();
            match parser.next(&stream[..cut], gate(Init), &LIMITS) {
                Ok(None) => prop_assert_eq!(&parser.next(&stream, gate(Init), &LIMITS), &first),
                Ok(Some((_, used))) => prop_assert_eq!(Ok(Some(used)), first.as_ref().map(|f| f.map(|(_, used)| used))),
                Err(fault) => prop_assert_eq!(Err(&fault), first.as_ref()),
            }
        }
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for phase in [Init, Subscribed, Closing] {
            drop(parse(&bytes, phase));
            drop(Parser::default().at_end(&bytes, gate(phase), &LIMITS));
        }
    }
}

#[test]
fn the_flag_of_a_limit_is_named_if_that_is_asked_for() {
    let limits = Limits { explain_errors: true, ..LIMITS };
    for (bytes, text) in [
        (sized("PUB t\n", 101, b""), "PUB message too big 101 > 100: see --max-msg-size"),
        (sized("DPUB t 0\n", 101, b""), "DPUB message too big 101 > 100: see --max-msg-size"),
        (sized("IDENTIFY\n", 1001, b""), "IDENTIFY body too big 1001 > 1000: see --max-body-size"),
        (sized("MPUB t\n", 1001, b""), "MPUB body too big 1001 > 1000: see --max-body-size"),
        (mpub("t", 8, 1, &[(101, b"")]), "MPUB message too big 101 > 100: see --max-msg-size"),
    ] {
        let fault = Parser::default().next(&bytes, gate(Phase::Init), &limits).unwrap_err();
        let error = fault.error.unwrap().to_string();
        assert!(error.ends_with(text), "{error}");
    }
}

#[test]
fn a_defer_time_of_its_own_bounds_dpub_and_not_req() {
    let limits = Limits { max_defer_time: Some(Duration::from_secs(7200)), ..LIMITS };
    let parse = |bytes: &[u8], phase| {
        let parsed = Parser::default().next(bytes, gate(phase), &limits);
        parsed
            .map(|command| format!("{command:?}"))
            .map_err(|fault| fault.error.unwrap().to_string())
    };
    assert!(parse(&sized("DPUB t 7200000\n", 1, b"x"), Init).unwrap().contains("defer: 7200s"));
    assert_eq!(
        parse(&sized("DPUB t 7200001\n", 1, b"x"), Init),
        Err("E_INVALID DPUB timeout 7200001 out of range 0-7200000 (--max-defer-time)".to_owned())
    );
    let requeued = parse(b"REQ 0123456789abcdef 7200000\n", Subscribed).unwrap();
    assert!(requeued.contains("3600s"), "{requeued}");
}
