//! What routes ask of their brokers, beside what is there: for `leveret plan`, and made by `leveret apply`.

use std::fmt::Write as _;

use serde::Serialize;

use super::amqp::plan::Prober;
use super::broker::BrokerOptions;
use super::management::{Management, Shown};
use super::route::Route;
use super::topology::{Binding, Destination, ExchangeDeclare, QueueDeclare};

/// What one thing on a broker is found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is not there, and would be made.
    Create,
    /// It was made just now.
    Created,
    /// It is there as it is asked for.
    Exists,
    /// It is there otherwise, or it must be there and is not.
    Conflict,
    /// It cannot be told before it is applied.
    Unknown,
    /// It cannot be looked at, or could not be made.
    Failed,
}

impl State {
    const fn mark(self) -> char {
        match self {
            Self::Create | Self::Created => '+',
            Self::Exists => '=',
            Self::Conflict | Self::Failed => '!',
            Self::Unknown => '?',
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Create => "would be created",
            Self::Created => "created",
            Self::Exists => "exists",
            Self::Conflict => "conflicts",
            Self::Unknown => "unknown until applied",
            Self::Failed => "failed",
        }
    }
}

/// A state with the reason for it; the reason is empty where there is nothing to say.
pub(super) type Finding = (State, String);

/// What a route asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    Exchange(ExchangeDeclare),
    Queue(QueueDeclare),
    Binding(Binding),
    /// An exchange that has to be there, whatever it is.
    SomeExchange(String),
    /// A queue that has to be there, whatever it is.
    SomeQueue(String),
}

impl Thing {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Exchange(_) | Self::SomeExchange(_) => "exchange",
            Self::Queue(_) | Self::SomeQueue(_) => "queue",
            Self::Binding(_) => "binding",
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Exchange(exchange) => exchange.name.clone(),
            Self::Queue(queue) => queue.name.clone(),
            Self::Binding(binding) => binding.to_string(),
            Self::SomeExchange(name) | Self::SomeQueue(name) => name.clone(),
        }
    }

    fn asked(&self) -> String {
        match self {
            Self::Exchange(exchange) => exchange.to_string(),
            Self::Queue(queue) => queue.to_string(),
            Self::Binding(_) => String::new(),
            Self::SomeExchange(_) | Self::SomeQueue(_) => "of any kind".to_owned(),
        }
    }

    /// In this order they can be made.
    const fn rank(&self) -> u8 {
        match self {
            Self::Exchange(_) | Self::SomeExchange(_) => 0,
            Self::Queue(_) | Self::SomeQueue(_) => 1,
            Self::Binding(_) => 2,
        }
    }
}

/// A thing, whether it is only to be looked for, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) thing: Thing,
    pub(super) passive: bool,
    pub(super) routes: Vec<String>,
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// `exchange`, `queue` or `binding`.
    pub kind: &'static str,
    /// Its name; a binding's ends and key.
    pub name: String,
    /// What is asked of it, such as `quorum, x-max-length=1000`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub asked: String,
    /// What it is found to be.
    pub state: State,
    /// Why, mostly in the broker's words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The routes that ask for it.
    pub routes: Vec<String>,
}

/// What is asked of one broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BrokerPlan {
    /// Its name in the configuration.
    pub broker: String,
    /// Its address, without the password.
    pub address: String,
    /// Why it cannot be asked at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// In the order in which they are made.
    pub items: Vec<Item>,
}

/// What is asked of all brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// One for each broker that a route names.
    pub brokers: Vec<BrokerPlan>,
}

impl Plan {
    fn count(&self, of: &[State]) -> usize {
        let items = self.brokers.iter().flat_map(|broker| &broker.items);
        items.filter(|item| of.contains(&item.state)).count()
    }

    /// The exit code: 0 if everything is as it is asked for (or was made so), 2 if something would change or may, 1 if
    /// something is in the way.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let is_broken = self.brokers.iter().any(|broker| broker.error.is_some());
        if is_broken || self.count(&[State::Conflict, State::Failed]) > 0 {
            1
        } else if self.count(&[State::Create, State::Unknown]) > 0 {
            2
        } else {
            0
        }
    }

    /// The plan for people: a line for each thing, and a sum.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for broker in &self.brokers {
            // Writing to a text does not fail.
            writeln!(text, "broker {} ({})", broker.broker, broker.address).unwrap_or_default();
            if let Some(error) = &broker.error {
                writeln!(text, "  ! cannot be asked: {error}").unwrap_or_default();
            }
            for item in &broker.items {
                let asked = if item.asked.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", item.asked)
                };
                let reason = if item.reason.is_empty() {
                    String::new()
                } else {
                    format!(": {}", item.reason)
                };
                let (mark, words) = (item.state.mark(), item.state.words());
                let routes = item.routes.join(", ");
                let Item { kind, name, .. } = item;
                writeln!(text, "  {mark} {kind} {name}{asked} [{routes}] {words}{reason}")
                    .unwrap_or_default();
            }
        }
        let sums = [
            (self.count(&[State::Create]), "to create"),
            (self.count(&[State::Created]), "created"),
            (self.count(&[State::Exists]), "as asked for"),
            (self.count(&[State::Unknown]), "unknown"),
            (self.count(&[State::Conflict, State::Failed]), "in conflict or failed"),
        ];
        let sums: Vec<String> = sums
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, words)| format!("{count} {words}"))
            .collect();
        text + if sums.is_empty() { "nothing is asked of any broker" } else { "" }
            + &sums.join(", ")
    }
}

/// Compares what `routes` ask for with what is there. With `apply` it is made too, as far as nothing is in the way.
pub async fn make(brokers: &[BrokerOptions], routes: &[Route], apply: bool) -> Plan {
    let mut plan = Plan::default();
    for broker in brokers {
        let wishes = wishes(&broker.name, routes);
        if wishes.is_empty() {
            continue;
        }
        plan.brokers.push(ask(broker, wishes, apply).await);
    }
    plan
}

async fn ask(broker: &BrokerOptions, wishes: Vec<Wish>, apply: bool) -> BrokerPlan {
    let mut plan = BrokerPlan {
        broker: broker.name.clone(),
        address: broker.uri.to_string(),
        ..BrokerPlan::default()
    };
    let mut prober = match Prober::connect(broker).await {
        Ok(prober) => prober,
        Err(error) => {
            plan.error = Some(error);
            return plan;
        }
    };
    let management = Management::of(broker).await;
    let mut found: Vec<(Wish, State)> = Vec::new();
    for wish in wishes {
        let (state, reason) = finding(&mut prober, &management, &found, &wish, apply).await;
        plan.items.push(Item {
            kind: wish.thing.kind(),
            name: wish.thing.name(),
            asked: wish.thing.asked(),
            state,
            reason,
            routes: wish.routes.clone(),
        });
        found.push((wish, state));
    }
    prober.close().await;
    plan
}

async fn finding(
    prober: &mut Prober,
    management: &Result<Option<Management>, String>,
    found: &[(Wish, State)],
    wish: &Wish,
    apply: bool,
) -> Finding {
    let seen = match &wish.thing {
        Thing::Binding(binding) => {
            let by_ends = ends(prober, found, binding).await;
            match by_ends {
                Some(finding) => finding,
                None => shown(management, binding).await,
            }
        }
        thing => prober.look(thing).await,
    };
    match seen.0 {
        State::Create if wish.passive => {
            (State::Conflict, "it is not there, and is not to be made".to_owned())
        }
        // To make a binding that is there changes nothing.
        State::Create | State::Unknown if apply && !wish.passive => prober.make(&wish.thing).await,
        _ => seen,
    }
}

/// What a binding comes to by its ends alone: it is new if one of them is, and impossible without them.
async fn ends(prober: &mut Prober, found: &[(Wish, State)], binding: &Binding) -> Option<Finding> {
    let from = Thing::SomeExchange(binding.exchange.clone());
    let to = match &binding.to {
        Destination::Queue(name) => Thing::SomeQueue(name.clone()),
        Destination::Exchange(name) => Thing::SomeExchange(name.clone()),
    };
    let mut is_new = false;
    for end in [from, to] {
        let (kind, name) = (end.kind(), end.name());
        let known =
            found.iter().find(|(wish, _)| wish.thing.kind() == kind && wish.thing.name() == name);
        let state = match known {
            Some((_, state)) => *state,
            None => match prober.look(&end).await.0 {
                State::Create => State::Conflict,
                state => state,
            },
        };
        match state {
            State::Create | State::Created => is_new = true,
            State::Conflict if known.is_none() => {
                return Some((State::Conflict, format!("there is no {kind} {name}")));
            }
            State::Conflict | State::Failed | State::Exists | State::Unknown => {}
        }
    }
    is_new.then(|| (State::Create, String::new()))
}

/// What the management API says of a binding.
async fn shown(management: &Result<Option<Management>, String>, binding: &Binding) -> Finding {
    let management = match management {
        Ok(Some(management)) => management,
        Ok(None) => {
            let reason = "AMQP does not tell of bindings, and the broker has no management key";
            return (State::Unknown, reason.to_owned());
        }
        Err(error) => return (State::Failed, format!("the management API is of no use: {error}")),
    };
    match management.has(binding).await {
        Ok(Shown::There) => (State::Exists, String::new()),
        Ok(Shown::Absent) => (State::Create, String::new()),
        Err(error) => (State::Failed, format!("the management API does not tell: {error}")),
    }
}

/// What the routes ask of this broker: each thing once, in the order in which they can be made.
fn wishes(broker: &str, routes: &[Route]) -> Vec<Wish> {
    let mut wishes: Vec<Wish> = Vec::new();
    let mut add = |thing: Thing, passive: bool, route: &str| match wishes
        .iter_mut()
        .find(|wish| wish.thing == thing)
    {
        Some(wish) => {
            wish.passive &= passive;
            if !wish.routes.iter().any(|name| name == route) {
                wish.routes.push(route.to_owned());
            }
        }
        None => wishes.push(Wish { thing, passive, routes: vec![route.to_owned()] }),
    };
    for route in routes {
        let source = route.source().map(|from| (&from.broker, &from.declare));
        let targets = route.amqp_targets().map(|to| (&to.broker, &to.declare));
        for (_, declare) in source.into_iter().chain(targets).filter(|(name, _)| *name == broker) {
            let passive = declare.passive;
            for exchange in &declare.exchanges {
                add(Thing::Exchange(exchange.clone()), passive, &route.name);
            }
            for queue in &declare.queues {
                add(Thing::Queue(queue.clone()), passive, &route.name);
            }
            for binding in &declare.bindings {
                add(Thing::Binding(binding.clone()), passive, &route.name);
            }
        }
    }
    for route in routes {
        if let Some(from) = route.source().filter(|from| from.broker == broker) {
            add(Thing::SomeQueue(from.queue.clone()), true, &route.name);
        }
        for to in route.amqp_targets().filter(|to| to.broker == broker) {
            match (to.exchange.constant(), to.routing_key.constant()) {
                (Some(""), Some(queue)) => {
                    add(Thing::SomeQueue(queue.to_owned()), true, &route.name)
                }
                (Some(""), None) | (None, _) => {}
                (Some(exchange), _) => {
                    add(Thing::SomeExchange(exchange.to_owned()), true, &route.name);
                }
            }
        }
    }
    // What is declared is not looked for once more.
    let declared: Vec<(&'static str, String)> = wishes
        .iter()
        .filter(|wish| matches!(wish.thing, Thing::Exchange(_) | Thing::Queue(_)))
        .map(|wish| (wish.thing.kind(), wish.thing.name()))
        .collect();
    wishes.retain(|wish| {
        !matches!(wish.thing, Thing::SomeExchange(_) | Thing::SomeQueue(_))
            || !declared.contains(&(wish.thing.kind(), wish.thing.name()))
    });
    wishes.sort_by_key(|wish| wish.thing.rank());
    wishes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(states: &[State]) -> Plan {
        let items = states
            .iter()
            .map(|state| Item {
                kind: "queue",
                name: "q".to_owned(),
                asked: "classic".to_owned(),
                state: *state,
                reason: String::new(),
                routes: vec!["a".to_owned()],
            })
            .collect();
        Plan { brokers: vec![BrokerPlan { items, ..BrokerPlan::default() }] }
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst() {
        for (states, code) in [
            (&[][..], 0),
            (&[State::Exists, State::Created], 0),
            (&[State::Exists, State::Create], 2),
            (&[State::Unknown], 2),
            (&[State::Create, State::Conflict], 1),
            (&[State::Failed], 1),
        ] {
            assert_eq!(plan(states).exit_code(), code, "{states:?}");
        }
        let mut away = plan(&[]);
        away.brokers[0].error = Some("refused".to_owned());
        assert_eq!(away.exit_code(), 1);
    }

    #[test]
    fn a_plan_is_a_line_for_each_thing_and_a_sum() {
        assert_eq!(
            plan(&[State::Create, State::Exists]).text(),
            "broker  ()\n  + queue q (classic) [a] would be created\n  = queue q (classic) [a] exists\n\
             1 to create, 1 as asked for"
        );
        assert_eq!(Plan::default().text(), "nothing is asked of any broker");
    }
}
