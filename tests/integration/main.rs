//! Integration tests: the library and the programs against real peers.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod agent_attacks;
mod agent_command_line;
mod agent_failover;
mod agent_history;
mod agent_hostile;
mod agent_losses;
mod agent_names;
mod agent_path;
mod agent_service;
mod agent_session;
mod agent_signals;
mod collector_access;
mod collector_attacks_insiders;
mod collector_attacks_strangers;
mod collector_bus;
mod collector_clones;
mod collector_endings;
mod collector_history;
mod collector_history_hostile;
mod collector_hostile;
mod collector_keys;
mod collector_people;
mod collector_program;
mod collector_prometheus;
mod collector_publish;
mod collector_session;
mod collector_state;
mod collector_viewers;
mod collector_web;
mod completions;
mod ctl_commands;
mod ctl_terminal;
mod ctl_views;
mod curve_boxes;
mod curve_dealer;
mod curve_dealer_failures;
mod curve_dealer_peers;
mod curve_router;
mod curve_zmtp;
mod daemon_log;
mod dbus_introspection;
mod dbus_losses;
mod dbus_service;
mod dbus_since;
mod documents;
mod link_local;
mod manual;
mod private_bus;
mod push_prometheus;
mod push_receiver;
mod rooms;
mod second_wire_peers;
mod state_directories;
mod stuck_mount;
mod support;
mod top_attacks;
mod top_terminal;
