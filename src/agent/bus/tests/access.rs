//! Who may call what.

use super::*;

/// Only root may take on another user's id; else says what is left out.
fn may_call_as_another_user() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: calling as another user takes root");
    }
    root
}

#[tokio::test]
async fn other_users_are_refused_without_polkit() {
    if !may_call_as_another_user() {
        return;
    }
    let served = Served::start().await;
    let agent = "/org/metricsagent/Agent1";
    let main = "/org/metricsagent/Agent1/connection/main";
    let uptime = "/org/metricsagent/Agent1/source/uptime";
    let log = "/org/freedesktop/LogControl1";
    for (call, action) in [
        (
            "SetMetricsInterval uint64:2000000 boolean:false",
            "set-intervals",
        ),
        (
            "SetMetricsInterval uint64:2000000 boolean:true",
            "set-intervals",
        ),
        (
            "SetStaleInterval uint64:2000000 boolean:false",
            "set-intervals",
        ),
        ("Revert", "set-intervals"),
        ("Reconnect", "reconnect"),
        ("Reload", "reload"),
    ] {
        let call = format!("{agent} org.metricsagent.Agent1.{call}");
        served
            .refuses(&call, &format!("org.metricsagent.{action}"))
            .await;
    }
    let call = format!("{main} org.metricsagent.Connection1.Reconnect");
    served.refuses(&call, "org.metricsagent.reconnect").await;
    for (at, property, action) in [
        (
            agent,
            "org.metricsagent.Agent1 MetricsIntervalUSec uint64:2000000",
            "set-intervals",
        ),
        (
            agent,
            "org.metricsagent.Agent1 StaleIntervalUSec uint64:2000000",
            "set-intervals",
        ),
        (
            uptime,
            "org.metricsagent.Source1 Enabled boolean:false",
            "manage-sources",
        ),
        (
            log,
            "org.freedesktop.LogControl1 LogLevel string:debug",
            "set-log",
        ),
        (
            log,
            "org.freedesktop.LogControl1 LogTarget string:console",
            "set-log",
        ),
    ] {
        let mut words = property.split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap();
        let call = format!(
            "{at} org.freedesktop.DBus.Properties.Set string:{} string:{} variant:{}",
            word(),
            word(),
            word()
        );
        served
            .refuses(&call, &format!("org.metricsagent.{action}"))
            .await;
    }

    // Nothing of all that happened.
    let state = served.agent.handle.state();
    assert_eq!(state.intervals.metrics, Duration::from_secs(5));
    assert_eq!(state.intervals.stale, Duration::from_secs(30));
    assert!(state.sources[0].1);

    // And all of it can be read.
    for (call, answer) in [
        (
            "/org/metricsagent/Agent1 org.freedesktop.DBus.Properties.Get \
             string:org.metricsagent.Agent1 string:State",
            "connecting",
        ),
        (
            "/org/metricsagent/Agent1 org.metricsagent.Agent1.Sample string:metrics",
            "mem.free",
        ),
        (
            "/org/metricsagent/Agent1/source/uptime org.metricsagent.Source1.Sample",
            "mem.free",
        ),
        (
            "/org/metricsagent/Agent1 org.metricsagent.Agent1.ListMetrics",
            "cpu.percent",
        ),
    ] {
        let got = served.as_nobody(call).await.unwrap();
        assert!(got.contains(answer), "{call}: {got}");
    }
}

/// What a polkit on the private bus was asked: subject, action, flags.
type Question = (String, String, u32);

/// Stands in for polkitd, which would need its rules and a system bus: says yes to
/// reconnect, no to reload, and wants a password for the rest.
struct Polkit(mpsc::UnboundedSender<Question>);

#[zbus::interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Polkit {
    fn check_authorization(
        &self,
        subject: (String, HashMap<String, OwnedVariant>),
        action: &str,
        details: HashMap<String, String>,
        flags: u32,
        cancellation_id: &str,
    ) -> (bool, bool, HashMap<String, String>) {
        let (kind, subject) = subject;
        assert_eq!(kind, "system-bus-name");
        // The details are refused to callers other than root, and an id is needed to cancel.
        assert!(details.is_empty() && !cancellation_id.is_empty());
        let name = subject["name"].to_string();
        let question = (name, action.to_owned(), flags);
        self.0.send(question).unwrap();
        let yes = action == "org.metricsagent.reconnect";
        let no = action == "org.metricsagent.reload";
        (yes, !yes && !no, details)
    }
}

#[tokio::test]
async fn polkit_is_asked_about_the_sender() {
    if !may_call_as_another_user() {
        return;
    }
    let served = Served::start().await;
    let (asked, mut questions) = mpsc::unbounded_channel();
    let polkit = served.raw().await;
    let objects = polkit.object_server();
    objects
        .at("/org/freedesktop/PolicyKit1/Authority", Polkit(asked))
        .await
        .unwrap();
    polkit
        .request_name("org.freedesktop.PolicyKit1")
        .await
        .unwrap();

    let at = "/org/metricsagent/Agent1 org.metricsagent.Agent1";
    let answer = served.as_nobody(&format!("{at}.Reconnect")).await.unwrap();
    let (subject, action, flags) = questions.recv().await.unwrap();
    assert!(answer.starts_with("method return"), "{answer}");
    assert_eq!((action.as_str(), flags), ("org.metricsagent.reconnect", 0));
    assert!(
        answer.contains(&format!("destination={} ", subject.trim_matches('"'))),
        "{answer}"
    );

    let error = served.as_nobody(&format!("{at}.Reload")).await.unwrap_err();
    let (_, action, _) = questions.recv().await.unwrap();
    assert_eq!(action, "org.metricsagent.reload");
    assert!(
        error.starts_with("Error org.freedesktop.DBus.Error.AccessDenied: "),
        "{error}"
    );

    let error = served.as_nobody(&format!("{at}.Revert")).await.unwrap_err();
    assert_eq!(
        questions.recv().await.unwrap().1,
        "org.metricsagent.set-intervals"
    );
    assert!(
        error.starts_with("Error org.freedesktop.DBus.Error.InteractiveAuthorizationRequired: "),
        "{error}"
    );

    // Interactive where, and only where, the message's flag says so.
    let interactive = Agent::find(&served.at(), true).await.unwrap();
    interactive.order("Reconnect", &()).await.unwrap();
    assert!(questions.try_recv().is_err(), "root was asked about");
    let mut busctl = Command::new("setpriv");
    busctl
        .args(["--reuid=nobody", "--clear-groups", "busctl"])
        .arg(format!("--address={}", served.bus.address()))
        .arg("--allow-interactive-authorization=yes")
        .args([
            "call",
            crate::dbus::NAME,
            path::AGENT,
            path::AGENT_INTERFACE,
            "Reconnect",
        ]);
    let status = tokio::task::spawn_blocking(move || busctl.status());
    assert!(status.await.unwrap().unwrap().success());
    let (_, _, flags) = questions.recv().await.unwrap();
    assert_eq!(flags, 1);
}

/// A polkit that answers only questions about reconnecting, as if it waited for a person to answer
/// a dialogue.
struct SilentPolkit {
    asked: mpsc::UnboundedSender<String>,
    cancelled: mpsc::UnboundedSender<String>,
}

#[zbus::interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl SilentPolkit {
    async fn check_authorization(
        &self,
        subject: (String, HashMap<String, OwnedVariant>),
        action: &str,
        details: HashMap<String, String>,
        flags: u32,
        cancellation_id: &str,
    ) -> (bool, bool, HashMap<String, String>) {
        assert!(subject.0 == "system-bus-name" && details.is_empty() && flags == 0);
        if action != "org.metricsagent.reconnect" {
            self.asked.send(cancellation_id.to_owned()).unwrap();
            std::future::pending::<()>().await;
        }
        (true, false, HashMap::new())
    }

    fn cancel_check_authorization(&self, cancellation_id: &str) {
        self.cancelled.send(cancellation_id.to_owned()).unwrap();
    }
}

/// Unanswered questions of one user block neither other users nor, once that user has gone, the
/// user itself.
#[tokio::test]
async fn the_questions_of_one_user_block_no_other_user() {
    const OF_ONE_USER: usize = 16;
    if !may_call_as_another_user() {
        return;
    }
    let served = Served::start().await;
    let (asked, mut questions) = mpsc::unbounded_channel();
    let (cancelled, mut cancellations) = mpsc::unbounded_channel();
    let polkit = served.raw().await;
    let silent = SilentPolkit { asked, cancelled };
    polkit
        .object_server()
        .at("/org/freedesktop/PolicyKit1/Authority", silent)
        .await
        .unwrap();
    polkit
        .request_name("org.freedesktop.PolicyKit1")
        .await
        .unwrap();
    let ask = |user: &str, method: &str| {
        let mut client = Command::new("setpriv");
        client
            .arg(format!("--reuid={user}"))
            .args(["--clear-groups", "dbus-send"])
            .arg(format!("--bus={}", served.bus.address()))
            .args([
                "--print-reply",
                "--dest=org.metricsagent.Agent1",
                path::AGENT,
            ])
            .arg(format!("{}.{method}", path::AGENT_INTERFACE))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped());
        client.spawn().unwrap()
    };
    let mut callers: Vec<_> = (0..OF_ONE_USER).map(|_| ask("nobody", "Reload")).collect();
    let mut ids = Vec::new();
    for _ in 0..OF_ONE_USER {
        ids.push(soon(questions.recv()).await.unwrap());
    }
    let refused = tokio::task::spawn_blocking({
        let one_more = ask("nobody", "Reconnect");
        move || one_more.wait_with_output().unwrap()
    });
    let refused = soon(refused).await.unwrap();
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(
        error.starts_with("Error org.freedesktop.DBus.Error.LimitsExceeded: 16 calls of uid "),
        "{error}"
    );
    // Another user's question is asked, and answered.
    let other = ask("daemon", "Reconnect");
    let other = tokio::task::spawn_blocking(move || other.wait_with_output().unwrap());
    let other = soon(other).await.unwrap();
    assert!(other.status.success(), "{other:?}");
    // The questions of a caller that leaves are dropped, and polkit need not ask them any more.
    for caller in &mut callers {
        caller.kill().unwrap();
        caller.wait().unwrap();
    }
    let mut withdrawn = Vec::new();
    for _ in 0..OF_ONE_USER {
        withdrawn.push(soon(cancellations.recv()).await.unwrap());
    }
    ids.sort();
    withdrawn.sort();
    assert_eq!(withdrawn, ids);
    let again = served
        .as_nobody("/org/metricsagent/Agent1 org.metricsagent.Agent1.Reconnect")
        .await;
    assert!(again.is_ok(), "{again:?}");
}
