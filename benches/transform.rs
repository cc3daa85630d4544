//! What templates and conditions cost a message: with and without the engine, over a body of usual size.

#![allow(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to measure")]

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use leveret::bridge::transform::{Condition, MessageView, Needs, Template};

/// 271 bytes, as an order looks.
const BODY: &[u8] = br#"{"order":"9f3c1e1a-77b0-4d6f-8f0e-4b1f3a1d2c5b","region":"eu-west","tenant":{"id":4711,"name":"acme"},"amount":129.95,"currency":"EUR","paid":true,"items":[{"sku":"A-100","n":2},{"sku":"B-7","n":1}],"note":"leave it with the neighbour, please","created":"2024-05-01T12:00:00Z"}"#;

fn message(needs: &Needs) -> MessageView<'_> {
    MessageView::new("orders", "00000000000000ab", 1_700_000_000_000_000_000, BODY)
        .with_needs(needs)
}

fn templates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("template");
    group.throughput(Throughput::Elements(1));
    for (name, source) in [
        ("topic", "orders.{{ topic }}"),
        ("field", "orders.{{ body.region }}"),
        ("nested field", "orders.{{ body.region }}.{{ body.tenant.id }}"),
        ("filter", "orders.{{ body.region | upper }}"),
        ("if", "{% if body.paid %}paid{% else %}open{% endif %}"),
        ("subscript", "orders.{{ body['region'] }}"),
    ] {
        let template = Template::parse(source).expect("a template");
        let needs = template.needs();
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(&template).render(&message(&needs)).expect("a text").len());
        });
    }
    group.finish();
}

fn conditions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("condition");
    group.throughput(Throughput::Elements(1));
    for (name, source) in [
        ("topic", "topic == 'orders'"),
        ("field", "body.region == 'eu-west'"),
        ("two fields", "body.amount > 100 and body.tenant.name in ['acme', 'other']"),
    ] {
        let condition = Condition::parse(source).expect("a condition");
        let needs = condition.needs();
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(&condition).holds(&message(&needs)).expect("an answer"));
        });
    }
    group.finish();
}

/// A condition, an exchange, a key and a header over three fields, as a route has them, with one look at the body.
fn all_together(criterion: &mut Criterion) {
    let condition = Condition::parse("body.paid and body.amount > 100").expect("a condition");
    let templates = ["shop.{{ topic }}", "orders.{{ body.region }}", "{{ body.tenant.id }}"]
        .map(|source| Template::parse(source).expect("a template"));
    let mut needs = condition.needs();
    templates.iter().for_each(|template| needs.merge(&template.needs()));
    criterion.bench_function("route", |bencher| {
        bencher.iter(|| {
            let message = message(&needs);
            let holds = condition.holds(&message).expect("an answer");
            let len: usize =
                templates.iter().map(|each| each.render(&message).expect("a text").len()).sum();
            black_box((holds, len))
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    templates(&mut criterion);
    conditions(&mut criterion);
    all_together(&mut criterion);
    criterion.final_summary();
}
