//! Known answers: those of RFC 7748, NaCl's own, Project Wycheproof's.

use super::*;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    assert_eq!(hex.len(), 2 * N);
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    }
    bytes
}

fn secret(hex: &str) -> SecretKey {
    SecretKey::from_bytes(&bytes(hex))
}

fn public(hex: &str) -> PublicKey {
    PublicKey::from_bytes(bytes(hex))
}

/// X25519 of bytes as they are; None for zero.
fn x25519(secret: [u8; 32], public: [u8; 32]) -> Option<[u8; 32]> {
    let common = in_common(
        &SecretKey::from_bytes(&secret),
        &PublicKey::from_bytes(public),
    );
    common.map(|common| *common)
}

// The pairs of RFC 7748, section 6.1; NaCl's tests have the same.
const ALICE_SECRET: &str = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
const ALICE_PUBLIC: &str = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
const BOB_SECRET: &str = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
const BOB_PUBLIC: &str = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";

#[test]
fn x25519_gives_what_rfc_7748_has_in_section_5_2() {
    for (secret, public, common) in [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ] {
        assert_eq!(x25519(bytes(secret), bytes(public)), Some(bytes(common)));
    }
    // Each result is the next secret key, and the key before it the next public one.
    let (mut key, mut point) = ([0; 32], [0; 32]);
    key[0] = 9;
    point[0] = 9;
    for round in 1..=1000 {
        let next = x25519(key, point).unwrap();
        (key, point) = (next, key);
        if round == 1 {
            let expected = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079";
            assert_eq!(key, bytes(expected));
        }
    }
    let expected = "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51";
    assert_eq!(key, bytes(expected));
}

#[test]
fn two_pairs_agree_as_rfc_7748_has_it_in_section_6_1() {
    assert_eq!(secret(ALICE_SECRET).public(), public(ALICE_PUBLIC));
    assert_eq!(secret(BOB_SECRET).public(), public(BOB_PUBLIC));
    let common = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
    for (ours, theirs) in [(ALICE_SECRET, BOB_PUBLIC), (BOB_SECRET, ALICE_PUBLIC)] {
        let found = in_common(&secret(ours), &public(theirs));
        assert_eq!(found.as_deref(), Some(&bytes(common)));
    }
}

/// Those of tests/core1.c and tests/core2.c in the NaCl distribution.
#[test]
fn keys_are_derived_as_nacl_has_it() {
    let shared = SharedKey::agree(&secret(ALICE_SECRET), &public(BOB_PUBLIC)).unwrap();
    let first = "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389";
    assert_eq!(*shared.0, bytes(first));
    let key = shared.begin(&bytes("69696ee955b62b73cd62bda875fc73d6"));
    let second = "dc908dda0b9344a953629b733820778880f3ceb421bb61b91cbd4c3e66256ce4";
    assert_eq!(*key.0, bytes(second));
}

/// That of tests/box.c, box2.c, secretbox.c and secretbox2.c in the NaCl distribution.
#[test]
fn a_box_is_nacls() {
    const TEXT: &str = "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffc\
                        e5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb31\
                        0e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde\
                        048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f93776384864\
                        5e0705";
    const TAG: &str = "f3ffc7703f9400e52a7dfb4b3d3305d9";
    const SEALED: &str = "8e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a\
                          c0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738\
                          b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da\
                          99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74\
                          e355a5";
    let prefix = bytes("69696ee955b62b73cd62bda875fc73d6");
    let counter = bytes("8219e0036b7a0b37");
    let between = |ours, theirs| SharedKey::agree(&secret(ours), &public(theirs)).unwrap();

    let mut text = bytes::<131>(TEXT);
    let tag = between(ALICE_SECRET, BOB_PUBLIC)
        .begin(&prefix)
        .seal(counter, &mut text);
    assert_eq!((tag, text), (bytes(TAG), bytes(SEALED)));

    between(BOB_SECRET, ALICE_PUBLIC)
        .begin(&prefix)
        .open(counter, &tag, &mut text)
        .unwrap();
    assert_eq!(text, bytes(TEXT));

    // As a box with a key that needs no agreement.
    let first = "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389";
    let key = SharedKey::of(&bytes(first)).begin(&prefix);
    assert_eq!(key.seal(counter, &mut text), bytes(TAG));
    assert_eq!(text, bytes(SEALED));
}

#[test]
fn a_box_with_any_bit_changed_is_forged_and_stays_as_it_is() {
    let key = SharedKey::of(&[7; 32]).begin(b"CurveZMQMESSAGEC");
    let mut sealed = *b"some text";
    let tag = key.seal([1; 8], &mut sealed);
    let before = sealed;
    for bit in 0..8 * TAG_BYTES {
        let mut tag = tag;
        tag[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(key.open([1; 8], &tag, &mut sealed), Err(Forged));
        assert_eq!(sealed, before);
    }
    for bit in 0..8 * sealed.len() {
        let mut changed = before;
        changed[bit / 8] ^= 1 << (bit % 8);
        let left = changed;
        assert_eq!(key.open([1; 8], &tag, &mut changed), Err(Forged));
        assert_eq!(changed, left);
    }
    let others = [
        SharedKey::of(&[7; 32]).begin(b"CurveZMQMESSAGES"),
        SharedKey::of(&[8; 32]).begin(b"CurveZMQMESSAGEC"),
    ];
    for other in &others {
        assert_eq!(other.open([1; 8], &tag, &mut sealed), Err(Forged));
    }
    assert_eq!(key.open([2; 8], &tag, &mut sealed), Err(Forged));
    key.open([1; 8], &tag, &mut sealed).unwrap();
    assert_eq!(&sealed, b"some text");
}

#[test]
fn x25519_gives_what_wycheproof_has() {
    let mut count = 0;
    let lines = include_str!("wycheproof.txt").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let [number, secret, public, common] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let expected = Some(bytes(common)).filter(|common| *common != [0; 32]);
        assert_eq!(x25519(bytes(secret), bytes(public)), expected, "{number}");
        count += 1;
    }
    assert_eq!(count, 518);
}

/// The points whose order divides 8, of the curve and of its twist, in every way to write them
/// (<https://cr.yp.to/ecdh.html#validate>): 2^255 - 19 and the number above it are 0 and 1 again,
/// and the highest bit is not looked at. That page's last five numbers are of those who look at
/// it: here they are other points, of a high order.
pub(in crate::curve::zmtp) fn low_order_points() -> Vec<PublicKey> {
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let with_and_without_the_highest_bit = |point| {
        let low = bytes::<32>(point);
        let mut high = low;
        high[31] |= 0x80;
        [low, high].map(PublicKey::from_bytes)
    };
    points
        .into_iter()
        .flat_map(with_and_without_the_highest_bit)
        .collect()
}

#[test]
fn points_of_low_order_agree_with_nobody() {
    let secrets = [ALICE_SECRET, BOB_SECRET].map(secret);
    for point in low_order_points() {
        for secret in &secrets {
            assert!(SharedKey::agree(secret, &point).is_none(), "{point}");
        }
    }
    // 2(2^255 - 19) and what is one less or more, and 2^255 - 19 and more than the two numbers of
    // order 8.
    for (point, same) in [
        (
            "d9ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "d9ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ),
        (
            "daffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "daffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ),
        (
            "dbffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "dbffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ),
        (
            "cdeb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
            "cdeb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        ),
        (
            "4c9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
            "4c9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        ),
    ] {
        let found = x25519(bytes(ALICE_SECRET), bytes(point));
        assert!(found.is_some());
        assert_eq!(found, x25519(bytes(ALICE_SECRET), bytes(same)));
    }
}
