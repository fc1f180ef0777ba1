//! The gateway under test, started from a template of its configuration. A template is the YAML that `barnabas serve` takes,
//! with `${NAME}` for what differs from run to run; a line that begins with `#! ` is a `barnabas` command run before. So who
//! changes the configuration's shape changes a template and not this program.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::child::Child;
use super::{Party, free_port, write};
use crate::args::StageArguments;
use crate::error::{Attempt, Error};
use crate::link::Link;
use crate::tls::Certificates;

/// Prepares and starts one gateway in front of `broker`.
pub fn start(
    directory: &Path,
    party: Party,
    broker: SocketAddr,
    certificates: &Certificates,
    arguments: &StageArguments,
) -> Result<(SocketAddr, Child), Error> {
    let program = arguments.gateway.canonicalize().map_err(|_| {
        Error::Setup(format!(
            "no gateway at {}: cargo build --release -p barnabas",
            arguments.gateway.display()
        ))
    })?;
    let template = arguments
        .gateway_configs
        .join(format!("{}.yaml", party.name()));
    let template =
        fs::read_to_string(&template).attempt(|| format!("read {}", template.display()))?;
    let home = directory.join(party.name());
    private_folder(&home).attempt(|| format!("create {}", home.display()))?;

    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let values = [
        ("BIND", address.to_string()),
        ("BROKER_PORT", free_port()?.to_string()),
        ("ADMIN", format!("127.0.0.1:{}", free_port()?)),
        ("BROKER", broker.to_string()),
        ("DIR", home.display().to_string()),
        ("CA", certificates.ca.display().to_string()),
        ("SERVER_CERT", certificates.server.display().to_string()),
        ("SERVER_KEY", certificates.server_key.display().to_string()),
    ];
    let run = |marker: &str| {
        for line in template.lines().filter_map(|line| line.strip_prefix(marker)) {
            let line = fill(line, &values, &home)?;
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            Child::output(&program, &words)?;
        }
        Ok::<(), Error>(())
    };
    run("#! ")?;
    let file = home.join("barnabas.yaml");
    write(&file, &fill(&template, &values, &home)?)?;
    run("#> ")?;
    let serve = [
        "serve".into(),
        "--config".into(),
        file.display().to_string(),
    ];
    let child = Child::start(
        &program,
        &serve,
        directory.join(format!("{}.log", party.name())),
    )?;
    let tls = if party.tls() {
        Some(certificates.client_config()?)
    } else {
        None
    };
    Link::await_life(address, tls.as_ref(), super::child::START)
        .map_err(|error| child.complaint(&error))?;
    Ok((address, child))
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
        let (name, behind) = after
            .split_once('}')
            .ok_or_else(|| Error::Setup("a `${` of the template is not closed".into()))?;
        text.push_str(before);
        if let Some(path) = name.strip_prefix("file:") {
            // Commands come before the file that they make is asked for; their own lines are filled early.
            let path = home.join(path);
            let content =
                fs::read_to_string(&path).attempt(|| format!("read {}", path.display()))?;
            text.push_str(content.trim());
        } else {
            let value = values.iter().find(|(known, _)| *known == name);
            let (_, value) = value
                .ok_or_else(|| Error::Setup(format!("the template asks for unknown `{name}`")))?;
            text.push_str(value);
        }
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_template_is_filled_and_an_unknown_name_is_refused() {
        let values = [("BIND", "127.0.0.1:1".to_owned())];
        assert_eq!(
            fill("bind: ${BIND} # x", &values, Path::new("/")).unwrap(),
            "bind: 127.0.0.1:1 # x"
        );
        assert!(fill("${NOPE}", &values, Path::new("/")).is_err());
        assert!(fill("${BIND", &values, Path::new("/")).is_err());
    }
}
