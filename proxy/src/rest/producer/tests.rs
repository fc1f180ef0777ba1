//! The producer against brokers that are played here, with the faults that brokers and networks have.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

mod stage;

use bytes::Bytes;

use self::stage::{Fault, Stage};
use super::*;

const TERMS: Terms =
    Terms { linger: Duration::from_millis(2), delivery: Duration::from_secs(60), most_records: 100_000 };

fn record(value: u32) -> Record {
    Record { value: Some(Bytes::copy_from_slice(&value.to_be_bytes())), ..Record::default() }
}

fn records(values: std::ops::Range<u32>) -> Vec<Record> {
    values.map(record).collect()
}

async fn whole(delivery: &Delivery) -> Vec<Result<(i32, i64), Refusal>> {
    tokio::time::timeout(Duration::from_secs(120), delivery.whole()).await.expect("outcomes come");
    let outcomes = delivery.outcomes().map(|outcome| outcome.unwrap().map(|placed| (placed.partition, placed.offset)));
    outcomes.collect()
}

#[tokio::test]
async fn records_are_acknowledged_where_they_stand() {
    let stage = Stage::new(2, 1);
    let producer = Producer::new(stage.clone(), TERMS);
    let delivery = producer.send(("t", 2), Some(1), &records(0..5), None).unwrap();
    assert!(producer.is_busy());
    assert_eq!(whole(&delivery).await, (0..5).map(|offset| Ok((1, offset))).collect::<Vec<_>>());
    assert!(!producer.is_busy());
    let keyed = Record { key: Some(Bytes::from_static(b"abc")), ..record(9) };
    let delivery = producer.send(("t", 2), None, &[keyed], None).unwrap();
    assert_eq!(whole(&delivery).await, [Ok((1, 5))]);
    assert_eq!(stage.values(1), [0, 1, 2, 3, 4, 9]);
}

#[tokio::test]
async fn what_comes_while_a_request_is_under_way_goes_together() {
    let stage = Stage::new(1, 1);
    let producer = Producer::new(stage.clone(), Terms { linger: Duration::from_secs(60), ..TERMS });
    stage.hold(true);
    let first = producer.send(("t", 1), None, &records(0..1), None).unwrap();
    stage.requests(1).await;
    let others: Vec<_> = (1..50).map(|at| producer.send(("t", 1), None, &records(at..at + 1), None).unwrap()).collect();
    stage.hold(false);
    assert_eq!(whole(&first).await, [Ok((0, 0))]);
    for (delivery, offset) in others.iter().zip(1..) {
        assert_eq!(whole(delivery).await, [Ok((0, offset))]);
    }
    assert_eq!(stage.batches(0), [1, 49]);
}

#[tokio::test]
async fn no_more_is_taken_than_the_bound() {
    let stage = Stage::new(1, 1);
    let producer = Producer::new(stage.clone(), Terms { most_records: 3, ..TERMS });
    stage.hold(true);
    let delivery = producer.send(("t", 1), None, &records(0..3), None).unwrap();
    assert!(producer.send(("t", 1), None, &records(3..4), None).is_none());
    stage.hold(false);
    whole(&delivery).await;
    assert!(producer.send(("t", 1), None, &records(3..4), None).is_some());
}

/// Whatever happens, what is acknowledged is in the log once, in the order in which it was sent.
async fn through(faults: &[Fault], partitions: i32) {
    let stage = Stage::new(partitions, 2);
    let producer = Producer::new(stage.clone(), TERMS);
    stage.plan(faults);
    let mut deliveries = Vec::new();
    for at in 0..40_u32 {
        let partition = i32::try_from(at).unwrap() % partitions;
        let three = records(at * 3..at * 3 + 3);
        deliveries.push((partition, producer.send(("t", partitions), Some(partition), &three, None).unwrap()));
        tokio::task::yield_now().await;
    }
    for (at, (partition, delivery)) in (0_u32..).zip(&deliveries) {
        for (value, outcome) in (at * 3..).zip(whole(delivery).await) {
            let (told, offset) = outcome.unwrap();
            assert_eq!(told, *partition, "{faults:?}");
            assert_eq!(stage.values(*partition)[usize::try_from(offset).unwrap()], value, "{faults:?}");
        }
    }
    for partition in 0..partitions {
        let values = stage.values(partition);
        assert!(values.is_sorted_by(|one, next| one < next), "{faults:?}: {values:?}");
        assert_eq!(values.len(), deliveries.iter().filter(|(of, _)| *of == partition).count() * 3, "{faults:?}");
    }
    assert!(!producer.is_busy());
}

#[tokio::test]
async fn no_fault_loses_doubles_or_reorders_a_record() {
    let faults = [
        Fault::Code(6),
        Fault::Code(19),
        Fault::AppendAndCode(7),
        Fault::AppendAndCode(20),
        Fault::Close,
        Fault::AppendAndClose,
        Fault::Forget,
        Fault::Move,
        Fault::LeaveOut,
        Fault::None,
    ];
    let mut all = tokio::task::JoinSet::new();
    for one in &faults {
        let plan = [one.clone(), Fault::None, one.clone(), one.clone()];
        all.spawn(async move { through(&plan, 1).await });
        // Two in a row, in every order.
        for other in &faults {
            let plan = [Fault::None, one.clone(), other.clone()];
            all.spawn(async move { through(&plan, 3).await });
        }
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn what_is_refused_is_told_and_the_next_is_written() {
    let stage = Stage::new(1, 1);
    let producer = Producer::new(stage.clone(), TERMS);
    let refusals = [(44, Refusal::PolicyViolation), (10, Refusal::MessageSizeTooLarge), (-1, Refusal::Unknown)];
    for (code, refusal) in refusals {
        stage.plan(&[Fault::Code(code)]);
        let delivery = producer.send(("t", 1), None, &records(0..2), None).unwrap();
        assert_eq!(whole(&delivery).await, [Err(refusal), Err(refusal)]);
    }
    let delivery = producer.send(("t", 1), None, &records(7..8), None).unwrap();
    assert_eq!(whole(&delivery).await, [Ok((0, 0))]);
}

#[tokio::test]
async fn without_a_broker_records_are_given_up_in_time() {
    let stage = Stage::new(1, 1);
    stage.down(true);
    let producer = Producer::new(stage.clone(), Terms { delivery: Duration::from_millis(700), ..TERMS });
    let delivery = producer.send(("t", 1), None, &records(0..2), None).unwrap();
    assert_eq!(whole(&delivery).await, [Err(Refusal::MessageTimedOut); 2]);
    assert!(!producer.is_busy());
    stage.down(false);
    let written = async {
        loop {
            let delivery = producer.send(("t", 1), None, &records(0..1), None).unwrap();
            if whole(&delivery).await[0].is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), written).await.expect("the broker is found");
}

#[tokio::test]
async fn a_broker_that_says_nothing_leaves_no_record_without_an_outcome() {
    let stage = Stage::new(1, 1);
    let producer = Producer::new(stage.clone(), Terms { delivery: Duration::from_secs(3), ..TERMS });
    stage.hold(true);
    let first = producer.send(("t", 1), None, &records(0..1), None).unwrap();
    stage.requests(1).await;
    let second = producer.send(("t", 1), None, &records(1..2), None).unwrap();
    assert!(matches!(whole(&first).await[..], [Err(Refusal::RequestTimedOut | Refusal::MessageTimedOut)]));
    assert!(matches!(whole(&second).await[..], [Err(_)]));
    stage.hold(false);
    // What was given up may be in the log, once.
    let mut value = 2;
    loop {
        let third = producer.send(("t", 1), None, &records(value..value + 1), None).unwrap();
        if let [Ok((0, offset))] = whole(&third).await[..] {
            assert_eq!(stage.values(0)[usize::try_from(offset).unwrap()], value);
            break;
        }
        value += 1;
    }
    assert!(stage.values(0).is_sorted_by(|one, next| one < next));
}

#[tokio::test]
async fn who_may_not_have_an_identity_is_told_so() {
    let stage = Stage::new(1, 1);
    stage.refuse_identities(31);
    let producer = Producer::new(stage.clone(), TERMS);
    let delivery = producer.send(("t", 1), None, &records(0..1), None).unwrap();
    assert_eq!(whole(&delivery).await, [Err(Refusal::ClusterAuthorizationFailed)]);
}

#[tokio::test]
async fn many_topics_share_requests() {
    let stage = Stage::new(1, 1);
    let producer = Producer::new(stage.clone(), Terms { linger: Duration::from_secs(60), ..TERMS });
    whole(&producer.send(("t", 1), None, &records(0..1), None).unwrap()).await;
    let topics: Vec<String> = (0..20).map(|number| format!("t{number}")).collect();
    let send = |topic: &String| producer.send((topic, 1), None, &records(0..1), None).unwrap();
    let sent: Vec<_> = topics.iter().map(send).collect();
    for delivery in &sent {
        assert_eq!(whole(delivery).await, [Ok((0, 0))]);
    }
    // The first by itself, one that finds the way free, the others.
    assert!(stage.count() <= 4, "{}", stage.count());
}

#[tokio::test]
async fn a_producer_that_is_dropped_leaves_no_connection() {
    let stage = Stage::new(1, 1);
    let producer = Producer::new(stage.clone(), TERMS);
    whole(&producer.send(("t", 1), None, &records(0..1), None).unwrap()).await;
    drop(producer);
    stage.nobody_is_connected().await;
}
