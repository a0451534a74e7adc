//! The page of a host.

use super::*;

#[test]
fn tasks_that_wait_are_told_in_words() {
    let mut world = World::new();
    for (host, resource, share) in [("a1", "cpu", 43), ("b1", "memory", 100)] {
        let json = format!(r#"{{"cpu.percent":1,"pressure.some.avg10[{resource}]":{share}}}"#);
        world.take(host, GridKind::Metrics, &json);
    }
    let lines = world.lines(80, 12);
    assert_eq!(words(&lines, "a1")[2..5], ["cpu", "wait", "43%"]);
    assert_eq!(words(&lines, "b1")[2..4], ["mem", "wait>99%"]);
}

#[test]
fn services_without_values_are_counted() {
    let mut world = World::new();
    // The first has been started again and again.
    let metrics = r#"{"cpu.percent":1,"unit.restarts.total[a.service]":2,
        "unit.memory[b.service]":1e6,"unit.active[c.service]":0,"unit.active[d.service]":0}"#;
    world.fleet.watch(Some(&"a1".into()));
    world.take("a1", GridKind::Metrics, metrics);
    world.draw(100, 40);
    world.obey(Command::Open);
    let text = world.lines(100, 40).join("\n");
    assert!(
        text.contains("a.service") && text.contains("b.service"),
        "{text}"
    );
    assert!(!text.contains("c.service"), "{text}");
    assert!(text.contains("and 2 more without values"), "{text}");
}

#[test]
fn a_host_is_shown_with_all_that_is_known() {
    let mut world = World::with_hosts();
    world.obey(Command::Open);
    let (buffer, drawn) = world.draw(100, 60);
    let lines = lines(&buffer);
    assert!(lines[2].contains("web1.example.org"), "{}", lines[2]);
    assert!(
        lines[2].ends_with("reporting, heard 1s ago"),
        "{}",
        lines[2]
    );
    assert!(
        lines[3].starts_with("System   Debian GNU/Linux 13"),
        "{}",
        lines[3]
    );
    assert!(lines[3].contains("Kernel   6.12.1"), "{}", lines[3]);
    assert_eq!(words(&lines, "backup.service"), ["▲", "backup.service"]);
    assert_eq!(
        words(&lines, "user 90.0%"),
        ["user", "90.0%", "idle", "10.0%"]
    );
    assert_eq!(words(&lines, "load 9.50"), ["load", "9.50", "1.00", "1.00"]);
    assert!(
        lines.iter().any(|line| line.contains("75%  3.0G of 4.0G")),
        "{lines:#?}"
    );
    assert_eq!(words(&lines, "io  ")[..4], ["io", "12.0%", "-", "-"]);
    let root = words(&lines, "/  ");
    assert_eq!(root[2..], ["90%", "90.0G", "100G", "10.0G"]);
    assert!(
        lines
            .iter()
            .any(|line| line.contains("/net/x") && line.contains("does not answer"))
    );
    assert_eq!(words(&lines, "sda "), ["sda", "50%", "4.0K", "-", "-", "-"]);
    assert_eq!(words(&lines, "eth0")[..3], ["eth0", "1.0M", "2.0K"]);
    assert_eq!(
        words(&lines, "nginx.service"),
        ["nginx.service", "25.0%", "50.0M", "5", "-", "2"]
    );
    let at = |name: &str| {
        lines
            .iter()
            .position(|line| line.starts_with(name))
            .unwrap()
    };
    assert!(at("nginx.service") < at("sshd.service"));
    let Drawn::Lines(all, 56) = drawn else {
        panic!("{drawn:?}");
    };
    assert!(all < 56, "{all}");
    assert_eq!(words(&lines, "coretemp")[..2], ["coretemp/Core", "0"]);

    world.obey(Command::Sort(Column::Memory));
    let lines = world.lines(100, 60);
    let at = |name: &str| {
        lines
            .iter()
            .position(|line| line.starts_with(name))
            .unwrap()
    };
    assert!(at("nginx.service") > at("sshd.service"));
}

#[test]
fn what_does_not_fit_is_scrolled() {
    let mut world = World::with_hosts();
    world.obey(Command::Open);
    let lines = world.lines(80, 15);
    assert!(!lines.concat().contains("nginx.service"));
    // The mark covers nothing of what is shown.
    assert!(lines[14].ends_with(" more ↓"), "{}", lines[14]);
    assert!(!lines[..14].concat().contains("more"), "{lines:#?}");
    assert!(world.lines(40, 15)[14].ends_with(" more ↓"));
    world.obey(Command::Last);
    world.draw(80, 15);
    let lines = world.lines(80, 15);
    assert!(!lines.concat().contains("more ↓"), "{lines:#?}");
    assert!(lines[13].starts_with("sshd.service"), "{lines:#?}");
    assert!(lines[2].contains("web1.example.org"));
}

#[test]
fn a_host_that_has_said_nothing_yet_is_shown_as_far_as_it_is_known() {
    let mut world = World::new();
    world.take("new1", GridKind::Model, r#"{"host.os":"Debian"}"#);
    let lines = world.lines(100, 10);
    let row = words(&lines, "new1");
    assert_eq!(row[..4], ["◌", "new1", "waiting", "-"]);
    assert!(
        lines[0].ends_with("1 host: 0 reporting, 1 waiting"),
        "{}",
        lines[0]
    );
    world.obey(Command::Open);
    let text = world.lines(100, 10).join("\n");
    assert!(text.contains("no metrics heard yet"), "{text}");
    assert!(
        text.contains("Its metrics come with its next message."),
        "{text}"
    );
}
