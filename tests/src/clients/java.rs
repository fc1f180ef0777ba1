//! Kafka's own tools, from the published jars: the client that defines what a Kafka client is.

use std::path::PathBuf;
use std::time::Duration;

use super::Endpoint;
use crate::kafka;
use crate::process::{Finished, Process};
use crate::scratch::Scratch;

/// Kafka's tools, as one client.
pub struct Java {
    endpoint: Endpoint,
    settings: Vec<(String, String)>,
    folder: Scratch,
}

impl Java {
    /// The tools for this endpoint.
    pub fn new(endpoint: &Endpoint) -> Self {
        Self { endpoint: endpoint.clone(), settings: vec![], folder: Scratch::new("java") }
    }

    /// Adds a client setting to the file that every tool is given.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Runs `class` to its end. In the arguments `{bootstrap}` and `{config}` stand for the endpoint and the settings file.
    #[track_caller]
    pub fn run(&self, class: &str, arguments: &[&str], input: &[u8]) -> Finished {
        let command = self.command(class, arguments);
        let name = class.rsplit('.').next().unwrap_or(class);
        Finished::run(name, &command, input, TOOL_BOUND, self.folder.path())
    }

    /// Starts `class` and lets it run: for tools that only end when told to.
    pub fn start(&self, class: &str, arguments: &[&str]) -> Process {
        let name = class.rsplit('.').next().unwrap_or(class);
        Process::start(name, &self.command(class, arguments), &self.folder.join(name))
    }

    /// A file for the tool to read.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        self.folder.write(name, content)
    }

    fn command(&self, class: &str, arguments: &[&str]) -> std::process::Command {
        let config = self.folder.write("client.properties", self.properties()).display().to_string();
        let mut command = kafka::tool(class);
        for argument in arguments {
            command.arg(argument.replace("{bootstrap}", &self.endpoint.bootstrap).replace("{config}", &config));
        }
        command
    }

    fn properties(&self) -> String {
        let mut lines = vec![format!("bootstrap.servers={}", self.endpoint.bootstrap)];
        if let Some(files) = &self.endpoint.tls {
            lines.push("security.protocol=SSL".to_owned());
            lines.push("ssl.truststore.type=PEM".to_owned());
            lines.push(format!("ssl.truststore.location={}", files.ca.display()));
            if let Some(own) = &files.own {
                lines.push("ssl.keystore.type=PEM".to_owned());
                lines.push(format!("ssl.keystore.location={}", own.key_store.display()));
            }
        }
        lines.extend(self.settings.iter().map(|(key, value)| format!("{key}={value}")));
        lines.join("\n") + "\n"
    }
}

const TOOL_BOUND: Duration = Duration::from_secs(120);
