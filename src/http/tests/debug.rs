//! `/debug`: nsqd's paths, and the truth.

use super::Rig;

#[tokio::test]
async fn the_pages_of_pprof_are_there() {
    let rig = Rig::start().await;
    let moved = rig.get("/debug/pprof").await;
    assert_eq!((moved.status, moved.header("location")), (301, Some("/debug/pprof/")));
    let index = rig.get("/debug/pprof/").await;
    assert_eq!(
        (index.status, index.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert_eq!(index.header("x-nsq-content-type"), None);
    for page in ["cmdline", "goroutine?debug=1", "heap?debug=1", "threadcreate?debug=2"] {
        let link = page.split('?').next().unwrap();
        assert!(index.text().contains(&format!("'{link}?debug=1'")), "{link}");
        let answer = rig.get(&format!("/debug/pprof/{page}")).await;
        assert_eq!(answer.status, 200, "{page}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(!answer.text().is_empty(), "{page}");
    }
    for method in ["GET", "POST"] {
        let symbol = rig.send(method, "/debug/pprof/symbol", b"").await;
        assert_eq!((symbol.status, symbol.text()), (200, "num_symbols: 0\n"));
    }
    rig.get("/debug/pprof/mutex").await.refuses(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_profile_that_there_is_not_is_said_to_be_missing() {
    let rig = Rig::start().await;
    for page in ["profile?seconds=1", "block?debug=1", "heap", "goroutine?debug=0", "heap?%"] {
        let answer = rig.get(&format!("/debug/pprof/{page}")).await;
        assert_eq!(answer.status, 501, "{page}: {}", answer.text());
    }
}

#[tokio::test]
async fn memory_is_shown_by_topic() {
    let rig = Rig::start().await;
    rig.post("/pub?topic=orders", b"body").await.is("OK");
    let heap = rig.get("/debug/pprof/heap?debug=1").await;
    let memory = heap.text().lines().find_map(|line| line.strip_prefix("topic orders "));
    assert!(memory.unwrap().parse::<u64>().unwrap() > 0, "{}", heap.text());
    let tasks = rig.get("/debug/pprof/goroutine?debug=1").await;
    assert!(tasks.text().lines().any(|line| line.starts_with("tasks ")), "{}", tasks.text());
}

/// nsqd does what is asked and answers 500.
#[tokio::test]
async fn edge_123_what_was_done_is_said_to_be_done() {
    let rig = Rig::start().await;
    let off = rig.send("PUT", "/debug/setblockrate?rate=0", b"").await;
    assert_eq!((off.status, off.text()), (200, "OK"));
    let on = rig.send("PUT", "/debug/setblockrate?rate=1", b"").await;
    assert_eq!((on.status, on.header("x-nsq-content-type")), (501, None));
    let bad = rig.send("PUT", "/debug/setblockrate?rate=x", b"").await;
    let text = "invalid block rate : strconv.Atoi: parsing \"x\": invalid syntax";
    assert_eq!((bad.status, bad.text()), (400, text));
    // What is settled leaves spare blocks behind.
    rig.post("/mpub?topic=t", &b"12345678\n".repeat(100)).await.is("OK");
    let freed = rig.post("/debug/freememory", b"").await;
    assert_eq!((freed.status, freed.header("x-nsq-content-type")), (200, None));
    assert!(freed.text().starts_with("OK: "), "{}", freed.text());
}
