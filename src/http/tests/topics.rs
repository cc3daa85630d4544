//! Topics and channels.

use super::Rig;

#[tokio::test]
async fn topics_come_and_go() {
    let rig = Rig::start().await;
    rig.post("/topic/create?topic=t", b"").await.is("");
    rig.post("/topic/create?topic=t", b"").await.is("");
    assert!(rig.engine.find_topic("t").is_some());
    rig.post("/topic/delete?topic=t", b"").await.is("");
    assert!(rig.engine.find_topic("t").is_none());
    let again = rig.post("/topic/delete?topic=t", b"").await;
    again.refuses(404, "TOPIC_NOT_FOUND");
}

#[tokio::test]
async fn edge_116_some_endpoints_look_up_names_unchecked() {
    let rig = Rig::start().await;
    for verb in ["delete", "pause", "unpause"] {
        let answer = rig.post(&format!("/topic/{verb}?topic=a+b"), b"").await;
        answer.refuses(404, "TOPIC_NOT_FOUND");
    }
    for verb in ["create", "empty"] {
        for name in ["a+b", ""] {
            let answer = rig.post(&format!("/topic/{verb}?topic={name}"), b"").await;
            answer.refuses(400, "INVALID_TOPIC");
        }
    }
    rig.post("/topic/empty?topic=t", b"").await.refuses(404, "TOPIC_NOT_FOUND");
    for verb in ["create", "delete", "empty", "pause", "unpause"] {
        let answer = rig.post(&format!("/topic/{verb}"), b"").await;
        answer.refuses(400, "MISSING_ARG_TOPIC");
    }
}

#[tokio::test]
async fn edge_117_channels_check_topic_then_channel_and_create_no_topic() {
    let rig = Rig::start().await;
    for verb in ["create", "delete", "empty", "pause", "unpause"] {
        for (query, status, text) in [
            ("", 400, "MISSING_ARG_TOPIC"),
            ("topic=", 400, "INVALID_ARG_TOPIC"),
            ("topic=a+b&channel=c", 400, "INVALID_ARG_TOPIC"),
            ("topic=t", 400, "MISSING_ARG_CHANNEL"),
            ("topic=t&channel", 400, "INVALID_ARG_CHANNEL"),
            ("topic=t&channel=%3F", 400, "INVALID_ARG_CHANNEL"),
            ("topic=t&channel=c", 404, "TOPIC_NOT_FOUND"),
        ] {
            let answer = rig.post(&format!("/channel/{verb}?{query}"), b"").await;
            answer.refuses(status, text);
        }
    }
    assert!(rig.engine.topics().is_empty());
    rig.engine.topic("t").unwrap();
    for verb in ["delete", "empty", "pause", "unpause"] {
        let answer = rig.post(&format!("/channel/{verb}?topic=t&channel=c"), b"").await;
        answer.refuses(404, "CHANNEL_NOT_FOUND");
    }
}

#[tokio::test]
async fn channels_come_and_go() {
    let rig = Rig::start().await;
    let topic = rig.engine.topic("t").unwrap();
    for _ in 0..2 {
        rig.post("/channel/create?topic=t&channel=c%23ephemeral", b"").await.is("");
    }
    assert!(topic.find_channel("c#ephemeral").is_some());
    rig.post("/channel/delete?topic=t&channel=c%23ephemeral", b"").await.is("");
    assert!(topic.channels().is_empty());
}

#[tokio::test]
async fn emptying_a_topic_leaves_its_channels_alone() {
    let rig = Rig::start().await;
    rig.post("/topic/create?topic=t", b"").await.is("");
    rig.post("/channel/create?topic=t&channel=c", b"").await.is("");
    rig.post("/pub?topic=t", b"one").await.is("OK");
    rig.post("/topic/pause?topic=t", b"").await.is("");
    rig.post("/pub?topic=t", b"two").await.is("OK");
    let depths =
        |topic: serde_json::Value| (topic["depth"].clone(), topic["channels"][0]["depth"].clone());
    assert_eq!(depths(rig.topic("t").await), (1.into(), 1.into()));
    rig.post("/topic/empty?topic=t", b"").await.is("");
    assert_eq!(depths(rig.topic("t").await), (0.into(), 1.into()));
    rig.post("/channel/empty?topic=t&channel=c", b"").await.is("");
    assert_eq!(depths(rig.topic("t").await), (0.into(), 0.into()));
}

#[tokio::test]
async fn a_pause_is_written_down_before_it_is_answered() {
    let rig = Rig::start().await;
    let topic = rig.engine.topic("t").unwrap();
    let channel = topic.channel("c").unwrap();
    for paused in [true, false] {
        let verb = if paused { "pause" } else { "unpause" };
        for _ in 0..2 {
            rig.post(&format!("/topic/{verb}?topic=t"), b"").await.is("");
            assert_eq!(topic.is_paused(), paused);
            rig.post(&format!("/channel/{verb}?topic=t&channel=c"), b"").await.is("");
            assert_eq!(channel.counts().paused, paused);
        }
    }
    let (first, second) = ([true; 4], [false; 4]);
    assert_eq!(*rig.persisted.lock(), [first, second].concat());
}
