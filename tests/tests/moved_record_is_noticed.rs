//! Promise: a sealed record cannot be moved, replayed, reordered, changed or slipped in without the reader noticing. The broker lies here;
//! each lie has a sound checksum, so only the sealing can tell.

use rdkafka::error::RDKafkaErrorCode;

use barnabas_tests::batch::Record;
use barnabas_tests::broker::Broker;
use barnabas_tests::clients::record::{Sent, assert_same, numbered, shows};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::evil::{Evil, Fetched};
use barnabas_tests::site::{Site, secret};

/// Ten records in each of two partitions; then the lie about partition 0 is told to a reader. What it must see: an error, and no record
/// that was not written at that place. The other partition must be whole.
fn told(lie: impl FnMut(&mut Vec<Record>) + Send + 'static, reason: &str) {
    let mut lie = on_records(lie);
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let mut site = Site::behind(&evil);
    site.gateway.expect_in_log(reason);
    let (topic, secret) = (site.sealed_topic(2), secret());
    let records: Vec<Sent> = (0..20).map(|n| numbered(&secret, n, n as i32 % 2)).collect();
    let one_batch = [("linger.ms", "300"), ("queue.buffering.max.ms", "300")];
    rd::produce(&site.client("alice"), &topic, &records, &one_batch);
    let reader = site.client("reader");
    assert_same(&records, &rd::read_all(&reader, &topic));
    let target = topic.clone();
    evil.on_fetch(move |fetched| {
        if fetched.topic == target && fetched.partition == 0 {
            lie(fetched);
        }
    });
    let reading = rd::read(&reader, &topic, &[]);
    assert!(evil.told() > 0, "the lie was never told");
    assert_eq!(reading.error, Some(RDKafkaErrorCode::InvalidRecord), "the reader heard nothing of it");
    for got in &reading.records {
        let place = |sent: &&Sent| sent.partition == got.record.partition;
        let wanted = records.iter().filter(place).nth(got.offset as usize);
        // That a record is out of its order shows at the next one; until then it is still what its writer wrote.
        let is_early = reason == OUT_OF_ORDER
            && records.iter().any(|sent| (&sent.key, &sent.value) == (&got.record.key, &got.record.value));
        assert!(wanted == Some(&got.record) || is_early, "a lie was delivered at offset {}: {got:?}", got.offset);
    }
    site.gateway.wait_for_log(reason);
    evil.be_honest();
    assert_same(&records, &rd::read_all(&reader, &topic));
    site.assert_sealed(&topic, records.len(), &secret);
}

fn on_records(mut lie: impl FnMut(&mut Vec<Record>) + Send + 'static) -> impl FnMut(Fetched<'_>) + Send + 'static {
    move |fetched| {
        for batch in fetched.batches.iter_mut().filter(|batch| !batch.is_control()) {
            lie(batch.records_mut());
        }
    }
}

#[test]
fn a_value_put_under_another_key_is_noticed() {
    told(|records| swap_values(records), "fails authentication");
}

#[test]
fn a_changed_byte_is_noticed() {
    let flip = |records: &mut Vec<Record>| {
        if let Some(value) = records.last().and_then(|record| record.value.clone()) {
            let mut value = value.to_vec();
            *value.last_mut().expect("a sealed value is not empty") ^= 1;
            records.last_mut().expect("not empty").value = Some(value.into());
        }
    };
    told(flip, "fails authentication");
}

#[test]
fn a_changed_key_is_noticed() {
    told(|records| records[0].key = Some("another".into()), "fails authentication");
}

#[test]
fn a_value_turned_into_a_tombstone_is_noticed() {
    told(|records| records[0].value = None, "record");
}

#[test]
fn a_cut_value_is_noticed() {
    let cut = |records: &mut Vec<Record>| {
        let value = records[0].value.clone().unwrap_or_default();
        records[0].value = Some(value.slice(..value.len().saturating_sub(1)));
    };
    told(cut, "record");
}

#[test]
fn plaintext_slipped_in_is_refused() {
    told(|records| records[0].value = Some("I was never sealed".into()), "not sealed");
}

#[test]
fn a_replayed_record_is_noticed() {
    let replay = |records: &mut Vec<Record>| {
        if records.len() > 1 {
            let (key, value) = (records[0].key.clone(), records[0].value.clone());
            (records[1].key, records[1].value) = (key, value);
        }
    };
    told(replay, "replay");
}

#[test]
fn records_in_another_order_are_noticed() {
    let reorder = |records: &mut Vec<Record>| {
        if records.len() > 1 {
            let last = records.len() - 1;
            let (first, second) = (records[0].clone(), records[last].clone());
            (records[0].key, records[0].value) = (second.key, second.value);
            (records[last].key, records[last].value) = (first.key, first.value);
        }
    };
    told(reorder, OUT_OF_ORDER);
}

#[test]
fn a_record_of_another_partition_or_topic_is_noticed() {
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let mut site = Site::behind(&evil);
    site.gateway.expect_in_log("record");
    let (here, there, secret) = (site.sealed_topic(2), site.sealed_topic(1), secret());
    let alice = site.client("alice");
    rd::produce(&alice, &here, &[numbered(&secret, 1, 0), numbered(&secret, 1, 1)], &[]);
    rd::produce(&alice, &there, &[numbered(&format!("elsewhere {secret}"), 1, 0)], &[]);
    let reader = site.client("reader");
    let direct = Endpoint::direct(broker);
    let elsewhere = rd::read_all(&direct, &there)[0].record.value.clone().expect("a value").0;
    let beside = rd::read_all(&direct, &here).into_iter().find(|got| got.record.partition == 1).expect("a record");
    for moved in [elsewhere, beside.record.value.expect("a value").0] {
        let target = here.clone();
        let lie = on_records(move |records| records[0].value = Some(moved.clone().into()));
        let mut lie = Box::new(lie);
        evil.on_fetch(move |fetched| {
            if fetched.topic == target && fetched.partition == 0 {
                lie(fetched);
            }
        });
        let reading = rd::read(&reader, &here, &[]);
        assert_eq!(reading.error, Some(RDKafkaErrorCode::InvalidRecord));
        let delivered = reading.records.iter().filter(|got| got.record.partition == 0);
        assert_eq!(delivered.count(), 0);
        assert!(!reading.records.iter().any(|got| shows(&got.record, "elsewhere")));
    }
}

fn swap_values(records: &mut [Record]) {
    if records.len() > 1 {
        let first = records[0].value.clone();
        records[0].value = records[1].value.clone();
        records[1].value = first;
    }
}

/// What the log says about records in another order than their writer's.
const OUT_OF_ORDER: &str = "out of the order";
