//! Routes of every kind under load, while chance kills, freezes and cuts what they are made of. At the end everything that
//! was acknowledged has come out.
//!
//! A short run is among all tests. `scripts/chaos` runs for as long as one likes: `LEVERET_CHAOS_SECONDS` says how long,
//! and `LEVERET_CHAOS_SEED` what chance does. A seed repeats what is done, not the moments at which it strikes.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::dice::Dice;
use crate::support::http;
use crate::support::leveret::Leveret;
use crate::support::proxy::Proxy;
use crate::support::rabbit::Rabbit;
use crate::support::site::plan_with;
use crate::support::traffic::{
    FAR_NAMES, FAR_ROUTES, MORE_NAMES, MORE_ROUTES, NAMES, Places, ROUTES, STORED, Traffic,
    steady_port,
};
use crate::support::unique;

/// How long an ordinary run goes on.
const SECONDS: u64 = 15;

/// What is done to the parts of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    KillBroker,
    FreezeBroker,
    RestartBroker,
    CutConnections,
    SilenceConnections,
    SlowConnections,
    KillLeveret,
    RestartLeveret,
    KillOther,
    Reload,
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KillBroker => "the broker is killed",
            Self::FreezeBroker => "the broker is frozen",
            Self::RestartBroker => "the broker is restarted",
            Self::CutConnections => "connections are cut",
            Self::SilenceConnections => "connections fall silent",
            Self::SlowConnections => "connections are slow",
            Self::KillLeveret => "Leveret is killed",
            Self::RestartLeveret => "Leveret is restarted",
            Self::KillOther => "the other node is killed",
            Self::Reload => "routes are changed",
        })
    }
}

/// Each as often as it stands here.
const HARMS: [Harm; 13] = [
    Harm::KillBroker,
    Harm::FreezeBroker,
    Harm::RestartBroker,
    Harm::CutConnections,
    Harm::CutConnections,
    Harm::SilenceConnections,
    Harm::SlowConnections,
    Harm::KillLeveret,
    Harm::KillLeveret,
    Harm::RestartLeveret,
    Harm::KillOther,
    Harm::Reload,
    Harm::Reload,
];

/// The parts of the flow.
struct Scene {
    rabbit: Rabbit,
    proxy: Proxy,
    server: Leveret,
    /// The node that routes lead to and from.
    other: Leveret,
    routes: String,
}

impl Scene {
    fn start(tag: &str) -> Self {
        let rabbit = Rabbit::own();
        let proxy = Proxy::to(rabbit.address());
        let uri = format!("amqp://guest:guest@{}/%2f", proxy.address());
        // What a killed node is to have again must be written down.
        let other = Leveret::serve(&format!(
            "nsqd: {{ tcp_address: '127.0.0.1:{}', http_address: 127.0.0.1:0, data_path: '{{dir}}', durability: disk }}\n",
            steady_port()
        ))
        .start();
        let routes = format!("{ROUTES}{MORE_ROUTES}{FAR_ROUTES}").replace('@', tag);
        let routes = routes.replace("FAR", &other.tcp().to_string());
        let more = format!(
            "  durability: disk\ntopics:\n- {{ match: {STORED}.*, store: rabbitmq, publish_timeout: 1m }}\n"
        );
        let server = plan_with(&uri, &more, &routes)
            .arg(&format!("--tcp-address=127.0.0.1:{}", steady_port()))
            .start();
        Self { rabbit, proxy, server, other, routes }
    }

    /// Changes every queued route, as if somebody had edited the file, and asks the node to take it over.
    fn reload(&self, window: u64) {
        let queued = format!("mode: queued\n    window: {{ messages: {window} }}\n");
        let folder = self.server.dir().join("bridges");
        let draft = folder.join(".draft");
        fs::write(&draft, self.routes.replace("mode: queued\n", &queued)).unwrap();
        fs::rename(draft, folder.join("routes.yaml")).unwrap();
        let answer = http::post(self.server.http(), "/v1/routes/reload", b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    fn harm(&mut self, harm: Harm, dice: &mut Dice) {
        let a_while = Duration::from_millis(500 + dice.below(5000));
        match harm {
            Harm::KillBroker => {
                self.rabbit.kill();
                self.rabbit.restart();
            }
            Harm::RestartBroker => {
                self.rabbit.stop();
                self.rabbit.restart();
            }
            Harm::FreezeBroker => {
                self.rabbit.freeze();
                std::thread::sleep(a_while);
                self.rabbit.thaw();
            }
            Harm::CutConnections => self.proxy.cut(),
            Harm::SilenceConnections => {
                self.proxy.silence();
                std::thread::sleep(a_while);
                self.proxy.open();
            }
            Harm::SlowConnections => {
                self.proxy.slow(Duration::from_millis(1 + dice.below(30)));
                std::thread::sleep(a_while);
                self.proxy.open();
            }
            Harm::KillLeveret => {
                self.server.kill();
                self.server.restart();
            }
            Harm::KillOther => {
                self.other.kill();
                self.other.restart();
            }
            Harm::Reload => self.reload(100 + dice.below(900)),
            Harm::RestartLeveret => {
                assert!(self.server.stop().success(), "a clean exit");
                self.server.restart();
            }
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn whatever_is_killed_frozen_or_cut_nothing_that_was_acknowledged_is_lost() {
    let chance = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
    let seed = number("LEVERET_CHAOS_SEED").unwrap_or_else(chance);
    let seconds = number("LEVERET_CHAOS_SECONDS").unwrap_or(SECONDS);
    eprintln!("chaos: seed {seed}, {seconds} s");
    let (tag, mut dice) = (unique("t"), Dice::new(seed));
    let mut scene = Scene::start(&tag);
    let names = NAMES.into_iter().chain(MORE_NAMES).chain(FAR_NAMES).chain([STORED]);
    let names: Vec<&'static str> = names.collect();
    let (broker, node, far) = (scene.rabbit.uri(), scene.server.tcp(), scene.other.tcp());
    let traffic = Traffic::start_at(&names, &tag, Places { broker, node, far });
    traffic.flows(&scene.server);
    scene.rabbit.sync();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        let harm = HARMS[dice.below(HARMS.len() as u64) as usize];
        eprintln!("chaos: {:5.1} s: {harm}", began.elapsed().as_secs_f64());
        scene.harm(harm, &mut dice);
        traffic.flows(&scene.server);
    }
    traffic.finish();
}
