//! The three ways of running a template agree: without the engine, with the engine over the fields that are used, and
//! with the engine over the whole body.

use proptest::prelude::*;

use super::TransformError;
use super::program::{Language, Program};
use super::view::{MessageView, Needs};
use crate::bridge::properties::arbitrary;

/// JSON with the names that templates below use, now and then not quite JSON.
fn body() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| format!("{value:e}")),
        (-99_i32..99, 0_u32..99).prop_map(|(whole, part)| format!("{whole}.{part}")),
        "[a-zé\\\\n ]{0,6}".prop_map(|text| format!("{:?}", text.replace('\\', "\\n"))),
        Just(r#""\u00e9\ud83d\ude00""#.to_owned()),
    ];
    let json = leaf.prop_recursive(3, 16, 4, |inner| {
        let name = || prop_oneof![Just("a"), Just("b"), Just("items"), Just("z"), Just("\\u0061")];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3)
                .prop_map(|values| format!("[{}]", values.join(","))),
            proptest::collection::vec((name(), inner), 0..4).prop_map(|fields| {
                let fields: Vec<_> = fields
                    .into_iter()
                    .map(|(name, value)| format!(" \"{name}\" : {value}"))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    });
    (json, 0_u8..12).prop_map(|(json, damage)| match damage {
        0 => format!("{json}}}"),
        1 => json.chars().skip(1).collect(),
        _ => json,
    })
}

fn template() -> impl Strategy<Value = String> {
    let expression = prop_oneof![
        Just("body.a"),
        Just("body.b.a"),
        Just("body.a.b.items"),
        Just("body.items"),
        Just("body"),
        Just("headers.a"),
        Just("properties.app_id"),
        Just("topic"),
        Just("channel"),
        Just("attempts"),
        Just("timestamp"),
        Just("id"),
    ];
    let text =
        prop_oneof![Just(""), Just("."), Just("x }} y\n"), Just(" é"), Just("\r\n"), Just("{ { ")];
    let piece = (text.clone(), expression, prop_oneof![Just(""), Just(" "), Just("\t ")])
        .prop_map(|(text, expression, blank)| format!("{text}{{{{{blank}{expression}{blank}}}}}"));
    (proptest::collection::vec(piece, 1..4), text)
        .prop_map(|(pieces, end)| format!("{}{end}", pieces.join("")))
}

/// Expressions that are the engine's in any case, over a part of the body and over all of it.
const ENGINES: [&str; 8] = [
    "{{ body.a | default('none') }}",
    "{{ body.b.a | default(body.a) | upper }}",
    "{% if body.a and body.b %}{{ body.a.b }}{% else %}{{ body.z | length }}{% endif %}",
    "{{ body['a'] }}",
    "{{ body.a[0] }}-{{ body.a.b }}",
    "{{ body.items }}{{ body | length }}",
    "{{ 'x' if body.a == body.b.a else body.items }}",
    "{{ body.a.items() | length }}",
];

fn words(result: Result<String, TransformError>) -> Result<String, &'static str> {
    result.map_err(|error| match error {
        TransformError::BodyNotJson { .. } => "not json",
        TransformError::Render { .. } => "render",
        TransformError::TooLong { .. } => "too long",
        TransformError::Property(_) => "property",
    })
}

proptest! {
    #[test]
    fn fields_are_what_the_engine_makes_of_them(
        source in template(),
        body in body(),
        properties in arbitrary::properties(),
    ) {
        let mut message = MessageView::new("orders", "00000000000000ab", 7, body.as_bytes());
        message.properties = Some(&properties);
        let fast = Program::compile(&source, Language::Template).unwrap();
        prop_assert!(fast.is_without_engine(), "{}", source);
        let slow = Program::compile_for_engine(&source, Language::Template).unwrap();
        let needs = fast.needs();
        let whole = words(slow.run(&source, Language::Template, &message));
        let mut message = MessageView::new("orders", "00000000000000ab", 7, body.as_bytes());
        message.properties = Some(&properties);
        let message = message.with_needs(&needs);
        prop_assert_eq!(&words(slow.run(&source, Language::Template, &message)), &whole);
        prop_assert_eq!(&words(fast.run(&source, Language::Template, &message)), &whole);
    }

    #[test]
    fn a_part_of_the_body_gives_what_all_of_it_gives(at in 0..ENGINES.len(), body in body()) {
        let source = ENGINES[at];
        let program = Program::compile(source, Language::Template).unwrap();
        let whole = Needs::default();
        let message = MessageView::new("t", "0", 0, body.as_bytes()).with_needs(&whole);
        let expected = words(program.run(source, Language::Template, &message));
        let needs = program.needs();
        let message = MessageView::new("t", "0", 0, body.as_bytes()).with_needs(&needs);
        prop_assert_eq!(words(program.run(source, Language::Template, &message)), expected);
    }
}
