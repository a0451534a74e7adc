//! The picture in README: the screen of a small fleet, as SVG.
//!
//! `WRITE_DOCS=1 cargo test --lib picture` writes it again after a change of the screen.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use ratatui::style::Color;

use super::*;
use crate::top::keys::Origin;

const PATH: &str = "docs/metrics-top.svg";

const COLUMNS: u16 = 130;
const ROWS: u16 = 15;

/// How many samples each host has sent, 5 s apart.
const SAMPLES: u32 = 48;

/// A host of the fleet, as it is in its last sample.
struct Member {
    name: &'static str,
    os: &'static str,
    cpus: u32,
    memory_gib: u32,
    /// Percent of the CPUs: the mean, and how far it swings.
    cpu: (f64, f64),
    memory_used: f64,
    disk: (&'static str, f64),
    load: f64,
    /// Percent of the time in which tasks wait for I/O.
    io_pressure: f64,
    /// KiB per second.
    traffic: (u32, u32),
    /// Percent of the swap space.
    swap_used: f64,
    /// Degrees Celsius; virtual machines have no sensor.
    temperature: Option<f64>,
    days_up: u32,
    failed: Option<&'static str>,
}

const AT_REST: Member = Member {
    name: "",
    os: "Debian GNU/Linux 13 (trixie)",
    cpus: 4,
    memory_gib: 8,
    cpu: (6.0, 3.0),
    memory_used: 31.0,
    disk: ("/", 42.0),
    load: 0.2,
    io_pressure: 0.0,
    traffic: (38, 51),
    swap_used: 0.0,
    temperature: None,
    days_up: 41,
    failed: None,
};

const FLEET: [Member; 10] = [
    Member {
        name: "db1.example.org",
        cpus: 16,
        memory_gib: 128,
        cpu: (34.0, 22.0),
        memory_used: 71.0,
        disk: ("/var/lib/postgresql", 97.0),
        load: 23.4,
        io_pressure: 46.0,
        traffic: (18_600, 7400),
        swap_used: 34.0,
        temperature: Some(71.0),
        days_up: 212,
        failed: Some("pg-archive.service"),
        ..AT_REST
    },
    Member {
        name: "db2.example.org",
        cpus: 16,
        memory_gib: 128,
        cpu: (12.0, 6.0),
        memory_used: 64.0,
        disk: ("/var/lib/postgresql", 61.0),
        load: 2.1,
        io_pressure: 3.0,
        traffic: (7300, 940),
        swap_used: 2.0,
        temperature: Some(54.0),
        days_up: 212,
        ..AT_REST
    },
    Member {
        name: "build1.example.org",
        os: "Fedora Linux 43",
        cpus: 32,
        memory_gib: 64,
        cpu: (52.0, 38.0),
        memory_used: 48.0,
        disk: ("/srv/build", 66.0),
        load: 17.9,
        io_pressure: 2.0,
        traffic: (3200, 410),
        temperature: Some(63.0),
        days_up: 9,
        ..AT_REST
    },
    Member {
        name: "web1.example.org",
        cpu: (23.0, 12.0),
        load: 1.1,
        traffic: (2100, 19_400),
        ..AT_REST
    },
    Member {
        name: "web2.example.org",
        cpu: (21.0, 13.0),
        memory_used: 33.0,
        load: 0.9,
        traffic: (1900, 17_800),
        ..AT_REST
    },
    Member {
        name: "web3.example.org",
        cpu: (25.0, 10.0),
        memory_used: 29.0,
        load: 1.3,
        traffic: (2200, 20_300),
        days_up: 3,
        ..AT_REST
    },
    Member {
        name: "mail1.example.org",
        os: "Debian GNU/Linux 12 (bookworm)",
        memory_used: 52.0,
        disk: ("/var/mail", 73.0),
        ..AT_REST
    },
    Member {
        name: "ns1.example.org",
        cpus: 2,
        memory_gib: 2,
        cpu: (2.0, 1.0),
        load: 0.03,
        traffic: (9, 12),
        days_up: 530,
        ..AT_REST
    },
    Member {
        name: "ns2.example.org",
        cpus: 2,
        memory_gib: 2,
        cpu: (2.0, 1.0),
        load: 0.02,
        traffic: (8, 11),
        days_up: 530,
        ..AT_REST
    },
    Member {
        name: "backup1.example.org",
        cpus: 8,
        memory_gib: 16,
        cpu: (9.0, 7.0),
        memory_used: 22.0,
        disk: ("/srv/backup", 78.0),
        load: 0.7,
        io_pressure: 6.0,
        traffic: (11_200, 95),
        temperature: Some(38.0),
        days_up: 88,
        ..AT_REST
    },
];

impl Member {
    fn model(&self) -> String {
        format!(
            r#"{{"mem.total":{},"mem.swap.total":4194304,"host.cpus":{},"host.os":"{}","agent.version":"{}"}}"#,
            self.memory_gib * 1024 * 1024,
            self.cpus,
            self.os,
            env!("CARGO_PKG_VERSION"),
        )
    }

    /// What it says in the nth sample.
    fn sample(&self, n: u32) -> String {
        let seconds = n * 5;
        let (mean, swing) = self.cpu;
        // Each host has a rhythm of its own.
        let phase = f64::from(n) / 3.7 + mean;
        let cpu = mean + swing * phase.sin();
        let (mount, full) = self.disk;
        let total = f64::from(self.memory_gib) * 1024.0 * 1024.0;
        let available = total * (1.0 - self.memory_used / 100.0);
        let size = 500.0 * 1024.0 * 1024.0 * 1024.0;
        let free = size * (1.0 - full / 100.0);
        let (received, sent) = self.traffic;
        let failed = self.failed.map_or_else(String::new, |unit| {
            format!(r#","systemd.failed[{unit}]":1"#)
        });
        let temperature = self.temperature.map_or_else(String::new, |celsius| {
            format!(r#","sensor.temperature[coretemp/Package 0]":{celsius}"#)
        });
        let swap_free = 4_194_304.0 * (1.0 - self.swap_used / 100.0);
        format!(
            r#"{{"mem.swap.free":{swap_free:.0},"cpu.percent":{cpu:.1},"mem.avail":{available:.0},"load.1m":{},"sys.uptime":{},
            "fs.size[{mount}]":{size:.0},"fs.free[{mount}]":{free:.0},"fs.avail[{mount}]":{free:.0},
            "pressure.some.avg10[io]":{},"net.rx.bytes.total[eth0]":{},
            "net.tx.bytes.total[eth0]":{},"systemd.jobs":0{failed}{temperature}}}"#,
            self.load,
            self.days_up * 86_400 + seconds,
            self.io_pressure,
            u64::from(received) * 1024 * u64::from(seconds),
            u64::from(sent) * 1024 * u64::from(seconds),
        )
    }
}

fn fleet() -> World {
    let mut world = World::new();
    world.origin = Origin::Certificate("collector.key".into());
    for member in &FLEET {
        world.take(member.name, GridKind::Model, &member.model());
    }
    for n in 0..SAMPLES {
        // One after the other, in the interval of 5 s.
        for member in &FLEET {
            world.now += Duration::from_millis(500);
            world.take(member.name, GridKind::Metrics, &member.sample(n));
        }
    }
    world
}

/// The terminal's colours, as xterm's themes for a dark background have them.
fn colour(colour: Color) -> Option<&'static str> {
    match colour {
        Color::Black => Some("#1c1f26"),
        Color::Red => Some("#ff6b68"),
        Color::Green => Some("#7ec87e"),
        Color::Yellow => Some("#e6c35c"),
        Color::Cyan => Some("#5fc3d6"),
        Color::DarkGray => Some("#6b7280"),
        _ => None,
    }
}

const FOREGROUND: &str = "#d8dee9";
const BACKGROUND: &str = "#1c1f26";
const CELL: (f64, f64) = (8.4, 19.0);
const MARGIN: f64 = 12.0;

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// A screen as SVG. Each run of one style has its place and width, so that columns stand below
/// each other in any font.
fn svg(buffer: &Buffer) -> String {
    let area = buffer.area();
    let (cell_width, cell_height) = CELL;
    let width = f64::from(area.width) * cell_width + 2.0 * MARGIN;
    let height = f64::from(area.height) * cell_height + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"14\">\n\
         <title>metrics-top: ten hosts, of which db1.example.org is in trouble</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    for y in 0..area.height {
        let cells: Vec<_> = (0..area.width).map(|x| &buffer[(x, y)]).collect();
        let mut x = 0;
        for run in cells.chunk_by(|a, b| a.style() == b.style()) {
            let text: String = run.iter().map(|cell| cell.symbol()).collect();
            run_of_cells(&mut svg, (x, y), run.len(), run[0].style(), &text);
            x += run.len();
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn run_of_cells(svg: &mut String, at: (usize, u16), cells: usize, style: Style, text: &str) {
    let (cell_width, cell_height) = CELL;
    let as_width = |cells: usize| f64::from(u16::try_from(cells).unwrap()) * cell_width;
    let left = MARGIN + as_width(at.0);
    let top = MARGIN + f64::from(at.1) * cell_height;
    let own = style.fg.and_then(colour);
    let behind = style.bg.and_then(colour);
    let (front, behind) = if style.add_modifier.contains(Modifier::REVERSED) {
        let front = behind.unwrap_or(BACKGROUND);
        (front, Some(own.unwrap_or(FOREGROUND)))
    } else {
        (own.unwrap_or(FOREGROUND), behind)
    };
    if let Some(fill) = behind {
        let width = as_width(cells);
        writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{cell_height}\" \
             fill=\"{fill}\"/>"
        )
        .unwrap();
    }
    let bold = if style.add_modifier.contains(Modifier::BOLD) {
        " font-weight=\"bold\""
    } else {
        ""
    };
    let baseline = top + 14.5;
    let mut x = 0;
    // What stands apart is placed apart.
    for part in text.split("  ") {
        let after = x + part.chars().count() + 2;
        let word = part.trim();
        if !word.is_empty() {
            let before = part.chars().take_while(|next| *next == ' ').count();
            let left = left + as_width(x + before);
            let width = as_width(word.chars().count());
            writeln!(
                svg,
                "<text x=\"{left:.1}\" y=\"{baseline:.1}\" textLength=\"{width:.1}\" \
                 lengthAdjust=\"spacingAndGlyphs\" fill=\"{front}\"{bold}>{}</text>",
                escaped(word)
            )
            .unwrap();
        }
        x = after;
    }
}

#[test]
fn the_picture_in_the_documentation_is_what_is_drawn() {
    let mut world = fleet();
    let (buffer, _) = world.draw(COLUMNS, ROWS);
    let screen = lines(&buffer);
    // The one in trouble is at the top, and says why.
    let db1 = words(&screen, "db1").join(" ");
    assert!(screen[3].contains("db1.example.org"), "{screen:#?}");
    assert!(db1.contains("97%"), "{db1}");
    let drawn = svg(&buffer);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH);
    if env::var_os("WRITE_DOCS").is_some() {
        fs::write(&path, &drawn).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == drawn,
        "{PATH} is not this screen (WRITE_DOCS=1 writes it):\n{}",
        screen.join("\n")
    );
}
