//! `barnabas demo`: the whole thing on one machine, with nothing installed.
//!
//! Arrives: nothing but a wish to see it. Leaves: a screenful of steps that really happened, then a gateway that stays
//! up for the user's own client. What must never happen here: a step that is shown but was not checked, or a success
//! that hides a failed one.

mod stage;
mod settings;
mod stock;
mod show;
mod anatomy;
mod ledger;
mod join;
mod screen;

use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::screen::Screen;
use self::stage::Stage;
use super::Failure;

/// Show sealing at work: an in-process broker, certificates, the gateway, three clients; then wait for yours
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct DemoArgs {
    /// End after the show instead of waiting for Ctrl-C
    #[arg(long)]
    pub(super) once: bool,
    /// The gateway's first port; the following ones stand for brokers [default: free ones are found]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65_000))]
    pub(super) port: Option<u16>,
}

pub(super) fn run(args: DemoArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let shown = runtime.block_on(perform(&args));
    // Blocking calls of the client library may still be waiting.
    runtime.shutdown_timeout(Duration::from_secs(1));
    shown
}

async fn perform(args: &DemoArgs) -> Result<(), Failure> {
    // Before anything is built, so that an early Ctrl-C is an orderly end, too.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut screen = Screen::to_terminal();
    screen.title("Barnabas demo: clients speak Kafka as ever, and Kafka keeps only what it cannot read")?;
    screen.waiting("starting brokers, gateway and clients ...")?;
    let stage = tokio::select! {
        stage = Stage::build(args.port) => stage?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let shown = tokio::select! {
        shown = show::perform(&stage, &mut screen) => shown,
        _ = terminate.recv() => Err(interrupted()),
        _ = interrupt.recv() => Err(interrupted()),
    };
    if shown.is_ok() && !args.once {
        join::tell(&stage, &mut screen)?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        screen.blank()?;
    }
    let (folder, log) = (stage.folder().display().to_string(), stage.log().display().to_string());
    stage.end().await;
    screen.note(&format!("The gateway's log is {log}; configuration, keys and certificates stay in {folder}"))?;
    shown
}

fn interrupted() -> Failure {
    Failure::new(super::Exit::Failed, "interrupted before the end of the show")
}

const HELP: &str = "\
Everything happens in this process, in a temporary folder and on 127.0.0.1. With --once the exit code is 0 only if every
step has happened and was checked.

Examples:
  barnabas demo
  barnabas demo --once
  barnabas demo --port 19192";
