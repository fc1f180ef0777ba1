//! One load on a target that runs already: for work on one figure. Prints what a reader wants in a few lines, saves the figures
//! where asked, and sets them against those of an earlier run.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Map, Value};

use crate::args::{Single, Way};
use crate::error::{Attempt, Error};
use crate::histogram::Histogram;
use crate::load::http::{self, Bridge, Style};
use crate::load::{self, Figures};

/// Named figures in a fixed order. Less is better for all but rates.
type Sheet = Vec<(&'static str, f64, &'static str)>;

/// `produce`.
pub fn produce(single: &Single) -> Result<(), Error> {
    let target = single.target()?;
    target.create_topic(&single.topic, single.load.partitions)?;
    let figures = load::produce::run(&target, &single.load.shape(&single.topic), single.watch())?;
    finish(single, "produce", &speed(&figures))
}

/// `consume`.
pub fn consume(single: &Single) -> Result<(), Error> {
    let figures = load::consume::run(&single.target()?, &single.load.shape(&single.topic), single.watch())?;
    finish(single, "consume", &speed(&figures))
}

/// `latency`.
pub fn latency(single: &Single, rate: f64) -> Result<(), Error> {
    let target = single.target()?;
    target.create_topic(&single.topic, single.load.partitions)?;
    let shape = single.load.shape(&single.topic);
    let latencies = load::latency::run(&target, &shape, rate, single.watch())?;
    let mut sheet = Sheet::new();
    quantiles(&mut sheet, ["ack_p50", "ack_p99", "ack_p999"], &latencies.acknowledged);
    quantiles(&mut sheet, ["delivered_p50", "delivered_p99", "delivered_p999"], &latencies.delivered);
    if let Some(cpu) = latencies.cpu_per_record {
        sheet.push(("cpu_per_record", cpu.as_secs_f64() * 1e6, "us, in and out"));
    }
    finish(single, "latency", &sheet)
}

/// `post`: the topic must be there.
pub fn post(single: &Single, way: Way, count: usize) -> Result<(), Error> {
    let target = single.target()?;
    let bridge = Bridge { address: target.address, tls: target.tls };
    let style = match way {
        Way::Raw => Style::Raw,
        Way::Binary => Style::Binary(count),
        Way::Stream => Style::Stream(count),
    };
    let cluster = http::cluster_id(&bridge)?;
    let figures = http::run(&bridge, &cluster, &single.load.shape(&single.topic), style, single.watch())?;
    let mut sheet = speed(&figures);
    if let Some(cpu) = crate::bridge::per_record(&figures) {
        sheet.push(("cpu_per_record", cpu.as_secs_f64() * 1e6, "us"));
    }
    finish(single, "post", &sheet)
}

/// `idle`.
pub fn idle(single: &Single, count: usize) -> Result<(), Error> {
    let pid = single.pid.ok_or_else(|| Error::Setup("idle needs --pid: whose memory is to be measured".into()))?;
    let idle = load::idle::run(&single.target()?, count, pid)?;
    finish(
        single,
        "idle",
        &vec![
            ("rss_per_connection", idle.rss / 1024.0, "KiB"),
            ("pss_per_connection", idle.pss / 1024.0, "KiB"),
            ("cpu_per_opening", idle.opening.as_secs_f64() * 1e6, "us"),
        ],
    )
}

fn speed(figures: &Figures) -> Sheet {
    let mut sheet = vec![
        ("records_per_second", figures.records_per_second(), ""),
        ("mib_per_second", figures.mebibytes() / figures.elapsed.as_secs_f64(), ""),
        ("requests_per_second", figures.requests as f64 / figures.elapsed.as_secs_f64(), ""),
    ];
    if let Some(cpu) = figures.cpu {
        sheet.push(("cpu_per_mb", figures.per_mebibyte(cpu), "ms"));
        sheet.push(("cpu_per_mb_system", figures.per_mebibyte(load_system(cpu)), "ms of it in the kernel"));
        sheet.push(("cpu_per_request", figures.per_request(cpu), "us"));
        sheet.push(("cores", cpu.total.as_secs_f64() / figures.elapsed.as_secs_f64(), "busy in the measured process"));
    }
    if let Some(memory) = figures.memory {
        sheet.push(("rss", memory.rss as f64 / load::MEBIBYTE, "MiB"));
        sheet.push(("pss", memory.pss as f64 / load::MEBIBYTE, "MiB"));
        sheet.push(("peak", memory.peak as f64 / load::MEBIBYTE, "MiB"));
    }
    if let Some(cpu) = figures.broker_cpu {
        sheet.push(("broker_cpu_per_mb", figures.per_mebibyte(cpu), "ms"));
    }
    sheet.push(("generator_cpu_per_mb", figures.per_mebibyte(figures.own_cpu), "ms"));
    sheet
}

fn load_system(cpu: crate::process::CpuUse) -> crate::process::CpuUse {
    crate::process::CpuUse { total: cpu.system, system: cpu.system }
}

fn quantiles(sheet: &mut Sheet, names: [&'static str; 3], histogram: &Histogram) {
    for (name, quantile) in names.into_iter().zip([0.5, 0.99, 0.999]) {
        sheet.push((name, histogram.quantile(quantile).as_secs_f64() * 1e6, "us"));
    }
}

fn finish(single: &Single, task: &str, sheet: &Sheet) -> Result<(), Error> {
    let json: Map<String, Value> =
        sheet.iter().map(|(name, value, _)| ((*name).to_owned(), Value::from(*value))).collect();
    let json = Value::Object(json).to_string();
    let earlier = single.against.as_ref().map(|path| earlier(path)).transpose()?.unwrap_or_default();
    if single.json {
        println!("{json}");
    } else {
        println!("{task} {} topic {}", single.target, single.topic);
        for (name, value, unit) in sheet {
            let ratio = earlier
                .get(*name)
                .map_or(String::new(), |before| format!("  was {before:.3}, x {:.3}", value / before));
            println!("  {name:<22} {value:>12.3} {unit}{ratio}");
        }
    }
    match &single.save {
        Some(path) => fs::write(path, json).attempt(|| format!("write {}", path.display())),
        None => Ok(()),
    }
}

fn earlier(path: &std::path::Path) -> Result<BTreeMap<String, f64>, Error> {
    let text = fs::read_to_string(path).attempt(|| format!("read {}", path.display()))?;
    let unreadable = || Error::Setup(format!("{} was not written by --save", path.display()));
    let value: Value = serde_json::from_str(&text).map_err(|_| unreadable())?;
    let map = value.as_object().ok_or_else(unreadable)?;
    Ok(map.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect())
}
