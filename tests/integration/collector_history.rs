//! metrics-collector and agents that tell every sample: offers, receipts, what is shown and what is not.

use metrics_agent::protocol::data::wire::{Lost, Reason};
use metrics_agent::protocol::data::{BodyWriter, Sent, Word};
use prost::Message as _;

use crate::support::collector::Collector;
use crate::support::history::{BOOT, Log, begin, data};

#[tokio::test]
async fn samples_are_acknowledged_and_shown_once() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--print", "--ping-interval", "1min"];
    let mut collector = Collector::start(home.path(), &options).await;
    let mut printed = collector.printed();
    let mut agent = collector.peer("A").await;
    let offer = begin(&mut agent, "web1").await;
    assert_eq!(
        offer,
        Word::read("offer 2 window=262144 ack=table").unwrap()
    );
    assert_eq!(printed.next().await["kind"], "model");

    let mut log = Log::new(0x1234);
    let body = log.body(&[0.5, 0.75], true);
    data(&mut agent, "web1", &body).await;
    assert_eq!(agent.word().await, log.receipt());
    // The first was told in its time, by another message: only what is now is shown.
    let line = printed.next().await;
    assert_eq!(line["metrics"]["load.1m"], 0.75);
    // Sent again, as the receipt was lost.
    data(&mut agent, "web1", &body).await;
    assert_eq!(agent.word().await, log.receipt());
    let body = log.body(&[1.0], true);
    data(&mut agent, "web1", &body).await;
    assert_eq!(agent.word().await, log.receipt());
    assert_eq!(printed.next().await["metrics"]["load.1m"], 1.0);
    let totals = collector.stop().await;
    assert_eq!(totals, "1 host, 5 messages, 0 refused");
}

#[tokio::test]
async fn a_stop_acknowledges_what_has_arrived() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--print", "--ping-interval", "1min"];
    let mut collector = Collector::start(home.path(), &options).await;
    let mut printed = collector.printed();
    let mut agent = collector.peer("A").await;
    begin(&mut agent, "web1").await;
    assert_eq!(printed.next().await["kind"], "model");
    let mut log = Log::new(0x1234);
    data(&mut agent, "web1", &log.body(&[0.5], true)).await;
    assert_eq!(agent.word().await, log.receipt());
    // The next receipt would be due in some seconds.
    data(&mut agent, "web1", &log.body(&[0.75], true)).await;
    for load in [0.5, 0.75] {
        assert_eq!(printed.next().await["metrics"]["load.1m"], load);
    }
    collector.stop().await;
    assert_eq!(agent.word().await, log.receipt());
}

#[tokio::test]
async fn what_is_wrong_is_said_and_costs_no_other() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &["--ping-interval", "1min"]).await;
    // Without having been asked.
    let mut stranger = collector.peer("S").await;
    let mut log = Log::new(1);
    let body = log.body(&[1.0], true);
    data(&mut stranger, "web9", &body).await;
    collector
        .logged("samples of the second wire that this connection was not asked for")
        .await;

    let mut agent = collector.peer("A").await;
    begin(&mut agent, "web1").await;
    data(&mut agent, "web1", b"\xff\xff").await;
    collector.logged("not the protobuf message `Data`").await;
    // A sample that nobody can read is acknowledged all the same.
    let mut log = Log::new(2);
    let mut unknown = BodyWriter::new(2);
    let sample = metrics_agent::protocol::data::wire::Sample {
        seq: 1,
        boot: BOOT.to_vec(),
        schemas: vec![99],
        ..Default::default()
    };
    unknown.sample(&sample.encode_to_vec());
    let body = unknown.finish(&Sent::default());
    data(&mut agent, "web1", &body).await;
    collector
        .logged("a sample with the unknown schema 99")
        .await;
    assert_eq!(agent.word().await, format!("ack {:016x} 1", 2));
    // Some are lost, and some are left out without a word.
    let mut lost = BodyWriter::new(2);
    lost.lost(&Lost {
        from: 2,
        to: 5,
        reason: Reason::Full.into(),
        from_time: 1_700_000_000_000_000,
        to_time: 1_700_000_030_000_000,
    });
    data(&mut agent, "web1", &lost.finish(&Sent::default())).await;
    collector
        .logged("lost 4 samples from 2023-11-14T22:13:20Z to 2023-11-14T22:13:50Z: this collector was away")
        .await;
    log.seq = 7;
    let body = log.body(&[1.0], false);
    data(&mut agent, "web1", &body).await;
    collector.logged("has left out 2 samples").await;
    loop {
        if agent.word().await == log.receipt() {
            break;
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_said_once() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &["--ping-interval", "1min"]).await;
    let mut agent = collector.peer("A").await;
    begin(&mut agent, "web1").await;
    let mut log = Log::new(1);
    log.ahead = 600;
    for load in [1.0, 2.0] {
        let body = log.body(&[load], true);
        data(&mut agent, "web1", &body).await;
    }
    collector.logged("The clock of web1 is 10m ahead").await;
    log.ahead = 0;
    let body = log.body(&[3.0], true);
    data(&mut agent, "web1", &body).await;
    collector.logged("The clock of web1 is right again").await;
}
