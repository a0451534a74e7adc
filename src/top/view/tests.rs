mod host;
mod picture;
mod trouble;

use std::time::Duration;

use super::*;
use crate::base::clock::Clock;
use crate::protocol::message::GridKind;
use crate::top::app::App;
use crate::top::input::Command;
use crate::top::link::Trouble;
use crate::top::sort::{Column, sorted};
use jiff::tz::TimeZone;
use ratatui::style::Modifier;

const PUBLIC: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

const RICH: Theme = Theme {
    colours: true,
    unicode: true,
};

struct World {
    fleet: Fleet,
    app: App,
    trouble: Option<Trouble>,
    origin: Origin,
    theme: Theme,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            fleet: Fleet::default(),
            app: App::new(Column::State, ""),
            trouble: None,
            origin: Origin::Certificate("/home/a/.curve/collector.key".into()),
            theme: RICH,
            now: Instant::now(),
        }
    }

    fn never_connected() -> Self {
        let why = "connection refused".to_owned();
        Self {
            trouble: Some(Trouble::Unreachable(why)),
            ..Self::new()
        }
    }

    /// Three hosts: one that is busy, one at rest, one that is silent.
    fn with_hosts() -> Self {
        let mut world = Self::new();
        let model = r#"{"mem.total":4194304,"mem.swap.total":1048576,"host.cpus":4,
            "host.os":"Debian GNU/Linux 13","host.kernel":"6.12.1","agent.version":"0.1.0"}"#;
        world.take(
            "old1",
            GridKind::Metrics,
            r#"{"cpu.percent":7,"load.1m":0.1}"#,
        );
        world.now += Duration::from_secs(45);
        for host in ["web1.example.org", "db1"] {
            world.take(host, GridKind::Model, model);
        }
        world.app.selected = Some("web1.example.org".into());
        world.fleet.watch(Some(&"web1.example.org".into()));
        for (cpu, uptime) in [(80, 1000), (95, 1005)] {
            let count = uptime - 1000;
            let json = format!(
                r#"{{"cpu.percent":{cpu},"mem.avail":1048576,"mem.free":1000,"mem.swap.free":1048576,
                "sys.uptime":{uptime},"load.1m":9.5,"load.5m":1,"load.15m":1,
                "net.rx.bytes.total[eth0]":{},"net.tx.bytes.total[eth0]":{},"net.up[eth0]":1,
                "pressure.some.avg10[io]":12,"pressure.full.avg10[io]":3,
                "cpu.user.total":{},"cpu.idle.total":{},"systemd.jobs":0,
                "systemd.failed[backup.service]":1,"sensor.temperature[coretemp/Core 0]":47.9,
                "fs.size[/]":107374182400,"fs.free[/]":10737418240,"fs.avail[/]":10737418240,
                "fs.stuck[/net/\u001b[31m]":1,
                "disk.read.bytes.total[sda]":{},"disk.busy.total[sda]":{},
                "unit.cpu.total[nginx.service]":{},"unit.memory[nginx.service]":52428800,
                "unit.cpu.total[sshd.service]":0,"unit.memory[sshd.service]":104857600,
                "unit.tasks[nginx.service]":5,"unit.restarts.total[nginx.service]":2}}"#,
                count * 1_048_576,
                count * 2048,
                count * 900,
                count * 100,
                count * 4096,
                count * 500,
                count * 250_000,
            )
            // A name with a control character would be refused as a whole.
            .replace("\\u001b[31m", "x");
            world.take("web1.example.org", GridKind::Metrics, &json);
            world.now += Duration::from_secs(1);
        }
        world.take(
            "db1",
            GridKind::Metrics,
            r#"{"cpu.percent":3,"mem.avail":4000000,"sys.uptime":8640000,"load.1m":0.02}"#,
        );
        // It is found among the rows, and then brought in sight.
        world.draw(100, 30);
        world.draw(100, 30);
        world
    }

    fn take(&mut self, host: &str, kind: GridKind, json: &str) {
        self.fleet
            .take(self.now, host, kind, json.as_bytes())
            .unwrap();
    }

    fn draw(&mut self, columns: u16, rows: u16) -> (Buffer, Drawn) {
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
        let shown = sorted(
            self.fleet.hosts(),
            &self.app.filter,
            self.app.sort,
            self.app.reversed,
            self.now,
        );
        self.app.resettle(&shown);
        let until = self.now + Duration::from_secs(3);
        let link = match &self.trouble {
            Some(trouble) => Status::Waiting(trouble, until),
            None => Status::Connected,
        };
        let drawn = draw(
            &mut buffer,
            &Scene {
                app: &self.app,
                rows: &shown,
                fleet: &self.fleet,
                link,
                collector: "collector:5557",
                own_key: PUBLIC.parse().unwrap(),
                collector_key: PUBLIC.parse().unwrap(),
                origin: &self.origin,
                own_name: "laptop",
                now: self.now,
                // 2026-11-29 14:03:12 UTC.
                clock: &Clock::new(1_795_960_992_500_000, TimeZone::UTC),
                theme: self.theme,
            },
        );
        match drawn {
            Drawn::Rows(page) => self.app.settle_rows(&shown, page),
            Drawn::Lines(lines, page) => self.app.settle_lines(lines, page),
            Drawn::Nothing => {}
        }
        (buffer, drawn)
    }

    fn lines(&mut self, columns: u16, rows: u16) -> Vec<String> {
        lines(&self.draw(columns, rows).0)
    }

    fn obey(&mut self, command: Command) {
        let rows = sorted(
            self.fleet.hosts(),
            &self.app.filter,
            self.app.sort,
            self.app.reversed,
            self.now,
        );
        self.app.obey(command, &rows);
    }
}

fn lines(buffer: &Buffer) -> Vec<String> {
    buffer
        .content()
        .chunks(usize::from(buffer.area().width))
        .map(|row| {
            let row: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
            row.trim_end().to_owned()
        })
        .collect()
}

/// The words of the line that has this in it.
fn words(lines: &[String], part: &str) -> Vec<String> {
    let line = lines.iter().find(|line| line.contains(part));
    let line = line.unwrap_or_else(|| panic!("no {part:?} in {lines:#?}"));
    line.split_whitespace().map(str::to_owned).collect()
}

fn style_of(buffer: &Buffer, part: &str) -> Style {
    let all = lines(buffer);
    let y = all.iter().position(|line| line.contains(part)).unwrap();
    let (before, _) = all[y].split_once(part).unwrap();
    let x = before.chars().count();
    let (x, y) = (u16::try_from(x).unwrap(), u16::try_from(y).unwrap());
    buffer[(x, y)].style()
}

#[test]
fn the_table_says_how_the_hosts_are() {
    let mut world = World::with_hosts();
    let lines = world.lines(170, 12);
    let title = words(&lines, "metrics-top").join(" ");
    assert_eq!(
        title,
        "metrics-top collector:5557 ● connected 3 hosts: 2 reporting, 1 silent"
    );
    assert!(lines[1].contains("CPUs 3.9 of 8"), "{}", lines[1]);
    assert!(
        lines[1].contains("network 1.0M in, 2.0K out a second"),
        "{}",
        lines[1]
    );
    assert!(lines[1].contains("failed units 1"), "{}", lines[1]);
    let headings = words(&lines, "HOST").join(" ");
    assert_eq!(
        headings,
        "HOST STATE▼ AGE CPU MEM DISK SWAP LOAD PRESSURE RX/s TX/s TEMP FAIL UP AGENT SYSTEM"
    );
    let web1 = words(&lines, "web1").join(" ");
    let history = "▇█";
    assert_eq!(
        web1,
        format!(
            "▲ web1.example.org stuck /net/x 1s ━━━━ 95% {history} ━━━─ 75% stuck 0% 9.50 12% io 1.0M \
             2.0K 48 1 16min 0.1.0 Debian GNU/Linux 13"
        )
    );
    // In trouble first: who is not there, then who is badly off; and then by name.
    let order: Vec<_> = lines[3..6].iter().map(|line| &line[4..7]).collect();
    assert_eq!(order, ["old", "web", "db1"]);
    assert_eq!(
        words(&lines, "old1").join(" "),
        "✗ old1 silent 47s last heard 14:02:25, CPU 7% then"
    );
    assert!(
        lines[11].starts_with("Enter look  / filter"),
        "{}",
        lines[11]
    );
    assert!(lines[11].ends_with(" 1-3 of 3"), "{}", lines[11]);
}

#[test]
fn who_is_gone_comes_first_with_when_it_was_seen() {
    let mut world = World::with_hosts();
    let gone = br#"{"state":"gone","last_seen":1795881600,"since":1795881630}"#;
    let wall = 1_795_960_992.5;
    world
        .fleet
        .take_state(world.now, wall, "web7", gone)
        .unwrap();
    let (buffer, _) = world.draw(80, 12);
    let lines = lines(&buffer);
    assert!(
        lines[0].ends_with("4 hosts: 2 reporting, 1 silent, 1 gone"),
        "{}",
        lines[0]
    );
    assert_eq!(
        lines[3],
        "✗ web7              gone 22h     last seen Sat 28 Nov 16:00"
    );
    // It stands out without any colour, and is never dim.
    let style = style_of(&buffer, "gone 22h").add_modifier;
    assert_eq!(style, Modifier::REVERSED | Modifier::BOLD);
    world.app.selected = Some("web7".into());
    world.draw(80, 12);
    world.obey(Command::Open);
    let lines = world.lines(80, 12);
    assert!(
        lines[2].ends_with("GONE: last seen Sat 28 Nov 16:00, 22h ago"),
        "{}",
        lines[2]
    );
    let page: Vec<_> = lines[3..].iter().map(|line| line.trim_end()).collect();
    assert_eq!(
        page[..7],
        [
            "last seen Sat 28 Nov 16:00, 22h ago",
            "gone      Sat 28 Nov 16:00, 22h ago",
            "",
            "The collector keeps no values of a host that is gone.",
            "They come here once it reports again.",
            "Its address and key, on the collector's host:",
            "  metrics-collector hosts --full web7",
        ]
    );
    // What the collector still knows of it.
    let known = br#"{"state":"gone","last_seen":1795881600,"since":1795881630,
        "address":"192.0.2.7","os":"Debian GNU/Linux 13 (trixie)"}"#;
    world
        .fleet
        .take_state(world.now, wall, "web7", known)
        .unwrap();
    let lines = world.lines(80, 16);
    let page: Vec<_> = lines[3..].iter().map(|line| line.trim_end()).collect();
    assert_eq!(
        page[..9],
        [
            "last seen Sat 28 Nov 16:00, 22h ago",
            "gone      Sat 28 Nov 16:00, 22h ago",
            "address   192.0.2.7, when last seen",
            "system    Debian GNU/Linux 13 (trixie), when last seen",
            "",
            "The collector keeps no values of a host that is gone.",
            "They come here once it reports again.",
            "Its key, on the collector's host:",
            "  metrics-collector hosts --full web7",
        ]
    );
    // One that was heard before it went is told with its last values.
    world
        .fleet
        .take_state(world.now, wall, "web1.example.org", gone)
        .unwrap();
    world.obey(Command::Back);
    world.app.selected = Some("web1.example.org".into());
    world.draw(80, 12);
    world.obey(Command::Open);
    let page = world.lines(80, 24).join("\n");
    for text in [
        "last seen Sat 28 Nov",
        "Below is what it said last.",
        "Memory",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("keeps no values"), "{page}");
}

#[test]
fn a_terminal_of_ascii_gets_nothing_else() {
    let mut world = World::with_hosts();
    world.theme.unicode = false;
    let long = "database-with-a-name-that-has-no-room-anywhere-at-all";
    for host in [long, "münchen1"] {
        world.take(host, GridKind::Metrics, r#"{"cpu.percent":1}"#);
    }
    let plain = |lines: &[String]| {
        let text = lines.join("\n");
        assert!(text.is_ascii(), "{text}");
        text
    };
    let fleet = plain(&world.lines(60, 16));
    assert!(fleet.contains("m?nchen1"), "{fleet}");
    world.draw(80, 16);
    world.obey(Command::Open);
    let host = plain(&world.lines(80, 50));
    assert!(host.contains("Temperatures in C -"), "{host}");
    world.theme = RICH;
    let host = world.lines(80, 50).join("\n");
    assert!(host.contains("Temperatures in °C ─"), "{host}");
}

#[test]
fn when_a_host_was_seen_is_readable_at_every_width() {
    let mut world = World::with_hosts();
    let wall = 1_795_960_992.5;
    for (host, state, seen) in [
        ("exp1", "expected", 1_795_960_000),
        ("exp2", "expected", 1_795_881_600),
        ("web7", "gone", 1_795_881_600),
    ] {
        let state = format!(r#"{{"state":"{state}","last_seen":{seen},"since":{seen}}}"#);
        let taken = world
            .fleet
            .take_state(world.now, wall, host, state.as_bytes());
        taken.unwrap();
    }
    let lines = world.lines(80, 12);
    let row = |lines: &[String], host| words(lines, host)[2..].join(" ");
    assert_eq!(
        row(&lines, "exp1"),
        "expected last seen 13:46:40 before the collector's start"
    );
    assert_eq!(row(&lines, "exp2"), "expected last seen Sat 28 Nov 16:00");
    assert_eq!(
        row(&lines, "old1"),
        "silent 47s last heard 14:02:25, CPU 7% then"
    );
    let lines = world.lines(40, 12);
    assert_eq!(row(&lines, "exp1"), "expected 13:46:40");
    assert_eq!(row(&lines, "exp2"), "expected Sat 28 Nov");
    assert_eq!(row(&lines, "old1"), "silent 47s 14:02:25");
    assert_eq!(row(&lines, "web7"), "gone 22h Sat 28 Nov");
}

#[test]
fn no_value_runs_into_its_neighbour() {
    let mut world = World::new();
    let model = r#"{"mem.total":1e15,"mem.swap.total":1e15,"host.cpus":4096,
        "host.os":"An operating system with a name that no vendor would give it at all",
        "agent.version":"1234.5678.9012-and-more"}"#;
    let name = "a".repeat(200);
    world.take(&name, GridKind::Model, model);
    for uptime in [1_000_000_000_i64, 1_000_000_001] {
        let count = (uptime - 1_000_000_000) * 123_456_789_012_345;
        let json = format!(
            r#"{{"cpu.percent":100,"mem.avail":1,"mem.swap.free":0,"load.1m":123456789.5,
            "load.5m":99999.4,"load.15m":1e300,"sys.uptime":{uptime},"proc.threads":1e18,
            "pressure.some.avg10[memory]":100,"pressure.full.avg10[memory]":100,
            "sensor.temperature[x/y]":1e9,"systemd.failed[x.service]":1,
            "net.rx.bytes.total[eth0]":{count},"net.tx.bytes.total[eth0]":{count},
            "net.rx.packets.total[eth0]":{count},"net.tx.errors.total[eth0]":{count},
            "net.up[eth0]":1,"net.speed[eth0]":10000,
            "net.up[ib-with-a-long-name]":1,"net.speed[ib-with-a-long-name]":4000000000,
            "disk.read.bytes.total[nvme0n1]":{count},"disk.busy.total[nvme0n1]":{count},
            "disk.writes.total[nvme0n1]":{count},
            "fs.size[/]":1e27,"fs.free[/]":1,"fs.avail[/]":1,
            "unit.cpu.total[a.service]":{count},"unit.memory[a.service]":1e30,
            "unit.tasks[a.service]":123456789,"unit.restarts.total[a.service]":99999999}}"#
        );
        world.take(&name, GridKind::Metrics, &json);
        world.fleet.watch(Some(&name.as_str().into()));
    }
    for width in [60, 80, 120, 170, 240] {
        let lines = world.lines(width, 10);
        let head: Vec<_> = lines[2].split_whitespace().collect();
        let row = &lines[3];
        // Each value is under its heading, with a gap before the next.
        for heading in &head {
            let at = lines[2].find(heading).unwrap();
            let column = lines[2][..at].chars().count();
            let before = row.chars().nth(column.saturating_sub(1));
            if !heading.starts_with("MEM") && !heading.starts_with("CPU") && column > 2 {
                let gap = row.chars().skip(column.saturating_sub(2)).take(2);
                assert!(
                    gap.collect::<String>().contains(' '),
                    "{width} {heading} {before:?}: {row}"
                );
            }
        }
    }
    world.obey(Command::Open);
    let text = world.lines(120, 60).join("\n");
    for part in [" 10000 Mbit/s ", " 4000000000 Mbit/s ", " 112T ", " >999Y "] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn colours_say_what_wants_a_look() {
    use ratatui::style::Color;
    let mut world = World::with_hosts();
    let (buffer, _) = world.draw(130, 12);
    assert_eq!(style_of(&buffer, "95%").fg, Some(Color::Red));
    assert_eq!(style_of(&buffer, "9.50").fg, Some(Color::Red));
    assert_eq!(style_of(&buffer, "12% io").fg, Some(Color::Yellow));
    assert_eq!(style_of(&buffer, "silent 47s").fg, Some(Color::Red));
    let cursor = style_of(&buffer, "web1").add_modifier;
    assert!(cursor.contains(Modifier::REVERSED));
    assert!(
        !style_of(&buffer, "db1")
            .add_modifier
            .contains(Modifier::REVERSED)
    );

    world.theme.colours = false;
    let (buffer, _) = world.draw(130, 12);
    for cell in buffer.content() {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
        assert!(!cell.modifier.contains(Modifier::DIM));
    }
    // What colours say is said without them, too.
    let of = |part| style_of(&buffer, part).add_modifier;
    assert_eq!(of("95%"), Modifier::BOLD | Modifier::REVERSED);
    assert_eq!(of("12% io"), Modifier::BOLD);
    assert_eq!(of(" 0.02"), Modifier::empty());
}

#[test]
fn a_terminal_without_unicode_gets_ascii() {
    let mut world = World::with_hosts();
    world.theme.unicode = false;
    for look in [false, true] {
        if look {
            world.obey(Command::Open);
        }
        for line in world.lines(130, 50) {
            assert!(line.is_ascii(), "{line}");
        }
    }
    world.obey(Command::Help);
    assert!(world.lines(100, 40).concat().is_ascii());
}

#[test]
fn a_narrow_terminal_has_the_columns_that_matter() {
    let mut world = World::with_hosts();
    let lines = world.lines(80, 24);
    let web1 = words(&lines, "web1").join(" ");
    assert_eq!(
        web1,
        "▲ web1.example.org stuck /net/x 95% 75% stuck 0% 9.50 1.0M 2.0K 1"
    );
    let lines = world.lines(40, 8);
    assert_eq!(words(&lines, "HOST"), ["HOST", "STATE▼", "CPU", "MEM"]);
    assert!(lines.iter().any(|line| line.contains("95%")), "{lines:#?}");
}

#[test]
fn a_terminal_that_is_too_small_says_so() {
    let mut world = World::with_hosts();
    for (columns, rows) in [(39, 24), (80, 7)] {
        let lines = world.lines(columns, rows);
        assert_eq!(lines[0], "The terminal is too small.");
        assert_eq!(lines[1], format!("It has {columns}x{rows},"));
        assert_eq!(lines[2], "40x8 are needed.");
    }
    for (columns, rows) in [(0, 0), (1, 1), (5, 2)] {
        assert_eq!(world.draw(columns, rows).1, Drawn::Nothing);
    }
}

#[test]
fn every_size_can_be_drawn() {
    let mut world = World::with_hosts();
    for step in 0..3 {
        for columns in (0..200).step_by(7) {
            for rows in 0..40 {
                world.draw(columns, rows);
            }
        }
        match step {
            0 => world.obey(Command::Open),
            _ => world.obey(Command::Help),
        }
    }
}

#[test]
fn names_from_outside_write_no_control_characters() {
    let mut world = World::new();
    world.take(
        "a\u{202e}b\u{200b}",
        GridKind::Metrics,
        r#"{"cpu.percent":1}"#,
    );
    world.take(
        "a\u{202e}b\u{200b}",
        GridKind::Model,
        "{\"host.os\":\"x\\u001b[2J\\u009by\\n\\u0007\"}",
    );
    for look in [false, true] {
        if look {
            world.obey(Command::Open);
        }
        let text = world.lines(100, 12).join("");
        assert!(text.contains("a\\u{202e"), "{text}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(!text.contains('\u{202e}'));
        assert_eq!(look, text.contains("x\\u{1b}[2J\\u{9b}y\\n\\u{7}"));
    }
}

#[test]
fn a_filter_is_shown_while_it_is_typed_and_after() {
    let mut world = World::with_hosts();
    world.obey(Command::Filter);
    for letter in "db".chars() {
        world.obey(Command::Type(letter));
    }
    let lines = world.lines(100, 12);
    assert!(lines[11].starts_with("Filter: db▏"), "{}", lines[11]);
    assert!(
        lines[0].ends_with("3 hosts: 2 reporting, 1 silent; 1 shown"),
        "{}",
        lines[0]
    );
    assert!(!lines.concat().contains("web1"));
    world.obey(Command::Accept);
    let lines = world.lines(120, 12);
    assert!(
        lines[11].starts_with("filter: db  Enter look"),
        "{}",
        lines[11]
    );
    world.obey(Command::Filter);
    world.obey(Command::Type('x'));
    let lines = world.lines(100, 12);
    assert!(
        lines[3].contains("No host has this in its name."),
        "{lines:#?}"
    );
}

#[test]
fn the_keys_are_listed() {
    let mut world = World::with_hosts();
    world.obey(Command::Help);
    let text = world.lines(80, 50).join("\n");
    for column in Column::ALL {
        assert!(
            text.contains(&format!("{}  {}", column.key(), column.heading())),
            "{text}"
        );
    }
    assert!(text.contains("Ctrl-C"));
    // A screen that is too small for them all scrolls.
    let lines = world.lines(80, 24);
    assert!(
        lines[23].starts_with("Esc back  ↑↓ scroll"),
        "{}",
        lines[23]
    );
    assert!(!lines.concat().contains("the collector is not heard"));
    world.obey(Command::Last);
    world.draw(80, 24);
    let lines = world.lines(80, 24);
    assert!(lines.concat().contains("the collector is not heard"));
}

/// Each word of the first and of the last row is whole or marked as cut, however narrow the terminal.
#[test]
fn no_word_is_cut_above_and_below() {
    let mut world = World::with_hosts();
    let mut modes = 0;
    loop {
        match modes {
            0 => {}
            1 => {
                world.obey(Command::Filter);
                let filter = "web1.example.org";
                filter
                    .chars()
                    .for_each(|letter| world.obey(Command::Type(letter)));
            }
            2 => world.obey(Command::Accept),
            3 => world.obey(Command::Open),
            4 => world.obey(Command::Help),
            5 => world.trouble = Some(Trouble::Silent),
            6 => world = World::never_connected(),
            _ => break,
        }
        modes += 1;
        for row in [0, 11] {
            let words = |lines: &[String]| {
                let words = lines[row].split_whitespace();
                let words = words.map(|word| word.trim_end_matches([';', ':', ',']).to_owned());
                words.collect::<Vec<_>>()
            };
            let whole = words(&world.lines(300, 12));
            for width in 40..300 {
                let lines = world.lines(width, 12);
                for word in words(&lines) {
                    let is_marked = word.starts_with('…') || word.ends_with('…');
                    let is_number = word.parse::<u32>().is_ok();
                    let is_known = whole.contains(&word) || is_number || is_marked;
                    assert!(is_known, "{modes} {width} {word}: {}", lines[row]);
                }
            }
        }
    }
}

#[test]
fn a_filter_in_force_comes_before_the_keys() {
    let mut world = World::with_hosts();
    world.obey(Command::Filter);
    "web1.example.org"
        .chars()
        .for_each(|letter| world.obey(Command::Type(letter)));
    let last = |world: &mut World, width| world.lines(width, 12).remove(11);
    assert_eq!(
        last(&mut world, 40),
        "Filter: web1.example.org▏       1-1 of 1"
    );
    world.obey(Command::Accept);
    assert!(last(&mut world, 50).starts_with("filter: web1.example.org  Enter look  "));
    world.obey(Command::Filter);
    "-and-what-is-behind-it"
        .chars()
        .for_each(|letter| world.obey(Command::Type(letter)));
    assert_eq!(
        last(&mut world, 40),
        "Filter: …ple.org-and-what-is-behind-it▏"
    );
    world.obey(Command::Accept);
    assert!(last(&mut world, 40).starts_with("filter: web1.example.org-and-what-is-b…"));
}

#[test]
fn before_the_first_link_nothing_is_said_of_hosts() {
    let mut world = World::never_connected();
    for width in [40, 80, 120] {
        let lines = world.lines(width, 12);
        assert!(lines[0].ends_with("✗ not connected yet"), "{}", lines[0]);
        let text = lines.concat();
        assert!(!text.contains("hosts"), "{text}");
        assert!(text.contains("Not connected: "), "{text}");
    }
    world.trouble = None;
    assert!(world.lines(80, 12)[0].ends_with(" 0 hosts: 0 reporting"));
}

/// A name is not cut beside columns that are empty; it is beside others.
#[test]
fn what_is_empty_makes_room_for_names() {
    let mut world = World::new();
    let name = "database-primary-7.example.org";
    let metrics = r#"{"cpu.percent":3,"load.1m":0.5}"#;
    for host in [name, "db1"] {
        world.take(host, GridKind::Metrics, metrics);
    }
    let head = |lines: &[String]| words(lines, "HOST").join(" ");
    let lines = world.lines(80, 12);
    assert_eq!(head(&lines), "HOST STATE▼ CPU MEM DISK SWAP LOAD");
    assert_eq!(words(&lines, "database")[1], name);
    world.take(
        "db1",
        GridKind::Metrics,
        r#"{"systemd.failed[x.service]":1,"systemd.jobs":0}"#,
    );
    let lines = world.lines(80, 12);
    assert_eq!(head(&lines), "HOST STATE▼ CPU MEM DISK LOAD FAIL");
    assert_eq!(words(&lines, "database")[1], name);
    // What the table is sorted by stays.
    world.app.sort = Column::Swap;
    assert!(head(&world.lines(80, 12)).contains("SWAP"));
    world.app.sort = Column::State;
    // Short names need no more room.
    world.obey(Command::Filter);
    world.obey(Command::Type('b'));
    world.obey(Command::Type('1'));
    let lines = world.lines(80, 12);
    assert_eq!(
        head(&lines),
        "HOST STATE▼ CPU MEM DISK SWAP LOAD RX/s TX/s FAIL"
    );
}
