//! `/stats`, key for key and column for column.

use std::sync::Arc;
use std::time::Duration;

use super::Rig;
use crate::clock;
use crate::engine::{
    Client, ClientState, Consumer, Identity, LatencyTracking, Listed, Options, PullLimit, Signal,
    Subscriber,
};

/// A topic with a channel, a consumer that holds one of two messages, and a producer of two topics.
struct Busy {
    rig: Rig,
    consumer: Consumer,
    _listed: [Listed; 2],
}

fn client(address: &str, agent: &str) -> Arc<Client> {
    let identity = Identity {
        client_id: "me".into(),
        hostname: "host".into(),
        user_agent: agent.into(),
        ..Identity::default()
    };
    let connected = clock::unix_seconds() - 3661;
    Arc::new(Client::new(address.into(), connected, identity))
}

async fn busy() -> Busy {
    busy_with(Options::default()).await
}

async fn busy_with(options: Options) -> Busy {
    let rig = Rig::with(options).await;
    let topic = rig.engine.topic("orders").unwrap();
    let channel = topic.channel("billing").unwrap();
    let reader = client("10.0.0.1:5000", "reader/1");
    let subscriber = Subscriber {
        client: Arc::clone(&reader),
        signal: Arc::<Signal>::default(),
        msg_timeout: Duration::from_secs(60),
        touch_timeout: Duration::from_secs(60),
        sample_rate: 0,
    };
    let consumer = channel.subscribe(subscriber, 0).unwrap();
    reader.enter(ClientState::Subscribed);
    rig.post("/mpub?topic=orders", b"one\nthree").await.is("OK");
    consumer.set_ready(1);
    let all = PullLimit { messages: u64::MAX, bytes: usize::MAX };
    assert_eq!(consumer.pull(all, clock::now(), |_| ()).messages, 1);
    let writer = client("10.0.0.2:6000", "writer/1");
    writer.published(&"orders".into(), 2);
    writer.published(&"clicks".into(), 7);
    let clients = rig.engine.clients();
    let listed = [Arc::clone(clients).enter(reader), Arc::clone(clients).enter(writer)];
    Busy { rig, consumer, _listed: listed }
}

/// The keys of an object, in the order in which they stand in its text.
struct Keys(Vec<String>);

impl<'de> serde::Deserialize<'de> for Keys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self(Vec::new()))
    }
}

impl<'de> serde::de::Visitor<'de> for Keys {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((key, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
            self.0.push(key);
        }
        Ok(self)
    }
}

/// The keys of the first object behind `from`.
fn keys(text: &str, from: &str) -> Vec<String> {
    let (_, rest) = text.split_once(from).unwrap();
    let mut objects = serde_json::Deserializer::from_str(rest).into_iter::<Keys>();
    objects.next().unwrap().unwrap().0
}

#[tokio::test]
async fn json_has_nsqds_keys_in_nsqds_order() {
    let busy = busy().await;
    let stats = busy.rig.get("/stats?format=json").await;
    let text = stats.text();
    let expect = |from: &str, expected: &str| {
        assert_eq!(keys(text, from).join(" "), expected, "{text}");
    };
    expect("", "version health start_time topics memory producers");
    expect(
        "\"topics\":[",
        "topic_name channels depth backend_depth message_count message_bytes paused e2e_processing_latency",
    );
    expect(
        "\"channels\":[",
        "channel_name depth backend_depth in_flight_count deferred_count message_count global_msg_count requeue_count \
         timeout_count client_count clients paused e2e_processing_latency",
    );
    let client = "client_id hostname version remote_address state ready_count in_flight_count \
        message_count finish_count requeue_count connect_ts sample_rate deflate snappy user_agent \
        topology_zone topology_region ";
    let tls = "tls tls_cipher_suite tls_version tls_negotiated_protocol tls_negotiated_protocol_is_mutual";
    expect("\"clients\":[", &format!("{client}{tls}"));
    expect("\"producers\":[", &format!("{client}pub_counts {tls}"));
    expect(
        "\"memory\":",
        "heap_objects heap_idle_bytes heap_in_use_bytes heap_released_bytes gc_pause_usec_100 \
         gc_pause_usec_99 gc_pause_usec_95 next_gc_bytes gc_total_runs",
    );
    let stats = stats.json();
    let topic = &stats["topics"][0];
    assert_eq!((&topic["message_count"], &topic["message_bytes"]), (&2.into(), &8.into()));
    let latency = serde_json::json!({ "count": 0, "percentiles": null });
    assert_eq!(topic["e2e_processing_latency"], latency);
    let channel = &topic["channels"][0];
    assert_eq!((&channel["depth"], &channel["in_flight_count"]), (&1.into(), &1.into()));
    assert_eq!(channel["global_msg_count"], 1, "edge 67: deliveries, left out when there is none");
    let reader = &channel["clients"][0];
    assert_eq!((&reader["state"], &reader["ready_count"]), (&3.into(), &1.into()));
    assert_eq!((&reader["message_count"], &reader["version"]), (&1.into(), &"V2".into()));
    assert_eq!(reader["remote_address"], "10.0.0.1:5000");
    assert_eq!(stats["producers"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn edge_119_only_json_in_lower_case_is_json() {
    let rig = Rig::start().await;
    let text = rig.get("/stats?format=JSON").await;
    assert!(text.text().starts_with("nsqd v1.3.0 (built w/"));
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
}

#[tokio::test]
async fn edge_120_filters_that_match_nothing() {
    let busy = busy().await;
    let unknown = busy.rig.get("/stats?format=json&topic=nope").await.json();
    assert!(unknown["topics"].is_null() && unknown["producers"].is_null());
    let channel = busy.rig.get("/stats?format=json&topic=orders&channel=nope").await;
    assert_eq!(channel.json()["topics"], serde_json::json!([]));
    assert_eq!(channel.json()["producers"].as_array().unwrap().len(), 1);
    let channel = busy.rig.get("/stats?format=json&channel=nope").await;
    assert_eq!(channel.json()["topics"], serde_json::json!([]));
    let all = busy.rig.get("/stats?format=json&topic=&channel=").await;
    assert_eq!(all.json()["topics"].as_array().unwrap().len(), 1);
    let rig = Rig::start().await;
    let none = rig.get("/stats?format=json").await;
    assert!(none.text().contains("\"topics\":[],"), "{}", none.text());
    assert!(none.text().ends_with("\"producers\":null}"));
}

#[tokio::test]
async fn edge_121_a_producer_shows_one_topic() {
    let busy = busy().await;
    let one = serde_json::json!([{ "topic": "orders", "count": 2 }]);
    let filtered = busy.rig.get("/stats?format=json&topic=orders").await.json();
    assert_eq!(filtered["producers"][0]["pub_counts"], one);
    let all = busy.rig.get("/stats?format=json").await.json();
    assert_eq!(all["producers"][0]["pub_counts"].as_array().unwrap().len(), 1);
    busy.rig.engine.topic("other").unwrap();
    let other = busy.rig.get("/stats?format=json&topic=other").await.json();
    assert!(other["producers"][0].get("pub_counts").is_none());
}

#[tokio::test]
async fn clients_and_memory_can_be_left_out() {
    let busy = busy().await;
    let target = "/stats?format=json&include_clients=false&include_mem=0";
    let stats = busy.rig.get(target).await.json();
    let channel = &stats["topics"][0]["channels"][0];
    assert!(channel["clients"].is_null() && stats["producers"].is_null());
    assert_eq!(channel["client_count"], 1);
    assert!(stats.get("memory").is_none());
    let odd = busy.rig.get("/stats?format=json&include_clients=no&include_mem=").await;
    assert!(odd.json()["memory"].is_object() && odd.json()["producers"].is_array());
}

/// The text with what depends on the moment replaced.
async fn text(rig: &Rig, target: &str) -> String {
    let answer = rig.get(target).await;
    let lines = answer.text().split_inclusive('\n');
    let fixed = lines.map(|line| match line.split_once(' ') {
        Some(("start_time", time)) => {
            assert!(time.len() == 21 && time.ends_with("Z\n"), "{time}");
            "start_time T\n".to_owned()
        }
        Some(("uptime", _)) => "uptime D\n".to_owned(),
        _ => line.replace("1h1m2s", "1h1m1s").replace(crate::http::VERSION, "V"),
    });
    fixed.collect()
}

const HEAD: &str = "nsqd v1.3.0 (built w/leveret V)\nstart_time T\nuptime D\n\nHealth: OK\n";

#[tokio::test]
async fn text_has_nsqds_columns() {
    let busy = busy().await;
    busy.rig.engine.find_topic("orders").unwrap().set_paused(true);
    let shown = text(&busy.rig, "/stats?include_mem=false&topic=orders").await;
    let expected = concat!(
        "\nTopics:",
        "\n*P [orders         ] depth: 0     be-depth: 0     msgs: 2        e2e%: \n",
        "      [billing                  ] depth: 1     be-depth: 0     inflt: 1    def: 0    ",
        "re-q: 0     timeout: 0     msgs: 2        e2e%: \n",
        "        [V2 host:5000 reader/1   ] state: 3 inflt: 1    rdy: 1    fin: 0        ",
        "re-q: 0        msgs: 1        connected: 1h1m1s\n",
        "\nProducers:\n",
        "   [V2 host:6000 writer/1   ] msgs: 2        topics: orders=2 connected: 1h1m1s\n",
    );
    assert_eq!(shown, format!("{HEAD}{expected}"));
}

#[tokio::test]
async fn text_of_an_empty_node() {
    let rig = Rig::start().await;
    let shown = text(&rig, "/stats?include_mem=false").await;
    assert_eq!(shown, format!("{HEAD}\nTopics: None\n\nProducers: None\n"));
    *rig.wrong.lock() = Some("disk".into());
    let shown = text(&rig, "/stats").await;
    assert!(shown.contains("\n\nHealth: NOK - disk\n\nMemory:\n   heap_objects             \t0\n"));
    assert!(shown.contains("   gc_total_runs            \t0\n\nTopics: None\n"));
}

#[tokio::test]
async fn latencies_are_shown_as_configured() {
    let latency = LatencyTracking::new(vec![0.99, 0.5], Duration::from_secs(60)).unwrap();
    let busy = busy_with(Options { latency, ..Options::default() }).await;
    let none = serde_json::json!({ "count": 0, "percentiles": [
        { "quantile": 0.99, "value": 0 }, { "quantile": 0.5, "value": 0 },
    ]});
    assert_eq!(busy.rig.topic("orders").await["e2e_processing_latency"], none);
    busy.rig.engine.topic("no-channel").unwrap();
    let unknown = serde_json::json!({ "count": 0, "percentiles": null });
    assert_eq!(busy.rig.topic("no-channel").await["e2e_processing_latency"], unknown);

    busy.consumer.set_ready(10);
    let all = PullLimit { messages: u64::MAX, bytes: usize::MAX };
    let mut ids = Vec::new();
    busy.consumer.pull(all, clock::now(), |delivery| ids.push(delivery.id.to_hex()));
    let mut settling = busy.consumer.settle(clock::now());
    ids.iter().for_each(|id| settling.finish(id).unwrap());
    drop(settling);
    let topic = busy.rig.topic("orders").await;
    for shown in [&topic, &topic["channels"][0]] {
        let latency = &shown["e2e_processing_latency"];
        assert_eq!(latency["count"], 1, "{latency}");
        let value = latency["percentiles"][1]["value"].as_u64().unwrap();
        assert!(value > 0 && value < 60_000_000_000, "{latency}");
    }
    let text = busy.rig.get("/stats").await;
    let lines = text.text().lines().filter(|line| line.contains("e2e%: ") && line.ends_with('s'));
    assert_eq!(lines.count(), 2, "{}", text.text());
}
