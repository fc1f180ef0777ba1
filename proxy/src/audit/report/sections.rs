//! The sections of a report, in the order of reading: could, did, was refused; keys and their ages; how fast it was over; what
//! changed; what is missing. Each answers one question of an auditor.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::chart::{Bar, Chart};
use super::controls;
use super::facts::{Change, Count, Facts};
use super::revocation::Revocation;
use super::section::{LogSource, Section, Source, counted, grouped, maybe, moment, refused, section, span};

/// All sections.
#[must_use]
pub fn sections(facts: &Facts, source: &Source) -> Vec<Section> {
    vec![
        activity(facts),
        integrity(facts, source),
        gaps(facts),
        access(facts),
        used(facts),
        refusals(facts),
        connections(facts),
        revocations(facts),
        keys(facts),
        sessions(facts),
        kms(facts),
        changes(facts),
        readers(facts),
        section(
            ("controls", "Requirements"),
            "Where this report has evidence for which requirement. Whether it is enough is for the auditor to say.",
            &["framework", "item", "asks for", "sections", "found"],
            controls::rows(facts),
        ),
    ]
}

fn activity(facts: &Facts) -> Section {
    let (good, other) = facts.hours.values().fold((0, 0), |(good, other), day| (good + day.0, other + day.1));
    let lead = format!(
        "{} entries tell {} events of {}: {} went as asked or are plain facts, {} were refused or failed.",
        grouped(facts.events),
        grouped(good + other),
        counted(facts.kinds.len(), "kind", "kinds"),
        grouped(good),
        grouped(other),
    );
    let rows = facts.kinds.iter().map(|(kind, times)| vec![kind.clone(), times.to_string()]).collect();
    section(("activity", "Activity"), lead, &["kind", "events"], rows).with(Chart::columns(columns(facts)))
}

/// A column for each hour of a few days, for each day of more; those without an event as well.
fn columns(facts: &Facts) -> Vec<(String, u64, u64)> {
    let second = |time: Option<&Timestamp>| time.map_or(0, |time| time.as_second());
    let (first, last) = (second(facts.hours.keys().next()), second(facts.hours.keys().next_back()));
    let (step, form) = if last - first <= FEW_DAYS { (3600, "%m-%d %H:00") } else { (86_400, "%Y-%m-%d") };
    let mut columns: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    for (time, (good, other)) in &facts.hours {
        let column = columns.entry(time.as_second().div_euclid(step)).or_default();
        *column = (column.0 + good, column.1 + other);
    }
    let range = columns.keys().next().copied().zip(columns.keys().next_back().copied());
    let range = range.map_or(0..0, |(first, last)| first..(last + 1).min(first + MOST_COLUMNS));
    let name = |at: i64| {
        Timestamp::from_second(at * step).map_or_else(|_| String::new(), |time| time.strftime(form).to_string())
    };
    range
        .map(|at| (name(at), columns.get(&at).copied().unwrap_or_default()))
        .map(|(name, (good, other))| (name, good, other))
        .collect()
}

fn integrity(facts: &Facts, source: &Source) -> Section {
    let clock =
        facts.clock_offset.map_or("not compared in this period".to_owned(), |millis| format!("at most {millis} ms"));
    let mut rows = Vec::new();
    let several = source.logs.len() > 1;
    for (number, log) in (1..).zip(&source.logs) {
        rows.extend(log_rows(log).into_iter().map(|(name, value)| {
            let name = if several { format!("log {number}: {name}") } else { name.to_owned() };
            vec![name, value]
        }));
    }
    if several {
        let missing = if source.without.is_empty() {
            "none: the logs name each other, and all that they name are here".to_owned()
        } else {
            format!("known to whoever made this report: {}", source.without.join(", "))
        };
        rows.push(vec!["missing logs".to_owned(), missing]);
    }
    rows.push(vec!["entries that are no events".to_owned(), grouped(facts.unread)]);
    rows.push(vec!["clock, distance from its reference".to_owned(), clock]);
    let lead = if several {
        "Each log was verified before this report was made, and held against what the others say of it. An entry is written as LOG:INDEX."
    } else {
        "The log was verified before this report was made. A log alone cannot show that it is the latest: compare the checkpoint with one that was kept elsewhere."
    };
    let lost = source.logs.iter().any(|log| log.unreadable > 0 || log.left_out > 0);
    section(("integrity", "Integrity of the log"), lead, &["what", "value"], rows)
        .looked_at_if(lost || facts.unread > 0 || !source.without.is_empty())
}

fn log_rows(log: &LogSource) -> Vec<(&'static str, String)> {
    let whole = "the signature of the checkpoint, the tree, and every entry that is there: nothing was changed, removed, inserted or moved";
    let key =
        if log.is_key_given { "given by whoever made this report" } else { "taken from the log itself: compare it" };
    let mut rows = vec![
        ("log", log.origin.clone()),
        ("verified", whole.to_owned()),
        ("entries", grouped(log.size)),
        ("expired by signed statement", grouped(log.expired)),
        ("lost by a disk, by signed statement", grouped(log.unreadable)),
    ];
    if log.left_out > 0 {
        rows.push(("left out of the bundle", grouped(log.left_out)));
    }
    rows.extend([
        ("key", log.key.clone()),
        ("whose key it is", key.to_owned()),
        ("checkpoint", log.checkpoint.trim().replace('\n', " / ")),
    ]);
    rows
}

fn gaps(facts: &Facts) -> Section {
    let lead = if facts.gaps.is_empty() {
        "Nothing is missing: no gap, no run that ended by a crash, nothing dropped by age.".to_owned()
    } else {
        format!("{} about what is missing, or may be.", counted(facts.gaps.len(), "statement", "statements"))
    };
    let is_bad = facts.gaps.iter().any(|gap| gap.kind != "log.expired");
    section(("gaps", "Gaps"), lead, CHANGE_COLUMNS, change_rows(&facts.gaps)).looked_at_if(is_bad)
}

fn access(facts: &Facts) -> Section {
    let matrix = facts.grants.within(facts.period.from, facts.period.to);
    let lead = format!(
        "{} of {} on {} were in force at some time of the period. Rights are signed by the steward or its delegate; by policy or by name.",
        counted(matrix.rights.len(), "right", "rights"),
        counted(matrix.principals.len(), "principal", "principals"),
        counted(matrix.topics.len(), "topic", "topics"),
    );
    let epochs = |first: u32, last: Option<u32>| {
        format!("{first} to {}", last.map_or("the last".to_owned(), |last| last.to_string()))
    };
    let row = |right: &super::Right| {
        vec![
            right.principal.clone(),
            right.topic.clone(),
            right.right.clone(),
            moment(right.since),
            maybe(right.until),
            epochs(right.first_epoch, right.last_epoch),
            right.by.clone(),
            right.signed_by.clone(),
            right.entry.to_string(),
        ]
    };
    let columns = &["principal", "topic", "right", "from", "until", "epochs", "by", "signed by", "entry"];
    section(("access", "Who could"), lead, columns, matrix.rights.iter().map(row).collect()).with(Chart::grid(&matrix))
}

fn used(facts: &Facts) -> Section {
    let rows = facts.uses.iter().map(|((principal, topic, way), one)| {
        let keys = one.keys.len().to_string();
        let texts = [principal.as_str(), topic, way].map(str::to_owned);
        let numbers =
            [one.records.to_string(), one.bytes.to_string(), keys, moment(one.seen.first), moment(one.seen.last)];
        texts.into_iter().chain(numbers).collect()
    });
    let bars = facts.uses.iter().map(|((principal, topic, way), one)| Bar {
        name: format!("{principal} {way} {topic}"),
        value: one.records as f64,
        text: format!("{} records", grouped(one.records)),
        needs_a_look: false,
    });
    let lead = format!(
        "Use of keys by {}: what was really written and read, in records and bytes of their values.",
        counted(facts.uses.keys().map(|(who, ..)| who).collect::<BTreeSet<_>>().len(), "principal", "principals")
    );
    let columns = &["principal", "topic", "what", "records", "bytes", "keys", "first", "last"];
    section(("use", "Who did"), lead, columns, rows.collect()).with(Chart::bars(bars.collect()))
}

fn refusals(facts: &Facts) -> Section {
    let mut found: Vec<_> = facts.refusals.iter().collect();
    found.sort_by_key(|(_, count)| std::cmp::Reverse(count.times));
    let bars = found.iter().map(|([who, what, reason, _], count)| Bar {
        name: format!("{who} {what} {reason}"),
        value: count.times as f64,
        text: grouped(count.times),
        needs_a_look: true,
    });
    let bars = Chart::bars(bars.collect());
    let rows = found.into_iter().map(|(key, count)| counted_row(key, count)).collect();
    let lead = format!("{} refusals and failures, the most frequent first.", grouped(refused(facts)));
    let columns = &["principal", "resource", "reason", "kind", "times", "first", "last", "first entry"];
    section(("refusals", "What was refused"), lead, columns, rows).with(bars)
}

fn connections(facts: &Facts) -> Section {
    let failed: u64 =
        facts.logins.iter().filter(|([_, _, outcome, _], _)| outcome != "SUCCESS").map(|(_, count)| count.times).sum();
    let rows = facts.logins.iter().map(|(key, count)| counted_row(key, count)).collect();
    let lead = format!("Who connected from where; {} did not get in or were cut off.", grouped(failed));
    let columns = &["principal", "address", "outcome", "reason", "times", "first", "last", "first entry"];
    section(("connections", "Connections"), lead, columns, rows)
}

fn revocations(facts: &Facts) -> Section {
    let found: Vec<&Revocation> = facts.revocations.within(facts.period.from, facts.period.to).collect();
    let late = found.iter().filter(|one| one.used_after > 0).count();
    let slowest = found.iter().map(|one| one.heard.as_millisecond() - one.signed.as_millisecond()).max();
    let lead = match slowest {
        None => "No right was taken away in this period.".to_owned(),
        Some(_) => {
            let slow = found.iter().max_by_key(|one| one.heard.as_millisecond() - one.signed.as_millisecond());
            let slow = slow.map_or_else(String::new, |one| span(one.signed, one.heard));
            format!(
                "{}; the slowest was enforced {slow} after it was signed. {late} of them with use after they were enforced.",
                counted(found.len(), "right was taken away", "rights were taken away")
            )
        }
    };
    let since =
        |one: &Revocation, time: Option<Timestamp>| time.map_or_else(String::new, |time| span(one.signed, time));
    let rows = found.iter().map(|one| {
        vec![
            one.principal.clone(),
            one.topic.clone(),
            one.right.clone(),
            moment(one.signed),
            span(one.signed, one.heard),
            since(one, one.rotated),
            since(one, one.refused),
            one.used_after.to_string(),
            one.entry.to_string(),
        ]
    });
    let bars = found.iter().map(|one| Bar {
        name: format!("{} {} {}", one.principal, one.right, one.topic),
        value: (one.heard.as_millisecond() - one.signed.as_millisecond()).max(0) as f64,
        text: span(one.signed, one.heard),
        needs_a_look: one.used_after > 0,
    });
    let columns = &[
        "principal",
        "topic",
        "right",
        "signed",
        "enforced after",
        "new epoch after",
        "first refusal after",
        "records used afterwards",
        "entry",
    ];
    section(("revocations", "Revocations, and how fast they took effect"), lead, columns, rows.collect())
        .with(Chart::bars(bars.collect()))
        .looked_at_if(late > 0)
}

fn keys(facts: &Facts) -> Section {
    let period = facts.period;
    let end = period.to.min(Timestamp::now());
    let (mut rows, mut bars) = (Vec::new(), Vec::new());
    let mut begun = 0;
    for ((topic, number), epoch) in &facts.epochs {
        let next = facts.epochs.get(&(topic.clone(), number + 1)).map(|next| next.begun);
        begun += usize::from(period.has(epoch.begun));
        let state = match (epoch.destroyed, next) {
            (Some(_), _) => "destroyed",
            (None, Some(_)) => "old: opens only",
            (None, None) => "in use",
        };
        rows.push(vec![
            topic.clone(),
            number.to_string(),
            state.to_owned(),
            moment(epoch.begun),
            span(epoch.begun, next.unwrap_or(end)),
            maybe(epoch.rewrapped),
            maybe(epoch.destroyed),
            epoch.signed_by.clone(),
            epoch.entry.to_string(),
        ]);
        if next.is_none() && epoch.destroyed.is_none() {
            let value = (end.as_millisecond() - epoch.begun.as_millisecond()).max(0) as f64;
            bars.push(Bar {
                name: format!("{topic}, epoch {number}"),
                value,
                text: span(epoch.begun, end),
                needs_a_look: false,
            });
        }
    }
    let lead = format!(
        "{} of {}; {} began in the period. Below: how long the epochs in use have been in use.",
        counted(facts.epochs.len(), "epoch", "epochs"),
        counted(facts.epochs.keys().map(|(topic, _)| topic).collect::<BTreeSet<_>>().len(), "topic", "topics"),
        begun,
    );
    let columns =
        &["topic", "epoch", "state", "began", "in use for", "wrapped anew", "destroyed", "signed by", "entry"];
    section(("keys", "Keys, their ages and rotations"), lead, columns, rows).with(Chart::bars(bars))
}

fn sessions(facts: &Facts) -> Section {
    let rows = facts.sessions.iter().map(|(id, one)| {
        let epoch = one.epoch.map_or_else(String::new, |epoch| epoch.to_string());
        vec![
            id.clone(),
            one.topic.clone(),
            one.principal.clone(),
            epoch,
            one.suite.clone(),
            moment(one.announced),
            maybe(one.until),
        ]
    });
    let lead = format!(
        "{}: each seals for one client, one topic and one epoch.",
        counted(facts.sessions.len(), "session key was announced", "session keys were announced")
    );
    let columns = &["key id", "topic", "client", "epoch", "cipher", "announced", "seals until"];
    section(("sessions", "Session keys"), lead, columns, rows.collect())
}

fn kms(facts: &Facts) -> Section {
    let failed: u64 =
        facts.kms.iter().filter(|([.., outcome], _)| outcome != "SUCCESS").map(|(_, count)| count.times).sum();
    let rows = facts.kms.iter().map(|(key, count)| counted_row(key, count)).collect();
    let lead = format!("What was asked of key management systems; {} calls failed.", grouped(failed));
    let columns = &["system", "key", "operation", "outcome", "times", "first", "last", "first entry"];
    section(("kms", "Key management systems"), lead, columns, rows)
}

fn changes(facts: &Facts) -> Section {
    let lead = format!(
        "{} of configuration, policy, rights and keys, and runs of the gateway. Commands sign as the delegate.",
        counted(facts.changes.len(), "change", "changes")
    );
    section(("changes", "Changes"), lead, CHANGE_COLUMNS, change_rows(&facts.changes))
}

fn readers(facts: &Facts) -> Section {
    let rows = facts.readers.iter().map(|(who, count)| counted_row(std::slice::from_ref(who), count)).collect();
    section(
        ("readers", "Who read the audit log"),
        "Reads through the gateway. Who has the log's folder reads it without trace.",
        &["principal", "times", "first", "last", "first entry"],
        rows,
    )
}

fn counted_row(key: &[String], count: &Count) -> Vec<String> {
    let count = [count.times.to_string(), moment(count.first), moment(count.last), count.entry.to_string()];
    key.iter().cloned().chain(count).collect()
}

fn change_rows(changes: &[Change]) -> Vec<Vec<String>> {
    let row = |change: &Change| {
        vec![
            moment(change.time),
            change.kind.clone(),
            change.who.clone(),
            change.what.clone(),
            change.entry.to_string(),
        ]
    };
    changes.iter().map(row).collect()
}

/// Shown by the hour.
const FEW_DAYS: i64 = 3 * 86_400;

/// Ten years of days; a clock that was wrong once must not make a million.
const MOST_COLUMNS: i64 = 3_660;

const CHANGE_COLUMNS: &[&str] = &["time", "kind", "who", "what", "entry"];
