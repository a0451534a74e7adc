//! A message's frames, as either end gets them from the other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metrics_agent::protocol::grid::Grid;
use metrics_agent::protocol::message::{
    Control, FromCollector, Message, check_host, decode, decode_for_viewer, decode_from_agent,
    decode_from_collector,
};
use metrics_agent::protocol::state::StateGrid;
use metrics_agent_fuzz::{assert_grid, assert_loggable, frames};

fuzz_target!(|input: &[u8]| {
    let frames = frames(input);
    let from_agent = decode_from_agent(&frames);
    let from_collector = decode_from_collector(&frames);
    for error in [from_agent.err(), from_collector.err()]
        .into_iter()
        .flatten()
    {
        assert_loggable(&error);
    }
    let message = match decode(&frames) {
        Ok(message) => message,
        Err(error) => {
            assert_eq!(from_agent, Err(error));
            // Words of the second wire are no words of the first.
            if !matches!(from_collector, Ok(FromCollector::Word(_))) {
                assert_eq!(from_collector, Err(error));
            }
            return;
        }
    };
    // Byte for byte.
    assert_eq!(&*message.frames(), &*frames);
    match message {
        Message::Control(control @ (Control::Model | Control::Ping | Control::Refused)) => {
            assert_eq!(from_collector, Ok(FromCollector::Control(control)));
            assert!(from_agent.is_err());
        }
        Message::Control(Control::Hello) => {
            assert!(from_collector.is_err());
            assert_eq!(from_agent, Ok(message));
        }
        Message::Grid { host, grid, kind } => {
            assert!(from_collector.is_err());
            assert_eq!(from_agent, Ok(message));
            assert_eq!(check_host(host), Ok(()));
            match Grid::parse(grid, kind) {
                Ok(grid) => assert_grid(&grid, kind),
                Err(error) => assert_loggable(&error),
            }
        }
        Message::Data { host, .. } => {
            assert!(from_collector.is_err());
            assert_eq!(from_agent, Ok(message));
            assert_eq!(check_host(host), Ok(()));
        }
        Message::State { host, grid } => {
            assert!(from_collector.is_err());
            assert!(from_agent.is_err());
            assert_eq!(decode_for_viewer(&frames), Ok(message));
            assert_eq!(check_host(host), Ok(()));
            if let Err(error) = StateGrid::parse(grid) {
                assert_loggable(&error);
            }
        }
    }
});
