//! Several brokers, for promises that one broker cannot show: every address rewritten, leaders that move, brokers that come.

use std::collections::BTreeMap;

use crate::broker::{cluster_id, folder_holds};
use crate::node::{Node, Plan};
use crate::ports;
use crate::scratch::Scratch;

/// A cluster of its own for one test. Node ids start at 1.
pub struct Cluster {
    nodes: BTreeMap<i32, Node>,
    next: Plan,
    folder: Scratch,
}

impl Cluster {
    /// Starts `count` combined nodes and waits until each names all.
    pub fn start(count: usize) -> Self {
        let folder = Scratch::new("cluster");
        let first = ports::block(2 * count as u16);
        let controller_port = |id: i32| first + 2 * (id as u16 - 1) + 1;
        let ids = 1..=count as i32;
        let voters: Vec<String> = ids.clone().map(|id| format!("{id}@127.0.0.1:{}", controller_port(id))).collect();
        let base = Plan {
            id: 0,
            port: 0,
            controller_port: 0,
            votes: true,
            nodes: count,
            voters: voters.join(","),
            cluster_id: cluster_id(),
            folder: folder.path().to_owned(),
            extra: vec![],
            doors: None,
        };
        let plan = |id: i32| Plan {
            id,
            port: controller_port(id) - 1,
            controller_port: controller_port(id),
            folder: folder.join(id.to_string()),
            ..base.clone()
        };
        let mut nodes: BTreeMap<i32, Node> = ids.map(|id| (id, Node::start(plan(id)))).collect();
        nodes.values_mut().for_each(|node| node.wait_ready(count));
        let next = Plan { id: count as i32, votes: false, ..base };
        Self { nodes, next, folder }
    }

    /// Adds a broker that was not there at the start and waits until all name it. Gives its id.
    pub fn add_broker(&mut self) -> i32 {
        self.next.id += 1;
        let id = self.next.id;
        let plan = Plan { id, port: ports::one(), folder: self.folder.join(id.to_string()), ..self.next.clone() };
        self.nodes.insert(id, Node::start(plan));
        let count = self.nodes.len();
        self.nodes.values_mut().for_each(|node| node.wait_ready(count));
        id
    }

    /// One node.
    pub fn node(&mut self, id: i32) -> &mut Node {
        self.nodes.get_mut(&id).unwrap_or_else(|| panic!("there is no node {id}"))
    }

    /// All plain listeners, separated by commas.
    pub fn bootstrap(&self) -> String {
        self.nodes.values().map(Node::address).collect::<Vec<_>>().join(",")
    }

    /// The plain listener of one node.
    pub fn address(&self, id: i32) -> String {
        self.nodes.get(&id).map(Node::address).unwrap_or_else(|| panic!("there is no node {id}"))
    }

    /// The ports of all plain listeners: none of them may ever be told to a client.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.values().map(|node| node.plan().port).collect()
    }

    /// True when any file of any node holds these bytes.
    pub fn disk_holds(&self, needle: &[u8]) -> bool {
        self.nodes.values().any(|node| folder_holds(&node.data(), needle))
    }
}
