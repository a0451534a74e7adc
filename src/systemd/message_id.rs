//! The `MESSAGE_ID`s under which administrators find our events in the journal.
//!
//! Each has an entry in the message catalog (`systemd/metrics-agent.catalog`,
//! `systemd/metrics-collector.catalog`; a test compares them). An id never changes
//! its meaning and is never used again; see journald.conf(5) and
//! <https://systemd.io/CATALOG/>.

macro_rules! message_ids {
    ($($(#[$doc:meta])* $name:ident = $id:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $id;)*

        /// Every id with the name of its constant, for the comparison with the catalog.
        pub const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}

message_ids! {
    /// The agent has valid settings, its bus name and its sockets.
    AGENT_READY = "9b419bd853da4f99961f42b7dac503b9";
    /// The agent was told to stop.
    AGENT_STOPPING = "84f2ba6bb10941af8f273455b84d66da";
    /// No collector is configured: the agent runs and waits for a reload.
    AGENT_UNCONFIGURED = "03896063bbc247ad86d0985f3a86a33b";
    /// A collector answered, and metrics are on their way to it.
    CONNECTION_REPORTING = "a2255de3c37847d381f0e69d37e7a9d2";
    /// A collector that was answering is silent or its link is down.
    CONNECTION_LOST = "3b23f21562a340ae8e473f2296683bc3";
    /// A connection reports to another of its collector's addresses than before.
    CONNECTION_MOVED = "42cf5c8cdf01461e8c2f40a080c49d8e";
    /// The collector of a connection has another of its configured keys than before.
    CONNECTION_OTHER_KEY = "92ccc71e95964338aeceff265efac4c7";
    /// Samples are lost before a collector could get them.
    SAMPLES_LOST = "7cb158c6dcb64cee8c3199aeb3f8d2e8";
    /// Samples cannot be written to disk.
    SAMPLES_NOT_WRITTEN = "b4224d8ed5e54d0c84e5edbf020de001";
    /// Samples can be written to disk again.
    SAMPLES_WRITTEN_AGAIN = "232f86b6cbdf4f8a978cbe43055f3f6c";
    /// The agent goes on with samples that an earlier run has kept.
    SAMPLES_FOUND = "36004fd029f54e98b1b14ddb04a24795";
    /// Files with samples of an earlier run are damaged.
    SAMPLES_DAMAGED = "03e07db91a3d49d4a29eef96ba09d2ec";
    /// A collector could not be reached since the agent started.
    CONNECTION_WAITING = "602b144447604f5087e874ebd83f78cf";
    /// A collector cannot read what is meant for the configured key: its key is another one.
    CONNECTION_KEY_REFUSED = "c1ed3bef7bed41e989f8d607cfa038d4";
    /// What answers at a collector's address finishes no handshake, whatever its key.
    CONNECTION_NOT_SECURED = "66a0cca117b84248969d11737329e90d";
    /// A collector refuses the agent's key: most likely it is not on its list.
    CONNECTION_NOT_ALLOWED = "4fba9bf3f4c34053b0e6b21b8b24a8d7";
    /// A collector sent something that the protocol does not know.
    MESSAGE_NOT_UNDERSTOOD = "777bda6c4bea451a93ea52aaac9fca93";
    /// A collector acknowledged a sample that the agent never sent.
    RECEIPT_REFUSED = "2f659c998b5c439ab2c4ad9b1f70d5a1";
    /// New settings are in force.
    CONFIGURATION_RELOADED = "7cc3263f5bff45ec85dc8092135ff89b";
    /// New settings were refused; the old ones stay in force.
    CONFIGURATION_INVALID = "530cfbb5ac7248b587b0ac70f89b1f42";
    /// A setting was changed over D-Bus.
    SETTING_CHANGED = "4e8919da4e9c4929b86b0dd52d47ce93";
    /// A setting is in force but could not be written to the state directory.
    SETTING_NOT_KEPT = "bf40a643e226459fb08cee7be9b79303";
    /// A key pair was made, because there was none.
    KEY_GENERATED = "43ba0019019c48a58d6f288bc3a95db0";
    /// The host reports under another name from now on.
    HOST_NAME_CHANGED = "b2aafe308d1741c9afd11a51d1157cfd";
    /// A source could not read or parse its source.
    SOURCE_FAILED = "e14da8516ca24716a980d3c18dfcfa27";
    /// A value cannot be read or makes no sense.
    VALUE_LEFT_OUT = "970a9949a22741ccb7c8fbae9757d96c";
    /// Counters went far back, and are sent as they are now.
    COUNTERS_BEGAN_AGAIN = "81c03c79b377460f95b05f540fde395e";
    /// A source that failed works again.
    SOURCE_RECOVERED = "de55bd87f50c4403b9c956e843d4b424";
    /// A source has more values than a message has room for.
    SOURCE_CUT = "f1d433c7abb54e82875e9a188ae56f9f";
    /// A file system or a sensor does not answer.
    INSTANCE_STUCK = "01c30254c7cc40d180abb82bcb749060";
    /// A file system or a sensor that did not answer does, or is gone.
    INSTANCE_UNSTUCK = "1f0a0c9efd4d423487948043f52e13f9";
    /// The bus is not there or was lost; the agent goes on without it and tries again.
    BUS_UNAVAILABLE = "6dd10d2b5b574717bb5f5e17114159d1";
    /// The bus name is owned again.
    BUS_AVAILABLE = "861e8de2fd2f4137b60254a5b7a9aba1";
    /// The agent's log had no room for some lines.
    LOG_LINES_LOST = "781c8862437517eccfed500fac16a1d0";
    /// metrics-collector listens for agents.
    COLLECTOR_READY = "af713ec252494162ace831bacbc045ac";
    /// metrics-collector serves what hosts report to Prometheus.
    COLLECTOR_WEB_READY = "0528b5f486c245368d0044a7e36b26b7";
    /// metrics-collector publishes what agents send on this host.
    COLLECTOR_PUBLISH_READY = "5edd5cd7a7ca46298514f46ee05515b7";
    /// A program that follows what agents send does not keep up.
    COLLECTOR_PUBLISH_SLOW = "781fab8b28b1486298762ef4bf813df3";
    /// metrics-collector was told to stop.
    COLLECTOR_STOPPING = "52d6ba80f11f431eb2a4c74d97632431";
    /// A host reports to metrics-collector that did not before.
    COLLECTOR_HOST_APPEARED = "5f165962763e416f98f70667ff35da09";
    /// A host was silent for too long and left the table of hosts.
    COLLECTOR_HOST_GONE = "074355a9641f4518a1a897c040ad19e3";
    /// A known host name arrived on a new connection, which replaces the old one.
    COLLECTOR_HOST_REPLACED = "e615a9240ae44b9fae5a440ea6f11cd6";
    /// An agent sent something that the protocol does not know, or past a bound.
    COLLECTOR_MESSAGE_REFUSED = "cb49bd1efe25445ba987497190e7bc1f";
    /// A key that is not on the list wanted in.
    COLLECTOR_KEY_REFUSED = "5f49d12bf0624fd69a5540922e0d178f";
    /// A host name that belongs to one key was reported under by another.
    COLLECTOR_NAME_TAKEN = "63292ff1a28d468dbe63d055b6e43c71";
    /// An allow list has other keys than before.
    COLLECTOR_LIST_CHANGED = "9544a18dde2a4e949677c06021ffedfd";
    /// A directory or a file of an allow list cannot be used.
    COLLECTOR_LIST_PROBLEM = "867ceb0776694c7697a8848185011d5f";
    /// Pins or the record of keys could not be written, or not be read again.
    COLLECTOR_ACCESS_NOT_KEPT = "6b683aeb1de14a078fca3e2bafa530b4";
    /// The pin of a host name was removed: the next key that reports under it gets it.
    COLLECTOR_PIN_FORGOTTEN = "a2d3e17879404851a345fe64a16117ab";
    /// All host names of a key were let go.
    COLLECTOR_PINS_OF_KEY_FORGOTTEN = "37c7b4bc5f6343fdadf1f9ac2e64525c";
    /// A host reports under another name.
    COLLECTOR_HOST_RENAMED = "ff31879a1a334a81a227a1a9b21be7b9";
    /// One key reports from two machines at a time.
    COLLECTOR_KEY_SHARED = "1f1544b497c8449281ae9bfb3d01381c";
    /// A receiver of samples does not take them for now.
    COLLECTOR_PUSH_FAILING = "b0005ba6344640faa3e157b8f2bb55cb";
    /// A receiver of samples takes them again.
    COLLECTOR_PUSH_RECOVERED = "1abf1a4a41f3431d85b429a4732d7a6a";
    /// A receiver of samples has refused some for good.
    COLLECTOR_PUSH_REFUSED = "3c23e66ea9824ebfa16556549137aeb9";
    /// More samples wait for a receiver than there is room for.
    COLLECTOR_PUSH_DROPPING = "cc5cbde19b85463993e3d90d395b2cf1";
    /// An agent has lost samples, or left some out.
    COLLECTOR_SAMPLES_LOST = "98a0bd79e20b48c28fe399b8030cef4a";
    /// An agent's log was replaced by an older copy of itself.
    COLLECTOR_LOG_WENT_BACK = "d9dd6c4f44814821947947929fe65d30";
    /// Two hosts tell samples of one log.
    COLLECTOR_LOG_SHARED = "5ce1690d8a024f0d85370d89cb705b40";
    /// The clock of a host is off, or right again.
    COLLECTOR_CLOCK_OFF = "827a4f04c4904edd91abb618a152a593";
    /// A viewer has come.
    COLLECTOR_VIEWER_CAME = "d3ce06c0607f461196c255ec206700d9";
    /// A viewer has gone.
    COLLECTOR_VIEWER_GONE = "1ce018709f3244a6ae66c7e190d6e66a";
    /// A viewer does not keep up, and misses messages.
    COLLECTOR_VIEWER_SLOW = "393479a9bf764e4c830670cf5fd64f4d";
    /// A viewer sent something that the protocol does not know, or one too many came.
    COLLECTOR_VIEWER_REFUSED = "9f720cc5630d4cde9e9e3656f28523b4";
    /// More comes than metrics-collector can read.
    COLLECTOR_BEHIND = "b2f1128d5ee64f0fb29996fdc29e2423";
    /// metrics-collector has read all that came.
    COLLECTOR_CAUGHT_UP = "eed952c3190f41539da1b8e47f74863d";
    /// The file with the hosts known before could not be read, or not all of it.
    COLLECTOR_STATE_DAMAGED = "53342f1df187449082b19fdfb7336a04";
    /// The hosts could not be written to the state directory.
    COLLECTOR_STATE_NOT_KEPT = "af80dfebf4094db89a21c0dbe75a6007";
    /// metrics-collector made a key pair, because there was none.
    COLLECTOR_KEY_GENERATED = "1296c3bcb55446c6b5b51e6350ce0e49";
    /// New settings of metrics-collector are in force.
    COLLECTOR_CONFIGURATION_RELOADED = "4cd69019d65d44bbb51d3c5f79171949";
    /// Settings of metrics-collector were refused.
    COLLECTOR_CONFIGURATION_INVALID = "84907b73bad24877980865d3d72c15b1";
    /// A setting of metrics-collector changed that only a restart brings into force.
    COLLECTOR_RESTART_NEEDED = "418f7c9f97f14b0c9428e1b529feeb45";
    /// The bus is not there or was lost; metrics-collector goes on without it.
    COLLECTOR_BUS_UNAVAILABLE = "155da98ccda74a83b1d5420804b1a567";
    /// metrics-collector owns its bus name again.
    COLLECTOR_BUS_AVAILABLE = "17bf80a01e09480689f158965326c08e";
    /// The log of metrics-collector had no room for some lines.
    COLLECTOR_LOG_LINES_LOST = "f0ff6ab12cb9375826a5e52437680a0c";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::ALL;

    /// The ids that an entry of the catalogs begins with, as in `-- 7d4958…`.
    fn in_the_catalogs() -> Vec<String> {
        let systemd = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
        ["metrics-agent.catalog", "metrics-collector.catalog"]
            .iter()
            .flat_map(|catalog| {
                let text = fs::read_to_string(systemd.join(catalog)).unwrap();
                text.lines()
                    .filter_map(|line| line.strip_prefix("-- "))
                    .map(|id| id.trim().to_owned())
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn every_id_has_one_entry_in_the_catalogs_and_no_entry_is_left_over() {
        let entries = in_the_catalogs();
        let distinct: BTreeSet<&str> = entries.iter().map(String::as_str).collect();
        assert_eq!(distinct.len(), entries.len(), "an id has two entries");
        let ids: BTreeSet<&str> = ALL.iter().map(|(_, id)| *id).collect();
        assert_eq!(ids.len(), ALL.len(), "two events share an id");
        assert_eq!(distinct, ids);
    }

    #[test]
    fn ids_are_what_journald_takes() {
        for (name, id) in ALL {
            let valid = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(valid, "{name}: {id}");
        }
    }
}
