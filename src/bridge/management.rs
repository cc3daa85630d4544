//! RabbitMQ's management API, where a broker's `management` key names it: it tells of bindings, which AMQP does not.

use std::time::Duration;

use reqwest::{Client, Url};
use serde_json::Value;

use super::broker::{BrokerOptions, BrokerUri};
use super::topology::{Argument, Arguments, Binding, Destination};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    There,
    Absent,
}

/// See the module's description.
pub(super) struct Management {
    client: Client,
    base: Url,
    uri: BrokerUri,
}

impl Management {
    /// The broker's API; `None` if it names none.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) async fn of(broker: &BrokerOptions) -> Result<Option<Self>, String> {
        let Some(address) = &broker.management else { return Ok(None) };
        let base = Url::parse(&format!("{address}/")).map_err(|error| error.to_string())?;
        let options = broker.clone();
        let read = move || Ok::<_, String>((options.current_uri()?, options.tls.load()?));
        let (uri, tls) =
            tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())??;
        let client = Client::builder()
            .use_preconfigured_tls((*tls).clone())
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Some(Self { client, base, uri }))
    }

    /// Whether a binding is there.
    ///
    /// # Errors
    /// The API does not say.
    pub(super) async fn has(&self, binding: &Binding) -> Result<Shown, String> {
        let (kind, name) = match &binding.to {
            Destination::Queue(name) => ("q", name),
            Destination::Exchange(name) => ("e", name),
        };
        let mut url = self.base.clone();
        let path =
            ["api", "bindings", self.uri.vhost(), "e", &binding.exchange, kind, name.as_str()];
        url.path_segments_mut()
            .map_err(|()| "the address has no path".to_owned())?
            .pop_if_empty()
            .extend(path);
        let answer = self
            .client
            .get(url)
            .basic_auth(self.uri.username(), Some(self.uri.password()))
            .send()
            .await
            .map_err(|error| error.without_url().to_string())?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("it answers {status}"));
        }
        let all: Vec<Value> =
            answer.json().await.map_err(|error| error.without_url().to_string())?;
        let is_there = all.iter().any(|shown| is_same(binding, shown));
        Ok(if is_there { Shown::There } else { Shown::Absent })
    }
}

/// Whether what the API shows is this binding; its ends are known to be.
fn is_same(binding: &Binding, shown: &Value) -> bool {
    shown.get("routing_key").and_then(Value::as_str) == Some(&binding.routing_key)
        && shown.get("arguments") == Some(&json_table(&binding.arguments))
}

fn json_table(arguments: &Arguments) -> Value {
    Value::Object(arguments.iter().map(|(name, value)| (name.clone(), json(value))).collect())
}

fn json(argument: &Argument) -> Value {
    match argument {
        Argument::Boolean(value) => Value::from(*value),
        Argument::Integer(value) => Value::from(*value),
        Argument::Text(value) => Value::from(value.as_str()),
        Argument::List(values) => values.iter().map(json).collect(),
        Argument::Table(values) => json_table(values),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_binding_is_the_same_with_key_and_arguments() {
        let mut binding = Binding {
            exchange: "e".into(),
            to: Destination::Queue("q".into()),
            routing_key: "k".into(),
            arguments: Arguments::default(),
        };
        assert!(is_same(&binding, &json!({"routing_key": "k", "arguments": {}})));
        assert!(!is_same(&binding, &json!({"routing_key": "l", "arguments": {}})));
        binding.arguments.insert("n".into(), Argument::Integer(1));
        assert!(!is_same(&binding, &json!({"routing_key": "k", "arguments": {}})));
        assert!(is_same(&binding, &json!({"routing_key": "k", "arguments": {"n": 1}})));
    }
}
