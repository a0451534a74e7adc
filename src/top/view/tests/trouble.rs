//! What is shown where the collector cannot be reached.

use super::*;

#[test]
fn what_is_shown_is_called_old_while_the_collector_is_not_heard() {
    let mut world = World::with_hosts();
    world.fleet.hear(world.now);
    world.now += Duration::from_secs(125);
    // The clock on the wall is that of now.
    let lines = world.lines(100, 12);
    assert!(lines[0].contains("≈ connected, silent"), "{}", lines[0]);
    assert!(
        lines[0].ends_with("3 hosts: 2 reported, 1 silent"),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].starts_with(" OLD: as of 14:01:07, 2min ago "),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].contains("Nothing heard from collector:5557 since 14:01:07, 2min ago."),
        "{}",
        lines[2]
    );
    let web1 = words(&lines, "web1");
    assert_eq!(web1[..3], ["≈", "web1.example.org", "old"]);
    world.trouble = Some(Trouble::Lost("the connection ended".to_owned()));
    world.obey(Command::Move(1));
    world.draw(100, 12);
    world.obey(Command::Open);
    let lines = world.lines(100, 12);
    assert!(lines[0].contains("✗ not connected"), "{}", lines[0]);
    let text = lines.join("\n");
    assert!(text.contains("OLD: heard 2min ago"), "{text}");
}

#[test]
fn a_key_that_is_refused_comes_with_the_command_that_lets_it_in() {
    let mut world = World::new();
    world.trouble = Some(Trouble::KeyRefused);
    let text = world.lines(120, 24).join("\n");
    assert!(
        text.contains(
            "Not connected: collector:5557 does not let this viewer in; the next attempt is in 3 s."
        ),
        "{text}"
    );
    let command =
        format!("metrics-collector keys allow --viewer --name laptop-54fcba24 '{PUBLIC}'");
    assert!(text.contains(&command), "{text}");
    assert!(text.contains("not connected"), "{text}");
}

/// The command that begins with these words, as a shell reads it from the screen.
fn pasted(lines: &[String], start: &str) -> String {
    let lines: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
    let first = lines.iter().position(|line| line.contains(start));
    let first = first.unwrap_or_else(|| panic!("{lines:#?}"));
    let rest = lines[first..].iter();
    let long = rest.take_while(|line| line.ends_with('\\')).count() + 1;
    let script = format!("printf '%s|' {}", lines[first..first + long].join("\n"));
    let sh = std::process::Command::new("sh")
        .args(["-c", &script])
        .output();
    String::from_utf8(sh.unwrap().stdout).unwrap()
}

#[test]
fn commands_are_whole_on_every_screen() {
    for (columns, rows) in [(40, 20), (60, 20), (80, 24), (200, 60)] {
        let mut world = World::with_hosts();
        let allow =
            format!("metrics-collector|keys|allow|--viewer|--name|laptop-54fcba24|{PUBLIC}|");
        world.trouble = Some(Trouble::KeyRefused);
        let title = world.lines(columns, rows).swap_remove(0);
        assert!(title.contains("not connected "), "{title}");
        assert_eq!(pasted(&world.lines(columns, rows), "collector keys"), allow);
        world.trouble = Some(Trouble::WrongKey("the peer dropped".to_owned()));
        let lines = world.lines(columns, rows);
        assert_eq!(
            pasted(&lines, "metrics-top --public"),
            "metrics-top|--public-key|KEY|collector:5557|"
        );
        assert!(lines.iter().any(|line| line == PUBLIC), "{lines:#?}");
        world.trouble = None;
        let name = "web7 of the.long-department.example.org";
        let gone = br#"{"state":"gone","last_seen":1795881600,"since":1795881630,
            "address":"2001:db8:1234:5678:9abc:def0:1234:5678","os":"Debian"}"#;
        let taken = world
            .fleet
            .take_state(world.now, 1_795_960_992.5, name, gone);
        taken.unwrap();
        world.app.selected = Some(name.into());
        world.draw(columns, rows);
        world.obey(Command::Open);
        let lines = world.lines(columns, rows);
        assert!(lines[2].contains("web7 of"), "{lines:#?}");
        assert!(lines.concat().contains("when last seen"), "{lines:#?}");
        assert_eq!(
            pasted(&lines, "metrics-collector hosts"),
            format!("metrics-collector|hosts|--full|{name}|")
        );

        let mut alone = World::new();
        alone.trouble = Some(Trouble::KeyRefused);
        assert_eq!(pasted(&alone.lines(columns, rows), "collector keys"), allow);
        alone.obey(Command::Help);
        let lines = alone.lines(columns, 80);
        let words = lines.join(" ");
        let words: Vec<_> = words.split_whitespace().collect();
        let words = words.join(" ");
        assert!(words.contains("hosts in trouble come first"), "{words}");
        assert!(
            words.contains("after a restart of the collector"),
            "{words}"
        );
    }
}

#[test]
fn hosts_stay_in_sight_while_the_collector_is_away() {
    let mut world = World::with_hosts();
    world.trouble = Some(Trouble::Lost("the connection ended".to_owned()));
    let lines = world.lines(100, 12);
    assert!(
        lines[2].starts_with("▌Not connected: the link was lost (the connection ended)"),
        "{lines:#?}"
    );
    assert!(lines[3].contains("HOST"), "{lines:#?}");
    assert!(lines[5].contains("web1"), "{lines:#?}");
}

#[test]
fn a_wrong_key_and_an_absent_collector_are_told_apart() {
    let mut world = World::new();
    let mut told = |trouble| {
        world.trouble = Some(trouble);
        world.lines(120, 24).join("\n")
    };
    let wrong = told(Trouble::WrongKey("the peer dropped".to_owned()));
    assert!(wrong.contains("does not have the key that was expected (the peer dropped)"));
    assert!(wrong.contains(PUBLIC) && wrong.contains("`metrics-collector --public-key`"));
    assert!(wrong.contains("/home/a/.curve/collector.key"));
    let agents = told(Trouble::AgentsPort);
    assert!(agents.contains("Not connected: collector:5557 is where agents report"));
    assert!(agents.contains("Viewers connect to another port, 5557 where nothing else is set:"));
    assert!(agents.contains("  metrics-top collector\n"));
    let away = told(Trouble::Unreachable("connection refused".to_owned()));
    assert!(away.contains("collector:5557 cannot be reached (connection refused)"));
    let unknown = told(Trouble::NoAddress("the name c does not resolve".to_owned()));
    assert!(unknown.contains("Not connected: the name c does not resolve"));
}
