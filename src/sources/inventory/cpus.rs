//! The CPUs: their model, and how many, from /proc/cpuinfo and
//! /sys/devices/system/cpu (Documentation/ABI/testing/sysfs-devices-system-cpu).

use super::files::sensible;
use crate::sources::{file::Root, odd::LeftOut};

/// Where each CPU has a directory.
const DIRECTORY: &str = "/sys/devices/system/cpu";

/// Most CPUs that are looked at: no kernel is built for more.
const MAX_CPUS: usize = 8192;

/// The fields of /proc/cpuinfo that name a model: those of x86 (and of 32-bit ARM),
/// Loongson, MIPS, POWER and RISC-V.
const MODEL_FIELDS: [&str; 5] = ["model name", "Model Name", "cpu model", "cpu", "uarch"];

const EXPECTED_LIST: &str = "a list of CPUs, as 0-3,8";

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// CPUs online.
    pub cpus: Option<u64>,
    /// Cores with a CPU online.
    pub cores: Option<u64>,
    /// Sockets with a CPU online.
    pub sockets: Option<u64>,
}

/// The value of a field of the first CPU out of the text of /proc/cpuinfo.
#[must_use]
pub fn field<'t>(cpuinfo: &'t str, name: &str) -> Option<&'t str> {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(field, _)| field.trim() == name)?;
    Some(value.trim()).filter(|value| !value.is_empty())
}

/// The model of the first CPU. 64-bit ARM has no names, but numbers that identify it.
#[must_use]
pub fn model(cpuinfo: &str) -> Option<String> {
    if let Some(model) = MODEL_FIELDS.iter().find_map(|name| field(cpuinfo, name)) {
        return Some(model.to_owned());
    }
    let implementer = field(cpuinfo, "CPU implementer")?;
    let part = field(cpuinfo, "CPU part")?;
    Some(format!("implementer {implementer} part {part}"))
}

/// Counts them. CPUs that share a core have the same list of CPUs, so a core has one CPU that is
/// the first in its own list; the same holds for a socket.
pub fn count(root: &Root, left_out: &mut LeftOut) -> Counts {
    let mut list = |file: &str| {
        let file = format!("{DIRECTORY}/{file}");
        sensible(root, &file, EXPECTED_LIST, left_out, parse_list)
    };
    let Some(online) = list("online") else {
        return Counts::default();
    };
    // The older names of the lists are those before Linux 5.3.
    let mut groups = |names: [&str; 2]| {
        let mut groups = 0;
        for cpu in &online {
            let list = names
                .iter()
                .find_map(|name| list(&format!("cpu{cpu}/topology/{name}")));
            groups += u64::from(list?.first() == Some(cpu));
        }
        Some(groups).filter(|groups| *groups > 0)
    };
    Counts {
        cpus: Some(online.len() as u64),
        cores: groups(["core_cpus_list", "thread_siblings_list"]),
        sockets: groups(["package_cpus_list", "core_siblings_list"]),
    }
}

/// `0-3,8`: the numbers of a list, at least one; None for another form, and beyond
/// [`MAX_CPUS`].
fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MAX_CPUS || cpus.last().is_some_and(|before| *before >= first) {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn counted(root: &Root) -> Counts {
        let mut left_out = LeftOut::default();
        let counts = count(root, &mut left_out);
        assert_eq!(left_out.count(), 0, "{left_out:?}");
        counts
    }

    #[test]
    fn lists_are_of_numbers_that_rise() {
        for (text, expected) in [
            ("0", Some(vec![0])),
            ("0-3,8,10-11", Some(vec![0, 1, 2, 3, 8, 10, 11])),
            ("8191", Some(vec![8191])),
            ("8192", None),
            ("0-18446744073709551615", None),
            ("3-1", None),
            ("1,1", None),
            ("0-3,2", None),
            ("", None),
            ("0,", None),
            ("-1", None),
            ("a", None),
        ] {
            assert_eq!(parse_list(text), expected, "{text}");
        }
    }

    #[test]
    fn a_model_is_named_where_there_is_one() {
        for (cpuinfo, model_name) in [
            (
                "processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n",
                Some("AMD EPYC"),
            ),
            (
                "processor\t: 0\ncpu\t\t: POWER9 (raw), altivec supported\n",
                Some("POWER9 (raw), altivec supported"),
            ),
            (
                "processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\nCPU variant\t: 0x3\n\
                 CPU part\t: 0xd0c\n",
                Some("implementer 0x41 part 0xd0c"),
            ),
            ("processor\t: 0\nCPU part\t: 0xd0c\n", None),
            ("model name\t:\n", None),
            ("", None),
        ] {
            assert_eq!(model(cpuinfo).as_deref(), model_name);
        }
    }

    /// Two sockets of two cores of two threads, of which one CPU is offline.
    fn topology(names: [&str; 2]) -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root(directory.path().to_owned());
        let put = |path: &str, text: &str| {
            let path = root.path(&format!("{DIRECTORY}/{path}"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("online", "0-6\n");
        for (cpu, core, socket) in [
            (0, "0,4", "0-1,4-5"),
            (1, "1,5", "0-1,4-5"),
            (2, "2,6", "2-3,6"),
            (3, "3", "2-3,6"),
            (4, "0,4", "0-1,4-5"),
            (5, "1,5", "0-1,4-5"),
            (6, "2,6", "2-3,6"),
        ] {
            let [core_name, socket_name] = names;
            put(
                &format!("cpu{cpu}/topology/{core_name}"),
                &format!("{core}\n"),
            );
            put(
                &format!("cpu{cpu}/topology/{socket_name}"),
                &format!("{socket}\n"),
            );
        }
        (directory, root)
    }

    #[test]
    fn cores_and_sockets_are_counted_once() {
        let expected = Counts {
            cpus: Some(7),
            cores: Some(4),
            sockets: Some(2),
        };
        let (_directory, root) = topology(["core_cpus_list", "package_cpus_list"]);
        assert_eq!(counted(&root), expected);
        let (_directory, root) = topology(["thread_siblings_list", "core_siblings_list"]);
        assert_eq!(counted(&root), expected, "before Linux 5.3");
        fs::remove_file(root.path(&format!("{DIRECTORY}/cpu3/topology/thread_siblings_list")))
            .unwrap();
        let cores = None;
        assert_eq!(
            counted(&root),
            Counts { cores, ..expected },
            "not all known"
        );
        for (file, text) in [
            ("cpu2/topology/core_siblings_list", "4-2\n"),
            ("online", "none\n"),
        ] {
            let path = root.path(&format!("{DIRECTORY}/{file}"));
            fs::write(&path, text).unwrap();
            let mut left_out = LeftOut::default();
            let counts = count(&root, &mut left_out);
            assert_eq!((counts.cores, counts.sockets), (None, None));
            let [error] = left_out.named() else {
                panic!("{left_out:?}");
            };
            let expected = format!(
                "{}, line 1: expected a list of CPUs, as 0-3,8, found \"{}\"",
                path.display(),
                text.trim()
            );
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_running_machine_is_counted_as_others_count_it() {
        let counts = counted(&Root::default());
        let configured = std::thread::available_parallelism().unwrap().get() as u64;
        assert!(counts.cpus.unwrap() >= configured, "{counts:?}");
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap();
        let processors = cpuinfo.lines().filter(|line| line.starts_with("processor"));
        assert_eq!(counts.cpus, Some(processors.count() as u64));
        if let (Some(cores), Some(sockets)) = (counts.cores, counts.sockets) {
            assert!(sockets <= cores && Some(cores) <= counts.cpus, "{counts:?}");
        }
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in "[-0-9,: a\n]{0,40}") {
            let _ = parse_list(&text);
            let _ = model(&text);
        }
    }
}
