//! Tests of messages that are put back or thrown away.

use super::*;
use crate::engine::policy::DeadLetter;
use crate::engine::{Options, PeekLimit, Topic};

const PEEK: PeekLimit = PeekLimit { messages: 1000, bytes: 1 << 20 };

fn publish_to(topic: &Topic, body: &[u8]) {
    let accepted = topic.publish(std::iter::once(body), &Arc::default());
    assert!(accepted.is_ok());
    topic.wake();
}

fn dead(body: &[u8]) -> Vec<u8> {
    envelope::json(&DeadLetter {
        reason: "requeued",
        topic: "orders",
        channel: "billing",
        id: MessageId(255),
        timestamp: 7,
        attempts: 3,
        body,
    })
}

fn bodies(channel: &Channel) -> Vec<Vec<u8>> {
    channel.peek(PEEK, |_| true).into_iter().map(|seen| seen.body).collect()
}

fn ids(channel: &Channel) -> Vec<MessageId> {
    channel.peek(PEEK, |_| true).into_iter().map(|seen| seen.id).collect()
}

#[tokio::test]
async fn dead_letters_go_back_to_where_they_come_from_without_their_envelope() {
    let engine = Engine::new(Options::default());
    let orders = engine.topic("orders").unwrap().channel("billing").unwrap();
    let letters = engine.topic("dead").unwrap();
    let channel = letters.channel("look").unwrap();
    for body in [&b"one"[..], b"two", &[0xff]] {
        publish_to(&letters, &dead(body));
    }
    publish_to(&letters, b"no envelope");
    let all = ids(&channel);
    let second = Selection::These(vec![all[1], all[1], MessageId(1)]);
    let redriven = requeue(&engine, &channel, &second, None).await.unwrap();
    assert_eq!((redriven.done, redriven.missing.len()), (1, 1));
    assert_eq!(bodies(&orders), [b"two".to_vec()]);
    let redriven = requeue(&engine, &channel, &Selection::All, None).await.unwrap();
    assert_eq!(redriven.done, 2);
    assert!(redriven.failed[0].reason.contains("does not say"), "{redriven:?}");
    assert_eq!(bodies(&orders), [b"two".to_vec(), b"one".to_vec(), vec![0xff]]);
    assert_eq!(bodies(&channel), [b"no envelope".to_vec()], "it stays");
    let redriven = requeue(&engine, &channel, &Selection::All, Some("elsewhere")).await.unwrap();
    assert_eq!((redriven.done, channel.counts().depth, channel.counts().in_flight), (1, 0, 0));
    assert_eq!(engine.find_topic("elsewhere").unwrap().depth(), 1);
}

#[tokio::test]
async fn a_channel_that_feeds_itself_comes_to_an_end_and_a_paused_one_says_so() {
    let engine = Engine::new(Options::default());
    let topic = engine.topic("round").unwrap();
    let channel = topic.channel("c").unwrap();
    for at in 0..250_u32 {
        publish_to(&topic, at.to_string().as_bytes());
    }
    let redriven = requeue(&engine, &channel, &Selection::All, Some("round")).await.unwrap();
    assert_eq!((redriven.done, channel.counts().depth), (250, 250));
    channel.set_paused(true);
    let some = Selection::These(ids(&channel)[..3].to_vec());
    assert_eq!(discard(&channel, &some).await.unwrap().done, 3, "paused or not");
    assert_eq!(discard(&channel, &Selection::All).await, Err(RedriveError::Paused));
    channel.set_paused(false);
    assert_eq!(discard(&channel, &Selection::All).await.unwrap().done, 247);
    assert_eq!(channel.counts().depth, 0);
    let wrong = requeue(&engine, &channel, &Selection::All, Some("a b")).await;
    assert_eq!(wrong, Err(RedriveError::Name("a b".into())));
}
