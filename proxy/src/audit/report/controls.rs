//! Which requirement is answered where: facts arrive, a row for each item of SOC 2, ISO 27001, PCI DSS, NIST 800-53 and GDPR that
//! this log has evidence for leaves. It names evidence; whether that is enough is for the auditor to say.

use super::facts::Facts;
use super::section::{counted, grouped, refused};

/// Framework, item, what it asks for in a few words, the sections that answer, and what was found.
pub(super) fn rows(facts: &Facts) -> Vec<Vec<String>> {
    let period = facts.period;
    let rights = facts.grants.within(period.from, period.to).rights.len();
    let revocations = facts.revocations.within(period.from, period.to);
    let (count, late) = revocations.fold((0, 0), |(all, late), one| (all + 1, late + usize::from(one.used_after > 0)));
    let revoked = format!("{}, {late} with use afterwards", counted(count, "revocation", "revocations"));
    let access = format!("{}; {revoked}", counted(rights, "right in force", "rights in force"));
    let refusals = format!("{} refusals", grouped(refused(facts)));
    let events = format!("{} events of {}", grouped(facts.events), counted(facts.kinds.len(), "kind", "kinds"));
    let whole =
        format!("verified: signature, tree, every entry; {}", counted(facts.gaps.len(), "gap told", "gaps told"));
    let clock = facts
        .clock_offset
        .map_or("no comparison in this period".to_owned(), |millis| format!("at most {millis} ms from the reference"));
    let begun = facts.epochs.values().filter(|epoch| period.has(epoch.begun)).count();
    let destroyed = facts.epochs.values().filter(|epoch| epoch.destroyed.is_some_and(|time| period.has(time))).count();
    let keys = format!(
        "{}, {}",
        counted(begun, "rotation", "rotations"),
        counted(facts.sessions.len(), "session key", "session keys")
    );
    let erased = format!("{} destroyed", counted(destroyed, "epoch", "epochs"));
    let found = |what: Found| match what {
        Found::Access => &access,
        Found::Clock => &clock,
        Found::Erased => &erased,
        Found::Events => &events,
        Found::Keys => &keys,
        Found::Refusals => &refusals,
        Found::Whole => &whole,
    };
    let row = |(framework, item, asks, sections, what): &Row| {
        [*framework, *item, *asks, *sections, found(*what).as_str()].map(str::to_owned).to_vec()
    };
    ITEMS.iter().map(row).collect()
}

#[derive(Clone, Copy)]
enum Found {
    Access,
    Clock,
    Erased,
    Events,
    Keys,
    Refusals,
    Whole,
}

type Row = (&'static str, &'static str, &'static str, &'static str, Found);

const ITEMS: &[Row] = &[
    ("SOC 2", "CC6.1", "access to data is restricted to who may", "access, use, refusals", Found::Access),
    ("SOC 2", "CC6.2, CC6.3", "access is given and taken away under control", "changes, revocations", Found::Access),
    ("SOC 2", "CC7.2", "what is unusual is noticed", "refusals, connections", Found::Refusals),
    ("SOC 2", "CC7.3, CC7.4", "events can be evaluated afterwards", "integrity, changes", Found::Whole),
    ("ISO 27001", "A.8.15", "activity is logged and the log protected", "integrity, gaps", Found::Whole),
    ("ISO 27001", "A.8.16", "behaviour is monitored", "refusals, connections", Found::Refusals),
    ("ISO 27001", "A.8.17", "clocks are synchronised", "integrity", Found::Clock),
    ("ISO 27001", "A.8.24", "keys are managed over their life", "keys, kms", Found::Keys),
    ("PCI DSS", "3.6, 3.7", "keys are protected, rotated, destroyed", "keys, kms", Found::Keys),
    ("PCI DSS", "10.2", "who, what, when, from where, outcome", "use, refusals, connections", Found::Events),
    ("PCI DSS", "10.3", "logs cannot be changed or destroyed", "integrity", Found::Whole),
    ("PCI DSS", "10.4", "logs are reviewed", "readers", Found::Events),
    ("PCI DSS", "10.5", "history is kept", "integrity, gaps", Found::Whole),
    ("PCI DSS", "10.6", "time is consistent", "integrity", Found::Clock),
    ("PCI DSS", "10.7", "failures of logging are noticed", "gaps", Found::Whole),
    ("NIST 800-53", "AU-2, AU-3, AU-12", "events are chosen, complete, generated", "use, changes", Found::Events),
    ("NIST 800-53", "AU-5", "failures of logging are answered", "gaps", Found::Whole),
    ("NIST 800-53", "AU-8", "time stamps are reliable", "integrity", Found::Clock),
    ("NIST 800-53", "AU-9, AU-10", "records are protected and cannot be denied", "integrity, readers", Found::Whole),
    ("NIST 800-53", "AU-11", "records are retained", "gaps", Found::Whole),
    ("NIST 800-53", "AC-2, AC-3, AC-6", "rights are given by need and enforced", "access, refusals", Found::Access),
    ("NIST 800-53", "SC-12", "keys are established and managed", "keys", Found::Keys),
    ("GDPR", "Article 17", "data can be erased", "keys", Found::Erased),
    ("GDPR", "Article 30", "processing is on record", "access, use", Found::Access),
    ("GDPR", "Article 32", "encryption, and its regular check", "keys, integrity", Found::Keys),
];
