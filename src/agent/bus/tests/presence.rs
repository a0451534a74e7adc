//! Being on the bus: the name, the bus, and their end.

use super::*;

#[tokio::test]
async fn a_name_has_one_owner() {
    let served = Served::start().await;
    let second = StandIn::start();
    let error = start(&served.bus, &second).await.err().unwrap();
    assert!(matches!(error, StartError::NameTaken(_)), "{error}");
    let first = served.client().await;
    assert!(first.agent1().await.unwrap().public_key().await.is_ok());
}

#[tokio::test]
async fn a_policy_that_refuses_the_name_is_named() {
    let bus = PrivateBus::with_policy("<deny own='*'/>");
    let agent = StandIn::start();
    let error = start(&bus, &agent).await.err().unwrap();
    assert!(matches!(error, StartError::NotAllowed { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("org.metricsagent.Agent1.conf"), "{text}");
}

#[tokio::test]
async fn no_bus_is_unavailable() {
    let mut bus = PrivateBus::start();
    bus.stop();
    let agent = StandIn::start();
    let error = start(&bus, &agent).await.err().unwrap();
    assert!(matches!(error, StartError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains(&bus.address()), "{error}");
}

#[tokio::test]
async fn a_restarted_bus_ends_the_service_which_can_start_again() {
    let mut served = Served::start().await;
    served.bus.stop();
    assert_eq!(soon(&mut served.service).await.unwrap(), Ended::BusGone);
    served.bus.start_again();
    let again = start(&served.bus, &served.agent).await.unwrap();
    let _running = tokio::spawn(again.run());
    let client = served.client().await;
    assert!(client.agent1().await.unwrap().public_key().await.is_ok());
}

#[tokio::test]
async fn the_last_state_is_announced_before_the_end() {
    let served = Served::start().await;
    let raw = served.raw().await;
    let mut agent = watch(&raw, path::AGENT).await;
    served.agent.publish(|state| state.state = State::Stopping);
    let Served {
        bus,
        agent: stand_in,
        service,
    } = served;
    stand_in.stop().await;
    assert_eq!(soon(service).await.unwrap(), Ended::ProgramGone);
    assert!(changed(&mut agent).await[0].1.contains("stopping"));
    let error = Agent::find(&Bus::Address(bus.address()), false).await;
    assert!(matches!(error, Err(FindError::NotRunning { .. })));
}
