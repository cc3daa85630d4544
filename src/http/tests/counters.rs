//! `/v1/routes`, `/metrics` and health.

use super::Rig;
use crate::metrics::broker::{BrokerState, BrokerStatus};
use crate::metrics::route::{RouteCounts, RouteState, RouteStatus};

fn route(state: RouteState, reason: Option<&str>) -> RouteStatus {
    RouteStatus {
        name: "orders".into(),
        mode: "direct".into(),
        from: "nsq topic orders".into(),
        to: "amqp exchange <shop>".into(),
        state,
        since: 1_700_000_000,
        reason: reason.map(str::to_owned),
        counters: RouteCounts { received: 5, confirmed: 4, ..RouteCounts::default() },
        pending: 1,
        ..RouteStatus::default()
    }
}

fn broker(state: BrokerState, error: Option<&str>) -> BrokerStatus {
    BrokerStatus {
        routes: 1,
        name: "main".into(),
        role: "publish",
        address: "127.0.0.1:5672".into(),
        state,
        since: 1_700_000_000,
        attempt: 0,
        error: error.map(str::to_owned),
    }
}

#[tokio::test]
async fn routes_are_shown_with_their_counters() {
    let rig = Rig::start().await;
    let none = rig.get("/v1/routes").await;
    assert_eq!(none.text(), r#"{"routes":[],"brokers":[]}"#);
    rig.routes
        .routes
        .lock()
        .push(route(RouteState::Failed, Some("403 ACCESS_REFUSED - login refused")));
    rig.routes.brokers.lock().push(broker(BrokerState::Failed, Some("ACCESS_REFUSED")));
    let answer = rig.get("/v1/routes").await;
    assert!(answer.text().contains(r"\u003cshop\u003e"));
    let shown = answer.json();
    let route = &shown["routes"][0];
    assert_eq!(route["state"], "failed");
    assert_eq!(route["reason"], "403 ACCESS_REFUSED - login refused");
    assert_eq!((&route["counters"]["received"], &route["pending"]), (&5.into(), &1.into()));
    assert_eq!(shown["brokers"][0]["state"], "failed");
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let rig = Rig::start().await;
    rig.routes.routes.lock().push(route(RouteState::Running, None));
    rig.engine.topic("t").unwrap();
    let metrics = rig.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "leveret_route_confirmed_total{route=\"orders\"} 4",
        "leveret_topic_depth{topic=\"t\"} 0",
        "leveret_healthy 1",
    ] {
        assert!(metrics.text().lines().any(|other| other == line), "{line}");
    }
}

#[tokio::test]
async fn ready_says_what_is_missing() {
    let rig = Rig::start().await;
    assert_eq!(rig.get("/health/live").await.json()["status"], "live");
    let ready = rig.get("/health/ready").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &"ready".into()));

    *rig.routes.routes.lock() = vec![route(RouteState::Paused, None)];
    *rig.routes.brokers.lock() = vec![broker(BrokerState::Up, None)];
    assert_eq!(rig.get("/health/ready").await.status, 200);

    *rig.wrong.lock() = Some("no space".into());
    *rig.routes.routes.lock() = vec![route(RouteState::Waiting, Some("broker main: refused"))];
    *rig.routes.brokers.lock() = vec![broker(BrokerState::Connecting, None)];
    let ready = rig.get("/health/ready").await;
    assert_eq!(ready.status, 503);
    let reasons = serde_json::json!([
        "no space",
        "route orders is waiting: broker main: refused",
        "broker main is connecting",
    ]);
    assert_eq!(ready.json()["reasons"], reasons);
    assert_eq!(ready.json()["routes"][0]["reason"], "broker main: refused");
    assert_eq!(rig.get("/health/live").await.status, 200);
}
