//! Native load generator and side-by-side benchmark of Barnabas. It speaks just enough of Kafka's protocol to load a broker, a
//! relay or the gateway at little cost of its own, reads what the measured process used from /proc, and writes tables.
//! See `tests/bench/README.md` for what each figure means.

mod args;
mod audit;
mod batch;
mod bridge;
mod comparison;
mod error;
mod histogram;
mod link;
mod load;
mod machine;
mod parts;
mod payload;
mod process;
mod programme;
mod report;
mod revocation;
mod rotation;
mod silence;
mod single;
mod stage;
mod tls;
mod wire;

use std::io::{self, BufRead};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, StageArguments, Task};
use error::{Attempt, Error};
use stage::{Child, Stage};

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Produce(single) => single::produce(&single),
        Task::Consume(single) => single::consume(&single),
        Task::Latency { single, rate } => single::latency(&single, rate),
        Task::Post { single, way, count } => single::post(&single, way, count),
        Task::Idle { single, count } => single::idle(&single, count),
        Task::Parts { value } => parts(value),
        Task::Up(arguments) => up(&arguments),
        Task::Compare(compare) => comparison::compare(&compare),
        Task::All { stage, rounds, seconds, out } => programme::run(&stage, rounds, seconds, out.as_deref()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("barnabas-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parts(value: usize) -> Result<(), Error> {
    let directory = std::env::temp_dir().join(format!("barnabas-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).attempt(|| format!("create {}", directory.display()))?;
    let measured =
        tls::Certificates::create(&directory).and_then(|certificates| parts::Parts::measure(value, &certificates));
    let _left_in_temp = std::fs::remove_dir_all(&directory);
    println!("{}", report::parts(&measured?, value));
    Ok(())
}

fn up(arguments: &StageArguments) -> Result<(), Error> {
    let stage = Stage::start(arguments)?;
    println!("{:<14} {:<22} pid", "party", "address");
    println!("{:<14} {:<22} {}", "broker", stage.broker.address, stage.broker.pid());
    for member in stage.members() {
        if let Some(pid) = member.child.as_ref().map(Child::pid) {
            let stay = if member.target.follow { "" } else { "  (--stay)" };
            let bridge =
                member.bridge.as_ref().map(|bridge| format!("  bridge {}", bridge.address)).unwrap_or_default();
            println!("{:<14} {:<22} {pid}{stay}{bridge}", member.party.name(), member.target.address);
        }
    }
    for (party, reason) in &stage.missing {
        println!("{:<14} missing: {reason}", party.name());
    }
    let show = |path: &Path| path.display().to_string();
    let files = &stage.certificates;
    println!("mTLS: --ca {} --cert {} --key {}", show(&files.ca), show(&files.client), show(&files.client_key));
    println!("Enter ends all of them");
    io::stdin().lock().read_line(&mut String::new()).attempt(|| "read standard input".into())?;
    Ok(())
}
