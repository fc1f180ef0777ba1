//! The HTTP bridge beside a native client of the same gateway: CPU for each record by every way of posting, latency at a modest
//! rate, memory of readers that wait. A way that this gateway does not offer has its reason in its row.

use std::time::Duration;

use crate::args::LoadArguments;
use crate::comparison::Column;
use crate::error::Error;
use crate::histogram::Histogram;
use crate::load::http::{self, Bridge, Style};
use crate::load::readers::{self, Readers};
use crate::load::{self, Figures, Shape, Watch};
use crate::stage::{Member, Stage};

/// What one gateway showed.
pub struct Posts {
    /// A native client: one record in each request, one request under way on each connection.
    pub native: Figures,
    /// By style.
    pub styles: Vec<(Style, Result<Figures, String>)>,
    /// Acknowledgements at a modest rate: native, and posted.
    pub latency: Option<(Histogram, Histogram)>,
    /// Readers that wait.
    pub readers: Result<Readers, String>,
}

/// Every way of posting to every gateway that has a bridge.
pub fn posts(stage: &Stage, load: &LoadArguments, rate: f64) -> Vec<Column<Posts>> {
    let members = stage.members().iter().filter_map(|member| Some((member, member.bridge.as_ref()?)));
    members
        .map(|(member, bridge)| {
            let outcome = one(stage, member, bridge, load, rate);
            let failure = outcome.as_ref().err().map(ToString::to_string);
            Column { party: member.party, rounds: outcome.into_iter().collect(), failure }
        })
        .collect()
}

fn one(stage: &Stage, member: &Member, bridge: &Bridge, load: &LoadArguments, rate: f64) -> Result<Posts, Error> {
    let topic = format!("bench-http-{}-{}", member.party.name(), stage.next_number());
    let crowd = LoadArguments { connections: CONNECTIONS, batch: 0, in_flight: 1, ..load.clone() };
    let (shape, calm) = (crowd.shape(&topic), LoadArguments { connections: 1, ..crowd.clone() }.shape(&topic));
    let direct = stage.direct();
    direct.create_topic(&topic, load.partitions)?;
    let outcome = measure(stage, member, bridge, &shape, &calm, rate);
    direct.delete_topic(&topic)?;
    outcome
}

fn measure(
    stage: &Stage,
    member: &Member,
    bridge: &Bridge,
    shape: &Shape,
    calm: &Shape,
    rate: f64,
) -> Result<Posts, Error> {
    let watch = stage.watch(member);
    let native = load::produce::run(&member.target, shape, watch)?;
    let cluster = http::cluster_id(bridge);
    let styles = STYLES.map(|style| {
        // A post of many records, and a stream, keep a gateway busy on few connections.
        let few = Shape { connections: shape.connections.min(FEW), ..shape.clone() };
        let shape = if matches!(style, Style::Raw | Style::Binary(1)) { shape } else { &few };
        let figures = match (&cluster, style) {
            (Err(error), Style::Stream(_)) => Err(error.to_string()),
            (cluster, _) => {
                let cluster = cluster.as_deref().unwrap_or_default();
                http::run(bridge, cluster, shape, style, watch).map_err(|error| error.to_string())
            }
        };
        (style, figures)
    });
    let latency = latencies(member, bridge, calm, rate)?;
    let pid = watch.measured.ok_or_else(|| Error::Setup("the bridge is no process".into()))?;
    let readers = readers::run(bridge, &shape.topic, READERS, pid).map_err(|error| error.to_string());
    Ok(Posts { native, styles: styles.into(), latency: Some(latency), readers })
}

/// In turns, so that whatever else the machine does meets both.
fn latencies(member: &Member, bridge: &Bridge, shape: &Shape, rate: f64) -> Result<(Histogram, Histogram), Error> {
    let (mut native, mut posted) = (Histogram::default(), Histogram::default());
    for _ in 0..TURNS {
        native.merge(&load::latency::run(&member.target, shape, rate, Watch::default())?.acknowledged);
        posted.merge(&http::latency(bridge, shape, Style::Raw, rate)?);
    }
    Ok((native, posted))
}

/// The ways of posting that are measured.
const STYLES: [Style; 4] = [Style::Raw, Style::Binary(1), Style::Binary(100), Style::Stream(500)];
/// Callers at once, each with one post under way.
const CONNECTIONS: usize = 64;
/// The same where each has many records under way.
const FEW: usize = 4;
/// Readers that wait.
const READERS: usize = 1000;
const TURNS: usize = 3;
/// Posts in a second that leave both cores mostly idle.
pub const MODEST: f64 = 200.0;

/// CPU of the gateway for each record.
pub fn per_record(figures: &Figures) -> Option<Duration> {
    let records = u32::try_from(figures.records).ok().filter(|&records| records > 0)?;
    Some(figures.cpu?.total / records)
}
