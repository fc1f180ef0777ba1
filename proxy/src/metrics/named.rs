//! What alert rules and documents name is really counted: the text of all metrics is held against them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::{ConnectionRefusal, Metrics};

/// A registry in which everything has a value: what has labels shows only then.
fn told() -> String {
    let metrics = Metrics::default();
    metrics.refused_record("forged");
    metrics.connection_refused(ConnectionRefusal::Limit);
    metrics.keyring.refused("older");
    metrics.key_system("vault", true);
    metrics.audit.sink_lag("siem");
    metrics.request_added(Duration::from_millis(1));
    metrics.rest.request("/v1", 200, Duration::from_millis(1));
    metrics.encode().unwrap()
}

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Every word that begins with the prefix of all metrics.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("barnabas_") && *word != "barnabas_").collect()
}

#[test]
fn every_metric_that_is_named_to_operators_exists() {
    let told = told();
    let names: BTreeSet<&str> =
        told.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split([' ', '{']).next()).collect();
    for (document, least) in [("../deploy/prometheus/alerts.yaml", 15), ("../deploy/README.md", 5), ("README.md", 8)] {
        let text = text(document);
        let named = named(&text);
        let unknown: Vec<_> =
            named.iter().filter(|name| !names.contains(*name) && !NO_METRICS.contains(*name)).collect();
        assert!(unknown.is_empty() && named.len() >= least, "{document} names {unknown:?}");
    }
}

#[test]
fn every_reason_that_an_alert_waits_for_is_one_that_is_counted() {
    let (rules, source) = (text("../deploy/prometheus/alerts.yaml"), text("src/chain/refusal.rs"));
    let of_connections = text("src/metrics.rs");
    let mut seen = 0;
    for reasons in rules.split("{reason=").skip(1).filter_map(|rest| rest.split('}').next()) {
        for reason in reasons.trim_matches(['~', '"']).split('|') {
            let is_counted = |source: &str| source.contains(&format!("=> \"{reason}\","));
            assert!(is_counted(&source) || is_counted(&of_connections), "nothing is counted as {reason}");
            seen += 1;
        }
    }
    assert!(seen >= 9, "{seen}");
}

#[test]
fn every_alert_says_what_to_do() {
    let rules = text("../deploy/prometheus/alerts.yaml");
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        assert!(["expr: ", "severity: ", "summary: ", "action: "].iter().all(|key| rule.contains(key)), "{name}");
    }
}

/// Names of topics and files that begin alike.
const NO_METRICS: &[&str] = &["barnabas_keyring", "barnabas_audit"];
