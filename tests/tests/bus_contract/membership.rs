//! Who owns which partitions.

use std::collections::BTreeSet;

use bus::kafka::{KafkaBus, KafkaOptions};
use bus::{Bus, BusError, GroupEvent, Membership};
use futures::FutureExt;
use schemas::NextOffset;
use tests::kafka::own_broker_for_tests;

use crate::log::{Kind, Log, open, record, spec, within};

/// Follows events until the member owns exactly `wanted` partitions; hands over at once.
async fn until_owns(member: &mut dyn Membership, owned: &mut BTreeSet<u32>, wanted: usize) {
    while owned.len() != wanted {
        match within("an assignment", member.next()).await {
            GroupEvent::Assigned(partitions) => owned.extend(partitions),
            GroupEvent::Revoked(partitions, _) | GroupEvent::Lost(partitions) => {
                owned.retain(|partition| !partitions.contains(partition))
            }
            GroupEvent::Error(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn the_embedded_member_owns_all_partitions_from_the_start_and_for_good() {
    let log = Log::open(Kind::Embedded).unwrap();
    let topic = log.topic(4).await;
    let mut member = log.bus().join(&topic, "group").await.unwrap();
    assert!(
        matches!(member.next().await, GroupEvent::Assigned(partitions) if partitions == [0, 1, 2, 3])
    );
    member.report_progress(0, NextOffset(1)).await;
    assert!(member.next().now_or_never().is_none());
    assert!(matches!(
        log.bus().join("missing", "group").await,
        Err(BusError::NoTopic { .. })
    ));
}

#[tokio::test]
async fn kafka_members_share_the_partitions_and_a_handover_is_waited_for() {
    let Some(log) = Log::open(Kind::Kafka) else {
        return;
    };
    let topic = log.topic(4).await;
    log.bus()
        .append(&topic, 0, vec![record("x")])
        .await
        .unwrap();
    let group = format!("{topic}-group");
    let (mut first, mut owned_first) = (
        log.bus().join(&topic, &group).await.unwrap(),
        BTreeSet::new(),
    );
    until_owns(first.as_mut(), &mut owned_first, 4).await;
    first.report_progress(0, NextOffset(1)).await;

    let other = open(Kind::Kafka, &log.place);
    let (mut second, mut owned_second) =
        (other.join(&topic, &group).await.unwrap(), BTreeSet::new());
    let handover = match within("a revocation", first.next()).await {
        GroupEvent::Revoked(partitions, handover) => {
            owned_first.retain(|partition| !partitions.contains(partition));
            handover
        }
        event => panic!("expected a revocation, got {event:?}"),
    };
    assert!(handover.is_waited_for());
    assert_eq!(owned_first.len(), 2);
    assert!(
        second.next().now_or_never().is_none(),
        "what is not yet handed over is not yet assigned"
    );
    drop(handover);
    until_owns(second.as_mut(), &mut owned_second, 2).await;
    assert!(owned_first.is_disjoint(&owned_second));

    drop(second);
    until_owns(first.as_mut(), &mut owned_first, 4).await;
}

#[tokio::test]
async fn a_handover_that_never_ends_does_not_hold_the_kafka_group() {
    let Some(log) = Log::open(Kind::Kafka) else {
        return;
    };
    let topic = log.topic(2).await;
    let group = format!("{topic}-group");
    let (mut first, mut owned) = (
        log.bus().join(&topic, &group).await.unwrap(),
        BTreeSet::new(),
    );
    until_owns(first.as_mut(), &mut owned, 2).await;
    let other = open(Kind::Kafka, &log.place);
    let mut second = other.join(&topic, &group).await.unwrap();
    let event = within("a revocation", first.next()).await;
    let GroupEvent::Revoked(_, handover) = event else {
        panic!("expected a revocation, got {event:?}")
    };
    until_owns(second.as_mut(), &mut BTreeSet::new(), 1).await;
    assert!(!handover.is_waited_for());
}

#[tokio::test]
async fn a_session_that_ends_without_an_answer_is_told_as_a_loss() {
    let Some(broker) = own_broker_for_tests() else {
        return;
    };
    let bus = KafkaBus::connect(KafkaOptions {
        session_timeout_ms: 6_000,
        handover_ms_max: 2_000,
        ..KafkaOptions::new(&broker.address())
    })
    .unwrap();
    let topic = bus::TopicSpec {
        partitions: 2,
        ..spec()
    };
    bus.create_topics(std::slice::from_ref(&topic))
        .await
        .unwrap();
    let mut member = bus.join(&topic.name, "group").await.unwrap();
    let mut owned = BTreeSet::new();
    until_owns(member.as_mut(), &mut owned, 2).await;
    // No heartbeat is answered any more: by the time the session is over, others may own what was ours.
    broker.freeze().unwrap();
    let lost = loop {
        match within("a loss", member.next()).await {
            GroupEvent::Lost(partitions) => break partitions,
            GroupEvent::Error(_) => {}
            event => panic!("expected a loss, got {event:?}"),
        }
    };
    assert_eq!(BTreeSet::from_iter(lost), owned);
    broker.thaw().unwrap();
    owned.clear();
    while owned.len() < 2 {
        match within("an assignment", member.next()).await {
            GroupEvent::Assigned(partitions) => owned.extend(partitions),
            GroupEvent::Error(_) => {}
            event => panic!("expected an assignment, got {event:?}"),
        }
    }
}
