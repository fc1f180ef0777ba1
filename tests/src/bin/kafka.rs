//! `kafka [COMMAND...]`: starts the run's one broker, runs the command with the broker's description in its environment, ends the
//! broker, and ends as the command ended. Without a command the broker stays until standard input closes.
//!
//! So that all test binaries of `cargo test` share one broker, whoever runs first.

use std::io::Read;
use std::process::{Command, ExitCode};
use std::{env, io};

use barnabas_tests::broker::{Broker, SITE_VARIABLE};

fn main() -> ExitCode {
    let broker = Broker::start(&[]);
    let site = serde_json::to_string(broker.site()).expect("a site has a JSON form");
    let mut arguments = env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        println!("{site}");
        eprintln!("Apache Kafka answers at {}; it ends when standard input closes", broker.address());
        let _ = io::stdin().read_to_end(&mut Vec::new());
        return ExitCode::SUCCESS;
    };
    match Command::new(&program).args(arguments).env(SITE_VARIABLE, site).status() {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(e) => {
            eprintln!("cannot run {}: {e}", program.to_string_lossy());
            ExitCode::FAILURE
        }
    }
}
