//! A graphite server's rate of a counter, and its pictures.

use serde::Deserialize;
use serde_json::json;

use super::Admin;
use super::router::Given;
use crate::client::Call;
use crate::http::query::Query;
use crate::http::reply::{Refusal, Reply};

#[derive(Deserialize)]
struct Series {
    datapoints: Vec<(Option<f64>, f64)>,
}

/// GET `/api/graphite`: how fast a counter has grown in the last whole interval of statsd.
pub(super) async fn rate(admin: &Admin, raw: &str) -> Result<Reply, Refusal> {
    let query = Query::parse(raw).unwrap_or_default();
    if query.get("metric") != Some("rate") {
        return Err(Refusal::bad("INVALID_ARG_METRIC"));
    }
    let target = query.get("target").ok_or_else(|| Refusal::bad("INVALID_ARG_TARGET"))?;
    let url = admin.options.graphite_url.as_deref().ok_or_else(Refusal::internal)?;
    let interval = admin.options.statsd_interval.as_secs().max(1);
    let (from, until) = (format!("-{}sec", interval * 2), format!("-{interval}sec"));
    let query = [
        ("from", from.as_str()),
        ("until", until.as_str()),
        ("format", "json"),
        ("target", target),
    ];
    let call = Call { query: &query, ..Call::get(url, "/render") };
    let answered = admin.cluster.send(&call).await.map_err(failed)?;
    let series: Vec<Series> =
        serde_json::from_slice(&answered.body).map_err(|error| failed(error.to_string()))?;
    let count = series.first().and_then(|series| series.datapoints.first()?.0);
    #[allow(clippy::cast_precision_loss, reason = "seconds")]
    let rate = count.map(|count| count / interval as f64).filter(|rate| *rate >= 0.0);
    let text = rate.map_or_else(|| "N/A".to_owned(), |rate| format!("{rate:.2}"));
    Reply::json(&json!({ "rate": text }))
}

#[allow(clippy::needless_pass_by_value, reason = "it ends here")]
fn failed(error: String) -> Refusal {
    tracing::error!(error, "graphite does not answer");
    Refusal::internal()
}

/// GET `/render`: a picture, fetched for a browser that cannot reach graphite.
pub(super) async fn render(admin: &Admin, query: &str) -> Result<Given, Refusal> {
    let url = admin.options.graphite_url.as_deref().filter(|_| admin.options.proxy_graphite);
    let url = url.ok_or_else(|| Refusal::missing("NOT_FOUND"))?;
    let path = format!("{}/render?{}", admin.options.base_path, query);
    let answered = admin.cluster.send(&Call::get(url, &path)).await.map_err(failed)?;
    Ok(Given::Whole {
        status: answered.status,
        content_type: answered.content_type.unwrap_or_else(|| "image/png".to_owned()),
        body: answered.body,
        etag: None,
    })
}

/// Scheme and server of a URL, without a user.
pub(super) fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let server = rest.split('/').next().unwrap_or_default();
    let server = server.rsplit_once('@').map_or(server, |(_, server)| server);
    // Nothing else can be said in a policy.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if server.chars().all(is_plain) { format!("{scheme}://{server}") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path_and_no_secret() {
        assert_eq!(origin("https://me:pw@g.example:8080/x"), "https://g.example:8080");
        assert_eq!(origin("http://g; script-src *"), "");
    }
}
