//! Tests of where a message of a queue goes back to.

use super::*;
use crate::bridge::route::{DeadLetter, Move, PublishOptions, Retry};
use crate::bridge::route::{Instances, Mode, NsqChannel, Target};
use crate::bridge::transform::{Template, Transform};

fn route(name: &str) -> Route {
    let from = NsqChannel { topic: "orders".into(), channel: "bridge".into() };
    let flow = Flow::Move(Box::new(Move {
        from: Source::Nsq(from),
        to: Target::Topic { topic: Template::parse("t").unwrap() },
        publish: PublishOptions::default(),
        retry: Retry::default(),
        dead_letter: DeadLetter::Stop,
        ordered: false,
    }));
    let (transform, instances) = (Transform::default(), Instances::All);
    Route { name: name.into(), mode: Mode::Queued, flow, limit: None, transform, instances }
}

fn properties(headers: &[(&str, &str)]) -> Properties {
    let headers = headers
        .iter()
        .map(|(name, text)| ((*name).to_owned(), Value::Text(text.as_bytes().to_vec())));
    Properties { headers: headers.collect(), ..Properties::default() }
}

#[test]
fn a_dead_letter_goes_back_to_the_source_of_its_route_or_to_the_queue_where_it_died() {
    let routes = [route("r")];
    let back = |headers: &[(&str, &str)]| back_to(&properties(headers), "b", &routes);
    let given_up = [("x-leveret-route", "r"), ("x-leveret-reason", "nacked")];
    assert_eq!(back(&given_up), Some(Place::Topic { topic: "orders".into() }));
    assert_eq!(back(&[("x-leveret-route", "gone"), ("x-leveret-reason", "nacked")]), None);
    let died = [("x-leveret-route", "r"), ("x-first-death-queue", "work")];
    let queue = Place::Exchange { exchange: String::new(), routing_key: "work".into() };
    assert_eq!(back(&died), Some(queue));
    assert_eq!(back(&[]), None);
}

#[test]
fn it_begins_anew_without_what_was_said_of_its_end() {
    let headers = [
        ("x-leveret-route", "r"),
        ("x-first-death-queue", "q"),
        ("x-last-death-reason", "expired"),
        ("x-death", "list"),
        ("x-delivery-count", "5"),
        ("tenant", "eu"),
    ];
    assert_eq!(again(&properties(&headers)), properties(&[("tenant", "eu")]));
}

#[test]
fn a_message_without_an_id_has_one_of_its_body() {
    let got = |id: Option<&str>, body: &str| Got {
        tag: 1,
        exchange: String::new(),
        routing_key: "q".into(),
        redelivered: false,
        properties: Properties { message_id: id.map(str::to_owned), ..Properties::default() },
        body: body.into(),
        left: 0,
    };
    assert_eq!(id_of(&got(Some("m-1"), "x")), "m-1");
    assert_eq!(id_of(&got(None, "")), "body:cbf29ce484222325");
    assert_ne!(id_of(&got(None, "a")), id_of(&got(None, "b")));
}
