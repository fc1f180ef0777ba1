//! Promise: the same consumer groups: classic, the new protocol of KIP-848, and share groups of KIP-932. Members come and go, offsets stay,
//! every record is seen once.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer as _};

use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::{Sent, assert_same, numbered};
use barnabas_tests::clients::{Endpoint, java::Java};
use barnabas_tests::process::Finished;
use barnabas_tests::scratch::unique;
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;

#[test]
fn a_classic_group_shares_the_partitions_and_keeps_its_offsets() {
    members_share(&[("group.protocol", "classic")]);
}

#[test]
fn a_group_of_the_new_protocol_shares_the_partitions_and_keeps_its_offsets() {
    members_share(&[("group.protocol", "consumer")]);
}

fn members_share(settings: &[(&str, &str)]) {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(4), secret());
    let alice = site.client("alice");
    let records: Vec<Sent> = (0..80).map(|n| numbered(&secret, n, n as i32 % 4)).collect();
    let group = unique("group");
    let members: Vec<_> = (0..2).map(|_| rd::consumer(&alice, &group, settings)).collect();
    members.iter().for_each(|member| member.subscribe(&[&topic]).expect("a subscription"));
    wait::until_true("each member has two partitions", || {
        members.iter().for_each(|member| drop(member.poll(Duration::from_millis(50))));
        members.iter().all(|member| member.assignment().is_ok_and(|list| list.count() == 2))
    });
    rd::produce(&alice, &topic, &records, &[]);
    let mut seen: Vec<Vec<_>> = vec![vec![], vec![]];
    wait::until_true("the members together see every record", || {
        for (member, seen) in members.iter().zip(&mut seen) {
            if let Some(Ok(message)) = member.poll(Duration::from_millis(20)) {
                seen.push(rd::owned(&message));
            }
        }
        seen.iter().map(Vec::len).sum::<usize>() == records.len()
    });
    assert!(seen.iter().all(|seen| !seen.is_empty()));
    assert_same(&records, &seen.concat());
    members.iter().for_each(|member| member.commit_consumer_state(CommitMode::Sync).expect("committed"));
    drop(members);
    let more: Vec<Sent> = (80..100).map(|n| numbered(&secret, n, n as i32 % 4)).collect();
    rd::produce(&alice, &topic, &more, &[]);
    let next = rd::consumer(&alice, &group, settings);
    next.subscribe(&[&topic]).expect("a subscription");
    let got = rd::take(&next, more.len());
    let keys = |all: Vec<Sent>| all.into_iter().map(|record| record.key).collect::<BTreeSet<_>>();
    assert_eq!(keys(got.into_iter().map(|got| got.record).collect()), keys(more));
    site.assert_sealed(&topic, 100, &secret);
}

/// The broker assigns topics by ids alone. A member that subscribed to a topic before it was made is assigned one of which the gateway
/// has never heard.
#[test]
fn a_member_is_assigned_a_topic_that_is_made_after_it_subscribed() {
    let mut site = Site::new();
    let (first, late, secret) = (site.sealed_topic(1), unique("sealed"), secret());
    let alice = site.client("alice");
    let member = rd::consumer(&alice, &unique("group"), &[("group.protocol", "consumer")]);
    member.subscribe(&[&first, &late]).expect("a subscription");
    wait::until_true("the member has what there is", || {
        drop(member.poll(Duration::from_millis(50)));
        member.assignment().is_ok_and(|list| list.count() == 1)
    });
    site.broker().wire().create_topic(&late, 1, 1, &[]).expect("a topic");
    wait::until_true("the member has both", || {
        drop(member.poll(Duration::from_millis(50)));
        member.assignment().is_ok_and(|list| list.count() == 2)
    });
    let records = [numbered(&secret, 0, 0)];
    rd::produce(&alice, &late, &records, &[]);
    assert_same(&records, &rd::take(&member, 1));
    site.assert_sealed(&late, 1, &secret);
}

#[test]
fn a_share_group_delivers_every_sealed_record_opened() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(2), secret());
    let alice = site.client("alice");
    let group = share_group(&site);
    let records: Vec<Sent> = (0..40).map(|n| numbered(&secret, n, n as i32 % 2)).collect();
    rd::produce(&alice, &topic, &records, &[]);
    let consumed = share(&alice, &topic, &group, 40).ok();
    let got: BTreeSet<&str> = consumed.stdout.lines().collect();
    let values: Vec<String> =
        records.iter().filter_map(|record| String::from_utf8(record.value.clone()?.0).ok()).collect();
    assert_eq!(got, values.iter().map(String::as_str).collect::<BTreeSet<_>>());
    site.assert_sealed(&topic, 40, &secret);
}

/// A broker counts deliveries and gives a record up after five. Who may not read must not use them up.
#[test]
fn a_member_without_a_grant_takes_no_record_from_a_share_group() {
    let mut site = Site::new();
    site.gateway.expect_in_log("share_fetch_refused");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alice, mallory) = (site.client("alice"), site.client("mallory"));
    let group = share_group(&site);
    let records: Vec<Sent> = (0..20).map(|n| numbered(&secret, n, 0)).collect();
    rd::produce(&alice, &topic, &records, &[]);
    for _ in 0..6 {
        let consumed = share(&mallory, &topic, &group, 1);
        assert!(!consumed.stdout.contains(&secret));
        assert!(consumed.text().contains("TopicAuthorizationException"), "{}", consumed.text());
    }
    let consumed = share(&alice, &topic, &group, 20).ok();
    assert_eq!(consumed.stdout.lines().collect::<BTreeSet<_>>().len(), 20, "{}", consumed.text());
    site.gateway.wait_for_log("share_fetch_refused");
}

/// A share group that begins with the first record.
fn share_group(site: &Site) -> String {
    let group = unique("share");
    let direct = Java::new(&Endpoint::direct(site.broker()));
    let earliest = [
        "--bootstrap-server",
        "{bootstrap}",
        "--alter",
        "--entity-type",
        "groups",
        "--entity-name",
        &group,
        "--add-config",
        "share.auto.offset.reset=earliest",
    ];
    direct.run("kafka.admin.ConfigCommand", &earliest, b"").ok();
    group
}

/// Consumes as one member, until `count` records have come or none for some seconds.
fn share(client: &Endpoint, topic: &str, group: &str, count: usize) -> Finished {
    let count = count.to_string();
    let consume = [
        "--bootstrap-server",
        "{bootstrap}",
        "--topic",
        topic,
        "--group",
        group,
        "--command-config",
        "{config}",
        "--max-messages",
        &count,
        "--timeout-ms",
        "15000",
    ];
    Java::new(client).run("org.apache.kafka.tools.consumer.ConsoleShareConsumer", &consume, b"")
}
