//! A collector as they are deployed, on libzmq's own ROUTER: it knows what an agent may
//! say, and fails on everything else.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::peer::{Peer, hex};

/// A routing id.
pub(crate) type Id = Vec<u8>;

/// A grid message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grid {
    pub(crate) from: Id,
    pub(crate) host: String,
    pub(crate) kind: String,
    pub(crate) values: BTreeMap<String, Value>,
}

impl Grid {
    pub(crate) fn names(&self) -> Vec<&str> {
        self.values.keys().map(String::as_str).collect()
    }

    pub(crate) fn number(&self, name: &str) -> f64 {
        self.values[name].as_f64().unwrap()
    }

    /// When the sample was taken: seconds since boot.
    pub(crate) fn uptime(&self) -> f64 {
        self.number("sys.uptime")
    }
}

/// What an agent said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    Hello(Id),
    Grid(Grid),
}

/// A collector; ends when dropped.
pub(crate) struct Collector {
    pub(crate) peer: Peer,
    pub(crate) port: u16,
    pub(crate) public: String,
    secret: String,
    address: String,
}

impl Collector {
    /// One on a free port of 127.0.0.1.
    pub(crate) async fn start() -> Self {
        Self::start_on("tcp://127.0.0.1:*").await
    }

    pub(crate) async fn start_on(address: &str) -> Self {
        let mut peer = Peer::router();
        let keys = peer.ask(json!({"do": "keys"})).await;
        let bound = peer.ask(json!({"do": "bind", "address": address})).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            peer,
            port: bound["port"].as_u64().unwrap().try_into().unwrap(),
            public: text(&keys["public"]),
            secret: text(&keys["secret"]),
            address: text(&bound["address"]),
        }
    }

    /// Dies as of a power cut. [`Collector::restart`] brings it back.
    pub(crate) fn crash(&mut self) {
        self.peer.kill();
    }

    /// Comes back as a new process, with the keys and the port from before.
    pub(crate) async fn restart(&mut self) {
        self.peer = Peer::router();
        let keys = json!({"do": "keys", "public": self.public, "secret": self.secret});
        self.peer.ask(keys).await;
        self.peer
            .ask(json!({"do": "bind", "address": self.address}))
            .await;
    }

    /// A stranger comes in its place, on the same port with a key of its own.
    pub(crate) async fn usurp(&mut self) {
        self.peer = Peer::router();
        self.peer
            .ask(json!({"do": "bind", "address": self.address}))
            .await;
    }

    /// The agent's settings for this collector, reached under a host name or address.
    pub(crate) fn section_at(&self, name: &str, host: &str) -> String {
        section(name, &format!("{host}:{}", self.port), &self.public)
    }

    /// The agent's settings for this collector.
    pub(crate) fn section(&self, name: &str) -> String {
        self.section_at(name, "127.0.0.1")
    }

    /// The next message, which must be one that the protocol allows.
    pub(crate) async fn next(&mut self) -> Said {
        let (from, frames) = self.peer.message().await;
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let is_id = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        assert!(from.len() == 16 && from.iter().all(is_id), "{from:?}");
        match frames.as_slice() {
            [b"CTRL", b"hello"] => Said::Hello(from),
            [b"METR", host, grid, kind @ (b"model" | b"metrics")] => Said::Grid(Grid {
                from,
                host: str::from_utf8(host).unwrap().to_owned(),
                kind: str::from_utf8(kind).unwrap().to_owned(),
                values: serde_json::from_slice(grid).unwrap(),
            }),
            other => panic!("not a message of an agent: {other:?}"),
        }
    }

    /// The next message, which must be a hello; the new connection.
    pub(crate) async fn hello(&mut self) -> Id {
        match self.next().await {
            Said::Hello(id) => id,
            other @ Said::Grid(_) => panic!("expected hello: {other:?}"),
        }
    }

    /// The next hello, whatever an older connection still had to say.
    pub(crate) async fn hello_again(&mut self) -> Id {
        loop {
            if let Said::Hello(id) = self.next().await {
                return id;
            }
        }
    }

    /// The next message, which must be a grid.
    pub(crate) async fn grid(&mut self) -> Grid {
        match self.next().await {
            Said::Grid(grid) => grid,
            other @ Said::Hello(_) => panic!("expected a grid: {other:?}"),
        }
    }

    /// The next message, which must be a grid of this kind.
    pub(crate) async fn grid_of(&mut self, kind: &str) -> Grid {
        let grid = self.grid().await;
        assert_eq!(grid.kind, kind, "{grid:?}");
        grid
    }

    /// Gives a control word.
    pub(crate) async fn say(&mut self, to: &Id, word: &str) {
        let frames = [b"CTRL", word.as_bytes()];
        self.peer.send(Some(to), &frames).await;
    }

    /// Gives a control word many times over; does not wait until that is done.
    pub(crate) fn flood(&mut self, to: &Id, word: &str, count: u32) {
        let frames = [hex(b"CTRL"), hex(word.as_bytes())];
        self.peer
            .tell(&json!({"do": "send", "to": hex(to), "frames": frames, "count": count}));
    }

    /// Takes an agent in, from its hello to its model; its connection.
    pub(crate) async fn welcome(&mut self) -> Id {
        let id = self.hello().await;
        self.say(&id, "model").await;
        assert_eq!(self.grid_of("model").await.from, id);
        id
    }

    /// Takes an agent in that may have sent its model lately; its new connection.
    pub(crate) async fn welcome_again(&mut self) -> Id {
        let id = self.hello_again().await;
        self.say(&id, "model").await;
        while self.grid().await.from != id {}
        id
    }
}

/// A collector's section in the agent's settings.
pub(crate) fn section(name: &str, endpoint: &str, public_key: &str) -> String {
    // Z85 has quotes of neither kind and no backslash.
    format!("[collector.{name}]\nendpoint = '{endpoint}'\npublic_key = '{public_key}'\n")
}
