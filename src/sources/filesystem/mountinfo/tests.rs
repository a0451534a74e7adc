use glob::Pattern;
use procfs_core::{FromRead, process::MountInfos};
use proptest::prelude::*;

use super::*;
use crate::sources::{
    options::{Filter, Options},
    testing,
    text::EXPECTED_END,
};

const KERNELS: [&str; 3] = ["6.1-qemu", "6.12-qemu", "6.18-firecracker"];

fn captured(kernel: &str) -> Vec<u8> {
    std::fs::read(testing::captured(kernel).path("/proc/self/mountinfo")).unwrap()
}

fn all() -> FilesystemOptions {
    FilesystemOptions {
        mounts: Filter::default(),
        exclude_types: Vec::new(),
    }
}

/// The mounts of a text in which every line makes sense.
fn whole(text: &[u8]) -> Vec<Mount<'_>> {
    let mut odd = Odd::default();
    let mounts = parse(text, &mut odd).unwrap();
    assert_eq!(odd, Odd::default());
    mounts
}

/// The names that are chosen, and the ids of their mounts.
fn chosen(text: &[u8], options: &FilesystemOptions) -> Vec<(String, u64)> {
    let mounts = whole(text);
    let (chosen, cut) = choose(&mounts, options, &mut Vec::new());
    assert_eq!(cut, 0);
    let pairs = chosen.into_iter().map(|one| (one.name, one.mount.id));
    pairs.collect()
}

fn by_default(text: &[u8]) -> Vec<(String, u64)> {
    chosen(text, &Options::default().filesystem)
}

fn named(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs
        .iter()
        .map(|(name, id)| ((*name).to_owned(), *id))
        .collect()
}

#[test]
fn every_captured_line_is_what_procfs_reads_there() {
    for kernel in KERNELS {
        let text = captured(kernel);
        let theirs = MountInfos::from_read(&text[..]).unwrap().0;
        let ours = whole(&text);
        assert_eq!(ours.len(), theirs.len());
        assert!(ours.len() > 30, "{kernel}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.id, u64::try_from(theirs.mnt_id).unwrap());
            assert_eq!(ours.parent, u64::try_from(theirs.pid).unwrap());
            let device = format!("{}:{}", ours.device.0, ours.device.1);
            assert_eq!(device, theirs.majmin);
            assert_eq!(ours.root, theirs.root.as_bytes());
            assert_eq!(ours.kind, theirs.fs_type.as_bytes());
            assert_eq!(ours.readonly, theirs.super_options.contains_key("ro"));
        }
    }
}

#[test]
fn the_mounts_of_the_captured_machines() {
    assert_eq!(
        by_default(&captured("6.1-qemu")),
        named(&[
            ("/", 27),
            ("/home", 157),
            ("/mnt/back\\slash", 172),
            ("/mnt/image", 162),
            ("/mnt/tab\\there", 167),
            ("/mnt/twice", 182),
            ("/run", 26),
            ("/run/lock", 30),
            ("/run/user/0", 218),
            ("/run/user/1000", 242),
            ("/srv/data disk", 211),
        ])
    );
    // A directory of the host represents its file system. 603 is below 599, which covers it.
    assert_eq!(
        by_default(&captured("6.18-firecracker")),
        named(&[
            ("/", 592),
            ("/run", 598),
            ("/run/host/incoming", 601),
            ("/run/lock", 483),
            ("/run/user/0", 558),
            ("/run/user/1000", 706),
            ("/tmp", 593),
        ])
    );
}

#[test]
fn read_only_is_the_file_system_and_not_the_mount() {
    let text = captured("6.12-qemu");
    let mounts = whole(&text);
    let readonly = |id| mounts.iter().find(|mount| mount.id == id).unwrap().readonly;
    assert!(
        !readonly(108),
        "mounted read-only, and writable at /srv/data disk"
    );
    assert!(
        readonly(60) && readonly(105),
        "an image, an overlay without an upper layer"
    );
    assert!(!readonly(29));
}

#[test]
fn fields_of_one_line() {
    let line = b"36 35 98:0 /mnt1 /mnt\\0402\\134\\x rw,noatime master:1 shared:2 - ext3 a/b rw,errors=continue\n";
    assert_eq!(
        whole(line),
        [Mount {
            id: 36,
            parent: 35,
            device: (98, 0),
            root: b"/mnt1",
            point: b"/mnt 2\\\\x".to_vec(),
            kind: b"ext3",
            readonly: false,
            of_host: true,
            on_file: false,
        }]
    );
    let odd = b"1 1 0:2 / / rw - tmpfs  ro,source is empty, and this has blanks\n";
    assert!(whole(odd)[0].readonly);
    assert_eq!(whole(b""), []);
}

#[test]
fn lines_that_are_none_are_named() {
    const GOOD: &str = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n";
    for bad in [
        "",
        "27",
        "x 1 254:0 / / rw - ext4 /dev/vda rw",
        "27 1 254 / / rw - ext4 /dev/vda rw",
        "27 1 254:0x / / rw - ext4 /dev/vda rw",
        "27 1 254:0 /  rw - ext4 /dev/vda rw",
        "27 1 254:0 / / rw ext4 /dev/vda rw",
        "27 1 254:0 / / rw - ext4 /dev/vda",
        "27 1 254:0 / / rw - ext4 /dev/vda discard,rw",
    ] {
        let mut odd = Odd::default();
        let text = format!("{GOOD}{bad}\n{GOOD}");
        let mounts = parse(text.as_bytes(), &mut odd).unwrap();
        assert_eq!(mounts, whole(GOOD.repeat(2).as_bytes()), "{bad}");
        let named: Vec<_> = odd
            .named()
            .iter()
            .map(|one| (one.line, one.expected))
            .collect();
        assert_eq!(named, [(2, EXPECTED_LINE)], "{bad}");
        let alone = parse(format!("{bad}\n").as_bytes(), &mut Odd::default()).unwrap_err();
        assert_eq!((alone.line, alone.expected), (1, EXPECTED_LINE), "{bad}");
    }
    let cut = parse(&GOOD.as_bytes()[..40], &mut Odd::default()).unwrap_err();
    assert_eq!((cut.line, cut.expected), (1, EXPECTED_END));
}

#[test]
fn a_line_that_is_none_costs_its_mount_and_not_those_on_it() {
    let lines = [
        "1 0 8:1 / / rw - ext4 x rw",
        "2 1 8:2 / /srv rw - ext4 x rw",
        "3 2 8:3 / /srv/data rw - ext4 x rw",
        "4 3 8:4 / /srv/data/deep rw - ext4 x rw",
    ];
    for odd in 0..lines.len() {
        let mut text = String::new();
        let mut expected = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            let line = if at == odd { &line[2..] } else { line };
            text.extend([line, "\n"]);
            let names = ["/", "/srv", "/srv/data", "/srv/data/deep"];
            expected.extend((at != odd).then(|| names[at].to_owned()));
        }
        let mounts = parse(text.as_bytes(), &mut Odd::default()).unwrap();
        let (chosen, _) = choose(&mounts, &all(), &mut Vec::new());
        let mut names: Vec<_> = chosen.into_iter().map(|one| one.name).collect();
        names.sort();
        assert_eq!(names, expected);
    }
}

#[test]
fn only_a_part_of_a_file_system_may_be_on_a_file_and_none_that_may_hang_is_asked() {
    let text = "1 0 0:90 / / rw - overlay o rw\n2 1 8:1 /a/hosts /etc/hosts rw - ext4 x rw\n\
        3 1 8:1 /data /data rw - ext4 x rw\n4 1 0:50 / /net rw - nfs4 s:/x rw\n\
        5 4 8:1 /a/hosts /net/hosts rw - ext4 x rw\n6 1 8:2 / /whole rw - ext4 y rw\n\
        7 1 0:51 /f /fuse rw - fuse.sshfs s rw\n";
    let mut mounts = whole(text.as_bytes());
    let asked = std::cell::RefCell::new(Vec::new());
    mark_files(&mut mounts, |point| {
        asked
            .borrow_mut()
            .push(String::from_utf8(point.to_vec()).unwrap());
        point == b"/etc/hosts"
    });
    assert_eq!(*asked.borrow(), ["/etc/hosts", "/data"]);
    let files: Vec<_> = mounts
        .iter()
        .filter(|mount| mount.on_file)
        .map(|mount| mount.id)
        .collect();
    assert_eq!(files, [2]);
    let (chosen, _) = choose(&mounts, &Options::default().filesystem, &mut Vec::new());
    let names: Vec<_> = chosen.iter().map(|one| &*one.name).collect();
    assert!(
        names.contains(&"/data") && !names.contains(&"/etc/hosts"),
        "{names:?}"
    );
}

#[test]
fn octal_digits_are_one_byte_and_nothing_else_is() {
    for (written, plain) in [
        (&b"\\040"[..], &b" "[..]),
        (b"a\\011b\\012", b"a\tb\n"),
        (b"\\134040", b"\\040"),
        (b"\\377", b"\xff"),
        (b"\\400", b"\\400"),
        (b"\\04", b"\\04"),
        (b"\\", b"\\"),
        (b"\\089", b"\\089"),
    ] {
        assert_eq!(unescaped(written), plain);
    }
}

/// ID, parent, minor, root, point.
fn table(rows: &[(u64, u64, u64, &str, &str)]) -> Vec<u8> {
    let line = |(id, parent, minor, root, point): &(u64, u64, u64, &str, &str)| {
        format!("{id} {parent} 8:{minor} {root} {point} rw - ext4 /dev/x rw\n")
    };
    rows.iter().map(line).collect::<String>().into_bytes()
}

#[test]
fn of_several_mounts_of_a_device_the_plainest_is_taken() {
    let text = table(&[
        (1, 0, 1, "/@", "/"),
        (2, 1, 1, "/", "/all"),
        (3, 1, 2, "/sub", "/a"),
        (4, 1, 2, "/", "/long/path"),
        (5, 1, 2, "/", "/longer/path"),
        (6, 1, 3, "/x", "/bb"),
        (7, 1, 3, "/y", "/ba"),
    ]);
    assert_eq!(
        chosen(&text, &all()),
        named(&[("/", 1), ("/bb", 6), ("/long/path", 4)])
    );
    // If one is excluded, another represents the file system.
    let mut options = all();
    options.mounts.exclude = vec![Pattern::new("/bb").unwrap(), Pattern::new("/").unwrap()];
    assert_eq!(
        chosen(&text, &options),
        named(&[("/all", 2), ("/ba", 7), ("/long/path", 4)])
    );
}

#[test]
fn a_mount_that_another_covers_is_not_what_its_path_leads_to() {
    let text = table(&[
        (1, 0, 1, "/", "/"),
        (10, 1, 2, "/", "/mnt/a"),
        (11, 10, 3, "/", "/mnt/a/b"),
        // On top of 10: a lookup of /mnt/a/b finds a directory of this one.
        (12, 10, 4, "/", "/mnt/a"),
        (13, 1, 5, "/", "/mnt/ab"),
        // Beneath 14, at the place that the path meets only after it: 15 was there first.
        (14, 1, 6, "/", "/run/host"),
        (15, 1, 7, "/", "/run/host/file"),
        (16, 14, 8, "/", "/run/host/file"),
    ]);
    assert_eq!(
        chosen(&text, &all()),
        named(&[
            ("/", 1),
            ("/mnt/a", 12),
            ("/mnt/ab", 13),
            ("/run/host", 14),
            ("/run/host/file", 16)
        ])
    );
    let mounts = whole(&text);
    let (chosen, _) = choose(&mounts, &all(), &mut Vec::new());
    let through: Vec<_> = chosen.iter().map(|one| one.through.clone()).collect();
    assert_eq!(through, [vec![], vec![10], vec![], vec![], vec![14]]);
}

#[test]
fn within_a_directory_for_a_root_mounts_are_found_without_one_at_the_root() {
    let text = table(&[(20, 7, 1, "/", "/data"), (21, 20, 2, "/", "/data/x")]);
    assert_eq!(
        chosen(&text, &all()),
        named(&[("/data", 20), ("/data/x", 21)])
    );
}

#[test]
fn what_is_mounted_by_being_looked_at_never_is() {
    let text = b"1 0 8:1 / / rw - ext4 a rw\n2 1 0:9 / /net rw - autofs auto rw\n";
    assert_eq!(chosen(text, &all()), named(&[("/", 1)]));
}

#[test]
fn what_is_on_the_network_is_asked_last() {
    let text = b"1 0 8:1 / / rw - ext4 a rw\n2 1 0:9 / /a rw - nfs4 h:/ rw\n\
        3 1 0:10 / /b rw - tmpfs tmpfs rw\n4 1 0:11 / /c rw - fuse.sshfs h: rw\n\
        5 1 8:2 / /d rw - xfs d rw\n";
    let names = chosen(text, &all()).into_iter().map(|(name, _)| name);
    assert_eq!(names.collect::<Vec<_>>(), ["/", "/b", "/d", "/a", "/c"]);
}

#[test]
fn names_are_printable_and_no_two_are_alike() {
    for (path, name) in [
        (&b"/srv/data disk"[..], "/srv/data disk"),
        (b"/gr\xc3\xbcn", "/gr\u{fc}n"),
        (b"/a\nb\x1b", "/a\\nb\\u{1b}"),
        (b"/\xff\xfe/x", "/\\xff\\xfe/x"),
    ] {
        assert_eq!(text::bytes(path), name);
    }
    let text = b"1 0 8:1 / /a\\012 rw - ext4 a rw\n2 0 8:2 / /a\\134n rw - ext4 a rw\n";
    let mounts = whole(text);
    let mut twins = Vec::new();
    let (chosen, cut) = choose(&mounts, &all(), &mut twins);
    assert_eq!((chosen.len(), cut, twins.len()), (1, 0, 1));
    assert_eq!(twins[0].point, b"/a\\n");
    assert_eq!(chosen[0].name, "/a\\n");
}

#[test]
fn the_number_of_file_systems_is_bounded() {
    let rows =
        (0..MAX_MOUNTS as u64 + 7).map(|n| format!("{n} 9999 8:{n} / /m{n:04} rw - x x rw\n"));
    let text: String = rows.collect();
    let mounts = whole(text.as_bytes());
    let (chosen, cut) = choose(&mounts, &all(), &mut Vec::new());
    assert_eq!((chosen.len(), cut), (MAX_MOUNTS, 7));
    assert_eq!(chosen.last().unwrap().name, "/m0499");
}

/// Lines that may be anything about ids, parents and paths.
fn any_line() -> impl Strategy<Value = String> {
    let path = "(/[ab]){0,3}";
    (0_u64..6, 0_u64..6, 0_u64..4, path).prop_map(|(id, parent, minor, point)| {
        let point = if point.is_empty() { "/" } else { &point };
        format!("{id} {parent} 8:{minor} / {point} rw - ext4 x rw\n")
    })
}

proptest! {
    #[test]
    fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = parse(&text, &mut Odd::default());
        let _ = text::bytes(&unescaped(&text));
    }

    #[test]
    fn random_trees_never_panic_and_names_stay_unique(
        lines in proptest::collection::vec(any_line(), 0..12)
    ) {
        let text = lines.concat();
        let mounts = whole(text.as_bytes());
        let (chosen, _) = choose(&mounts, &all(), &mut Vec::new());
        let names: BTreeSet<_> = chosen.iter().map(|one| &one.name).collect();
        prop_assert_eq!(names.len(), chosen.len());
    }
}
