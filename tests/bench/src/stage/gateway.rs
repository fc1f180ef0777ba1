//! The gateway under test, started from a template of its configuration. A template is the YAML that `barnabas serve` takes,
//! with `${NAME}` for what differs from run to run; a line that begins with `#! ` is a `barnabas` command run before the file is
//! written, one with `#> ` a command run with the file, before the gateway starts. So who changes the configuration's shape changes a template and not this program.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;

use super::child::Child;
use super::{Party, free_port, write};
use crate::args::StageArguments;
use crate::error::{Attempt, Error};
use crate::link::Link;
use crate::tls::Certificates;

/// A gateway that runs: where, as which process, and how its operator speaks to it.
pub struct Gateway {
    /// Where its clients connect.
    pub address: SocketAddr,
    /// Where its HTTP bridge listens.
    pub rest: SocketAddr,
    /// Its process.
    pub child: Child,
    /// Commands with its configuration.
    pub console: Console,
}

/// Prepares and starts one gateway in front of `broker`.
pub fn start(
    directory: &Path,
    party: Party,
    broker: SocketAddr,
    certificates: &Certificates,
    arguments: &StageArguments,
) -> Result<Gateway, Error> {
    let program = arguments.gateway.canonicalize().map_err(|_| {
        Error::Setup(format!("no gateway at {}: cargo build --release -p barnabas", arguments.gateway.display()))
    })?;
    let template = arguments.gateway_configs.join(format!("{}.yaml", party.name()));
    let template = fs::read_to_string(&template).attempt(|| format!("read {}", template.display()))?;
    let home = directory.join(party.name());
    private_folder(&home).attempt(|| format!("create {}", home.display()))?;
    let tls = if party.tls() { Some(certificates.client_config()?) } else { None };
    let values = vec![
        ("BROKER", broker.to_string()),
        ("DIR", home.display().to_string()),
        ("CA", certificates.ca.display().to_string()),
        ("SERVER_CERT", certificates.server.display().to_string()),
        ("SERVER_KEY", certificates.server_key.display().to_string()),
    ];
    let console = Console { program, template, config: home.join("barnabas.yaml"), home, values, tls };
    console.serve()
}

/// How an operator speaks to a gateway: `barnabas` commands with its configuration. It can also start others like it.
#[derive(Clone)]
pub struct Console {
    program: PathBuf,
    template: String,
    home: PathBuf,
    config: PathBuf,
    values: Vec<(&'static str, String)>,
    tls: Option<Arc<ClientConfig>>,
}

impl Console {
    /// Runs one command to its end; a failure holds what it said.
    pub fn run(&self, words: &[&str]) -> Result<(), Error> {
        let config = self.config.display().to_string();
        let words: Vec<_> = words.iter().chain(&["--config", &config]).map(|&word| word.to_owned()).collect();
        Child::output(&self.program, &words).map(drop)
    }

    /// The same without its configuration.
    pub fn run_without_configuration(&self, words: &[&str]) -> Result<(), Error> {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        Child::output(&self.program, &words).map(drop)
    }

    /// Starts another gateway with the same keystore and the same keyring, at addresses of its own.
    pub fn start_another(&self) -> Result<Gateway, Error> {
        self.start_another_with("another", "")
    }

    /// The same under a name, with more of a configuration behind what the template says.
    pub fn start_another_with(&self, name: &str, more: &str) -> Result<Gateway, Error> {
        // The commands of the template made what both share; a second time they would refuse.
        let lines = self.template.lines().filter(|line| !COMMANDS.iter().any(|marker| line.starts_with(marker)));
        let template = format!("{}\n{more}", lines.collect::<Vec<_>>().join("\n"));
        Self { template, config: self.home.join(format!("{name}.yaml")), ..self.clone() }.serve()
    }

    /// Chooses addresses, runs the template's commands, and starts the process.
    fn serve(self) -> Result<Gateway, Error> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let rest = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut values = self.values.clone();
        values.push(("BIND", address.to_string()));
        values.push(("REST", rest.to_string()));
        values.push(("BROKER_PORT", free_port()?.to_string()));
        values.push(("ADMIN", format!("127.0.0.1:{}", free_port()?)));
        let [before, behind] = COMMANDS;
        self.run_lines(before, &values)?;
        write(&self.config, &fill(&self.template, &values, &self.home)?)?;
        self.run_lines(behind, &values)?;
        let serve = ["serve".into(), "--config".into(), self.config.display().to_string()];
        let child = Child::start(&self.program, &serve, self.config.with_extension("log"))?;
        Link::await_life(address, self.tls.as_ref(), super::child::START).map_err(|error| child.complaint(&error))?;
        Ok(Gateway { address, rest, child, console: self })
    }

    /// Runs the commands that stand in the template behind `marker`.
    fn run_lines(&self, marker: &str, values: &[(&str, String)]) -> Result<(), Error> {
        for line in self.template.lines().filter_map(|line| line.strip_prefix(marker)) {
            let line = fill(line, values, &self.home)?;
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            Child::output(&self.program, &words)?;
        }
        Ok(())
    }
}

/// A keystore is refused in a folder that others can enter.
fn private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Puts values in the place of `${NAME}`, and the trimmed content of a file below `home` in the place of `${file:PATH}`.
fn fill(template: &str, values: &[(&str, String)], home: &Path) -> Result<String, Error> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, behind) =
            after.split_once('}').ok_or_else(|| Error::Setup("a `${` of the template is not closed".into()))?;
        text.push_str(before);
        if let Some(path) = name.strip_prefix("file:") {
            // Commands come before the file that they make is asked for; their own lines are filled early.
            let path = home.join(path);
            let content = fs::read_to_string(&path).attempt(|| format!("read {}", path.display()))?;
            text.push_str(content.trim());
        } else {
            let value = values.iter().find(|(known, _)| *known == name);
            let (_, value) = value.ok_or_else(|| Error::Setup(format!("the template asks for unknown `{name}`")))?;
            text.push_str(value);
        }
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}

/// What marks a command in a template: run before its file is written, and run when it is.
const COMMANDS: [&str; 2] = ["#! ", "#> "];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_template_is_filled_and_an_unknown_name_is_refused() {
        let values = [("BIND", "127.0.0.1:1".to_owned())];
        assert_eq!(fill("bind: ${BIND} # x", &values, Path::new("/")).unwrap(), "bind: 127.0.0.1:1 # x");
        assert!(fill("${NOPE}", &values, Path::new("/")).is_err());
        assert!(fill("${BIND", &values, Path::new("/")).is_err());
    }
}
