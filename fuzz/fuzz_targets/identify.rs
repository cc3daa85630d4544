//! The body of IDENTIFY: nothing panics, what is agreed lies within the server's bounds, and the reply is JSON that says
//! the same.

#![no_main]

use std::time::Duration;

use leveret::protocol::identify::{Offer, Request, Settings, negotiate};
use libfuzzer_sys::fuzz_target;

const SECOND: Duration = Duration::from_secs(1);

fn offer() -> Offer {
    Offer {
        max_rdy_count: 2500,
        version: "1.3.0".into(),
        max_msg_timeout: 900 * SECOND,
        max_heartbeat_interval: 60 * SECOND,
        max_output_buffer_size: 65536,
        max_output_buffer_timeout: 30 * SECOND,
        min_output_buffer_timeout: Duration::from_millis(25),
        tls: true,
        deflate: true,
        max_deflate_level: 6,
        snappy: true,
        auth_required: false,
        topology_region: "\"region\\".into(),
        topology_zone: String::new(),
    }
}

fuzz_target!(|data: &[u8]| {
    let current = Settings {
        heartbeat_interval: Some(30 * SECOND),
        output_buffer_size: 16384,
        output_buffer_timeout: Some(Duration::from_millis(250)),
        sample_rate: 0,
        msg_timeout: 60 * SECOND,
    };
    let Ok(request) = Request::parse(data) else { return };
    let offer = offer();
    let Ok(agreed) = negotiate(&request, &offer, current) else { return };
    let settings = agreed.settings;
    let interval = settings.heartbeat_interval.unwrap_or(SECOND);
    assert!((SECOND..=offer.max_heartbeat_interval).contains(&interval));
    let timeout = settings.output_buffer_timeout.unwrap_or(offer.min_output_buffer_timeout);
    assert!((offer.min_output_buffer_timeout..=offer.max_output_buffer_timeout).contains(&timeout));
    assert!((SECOND..=offer.max_msg_timeout).contains(&settings.msg_timeout));
    assert!(matches!(settings.output_buffer_size, 1 | 64..=65536));
    assert!(settings.sample_rate <= 99);
    assert!(!agreed.snappy || agreed.deflate.is_none());
    assert!(agreed.deflate.is_none_or(|level| (1..=6).contains(&level)));
    if !request.feature_negotiation {
        assert!(!agreed.tls && !agreed.snappy && agreed.deflate.is_none());
        assert_eq!(agreed.reply, b"OK");
        return;
    }
    let reply = str::from_utf8(&agreed.reply).expect("the reply is text");
    for (key, value) in
        [("tls_v1", agreed.tls), ("snappy", agreed.snappy), ("deflate", agreed.deflate.is_some())]
    {
        assert!(reply.contains(&format!("\"{key}\":{value},")), "{key} in {reply}");
    }
    // What a reply says may be asked for: it reads back as a request.
    let again = Request::parse(&agreed.reply).expect("the reply is JSON");
    assert_eq!((again.topology_region.as_str(), again.tls_v1), ("\"region\\", agreed.tls));
});
