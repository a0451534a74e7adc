//! Our boxes beside libsodium's: what one seals the other opens, byte for byte.

use metrics_agent::curve::keys::{KEY_BYTES, PublicKey, SecretKey};
use metrics_agent::curve::zmtp::boxes::{
    COUNTER_BYTES, Forged, PREFIX_BYTES, SharedKey, TAG_BYTES,
};

/// Lengths of texts: around the blocks of Poly1305 (16), of a key (32) and of Salsa20 (64, of
/// which the first 32 are the authenticator's), and one that is large.
const SIZES: [usize; 18] = [
    0,
    1,
    15,
    16,
    17,
    31,
    32,
    33,
    47,
    48,
    49,
    63,
    64,
    65,
    95,
    96,
    97,
    1024 * 1024,
];

/// libsodium, as libzmq calls it.
mod sodium {
    #![expect(
        unsafe_code,
        reason = "C functions; each gets as many bytes as its documentation asks for"
    )]

    use std::ffi::{c_int, c_ulonglong};

    /// NaCl's functions expect so many zeros before a text, and half as many before a box.
    const ZEROS: usize = 32;
    const BOX_ZEROS: usize = 16;

    #[link(name = "sodium")]
    unsafe extern "C" {
        fn crypto_scalarmult(q: *mut u8, n: *const u8, p: *const u8) -> c_int;
        fn crypto_scalarmult_base(q: *mut u8, n: *const u8) -> c_int;
        fn crypto_box_beforenm(k: *mut u8, pk: *const u8, sk: *const u8) -> c_int;
        fn crypto_box_afternm(
            c: *mut u8,
            m: *const u8,
            length: c_ulonglong,
            n: *const u8,
            k: *const u8,
        ) -> c_int;
        fn crypto_box_open_afternm(
            m: *mut u8,
            c: *const u8,
            length: c_ulonglong,
            n: *const u8,
            k: *const u8,
        ) -> c_int;
    }

    /// None for a point of low order.
    pub(super) fn scalarmult(secret: &[u8; 32], public: &[u8; 32]) -> Option<[u8; 32]> {
        let mut common = [0; 32];
        // SAFETY: three times 32 bytes.
        let status =
            unsafe { crypto_scalarmult(common.as_mut_ptr(), secret.as_ptr(), public.as_ptr()) };
        (status == 0).then_some(common)
    }

    pub(super) fn base(secret: &[u8; 32]) -> [u8; 32] {
        let mut public = [0; 32];
        // SAFETY: two times 32 bytes.
        let status = unsafe { crypto_scalarmult_base(public.as_mut_ptr(), secret.as_ptr()) };
        assert_eq!(status, 0);
        public
    }

    /// None for a point of low order.
    pub(super) fn beforenm(public: &[u8; 32], secret: &[u8; 32]) -> Option<[u8; 32]> {
        let mut key = [0; 32];
        // SAFETY: three times 32 bytes.
        let status =
            unsafe { crypto_box_beforenm(key.as_mut_ptr(), public.as_ptr(), secret.as_ptr()) };
        (status == 0).then_some(key)
    }

    /// The authenticator, and what was encrypted behind it.
    pub(super) fn seal(text: &[u8], nonce: &[u8; 24], key: &[u8; 32]) -> Vec<u8> {
        let padded = [&[0; ZEROS], text].concat();
        let mut sealed = vec![0; padded.len()];
        // SAFETY: both have that length, of 32 at least; 24 and 32 bytes.
        let status = unsafe {
            crypto_box_afternm(
                sealed.as_mut_ptr(),
                padded.as_ptr(),
                padded.len() as c_ulonglong,
                nonce.as_ptr(),
                key.as_ptr(),
            )
        };
        assert_eq!(status, 0);
        sealed.split_off(BOX_ZEROS)
    }

    pub(super) fn open(sealed: &[u8], nonce: &[u8; 24], key: &[u8; 32]) -> Option<Vec<u8>> {
        let padded = [&[0; BOX_ZEROS], sealed].concat();
        let mut text = vec![0; padded.len()];
        // SAFETY: both have that length, of 32 at least; 24 and 32 bytes.
        let status = unsafe {
            crypto_box_open_afternm(
                text.as_mut_ptr(),
                padded.as_ptr(),
                padded.len() as c_ulonglong,
                nonce.as_ptr(),
                key.as_ptr(),
            )
        };
        (status == 0).then(|| text.split_off(ZEROS))
    }
}

fn random<const N: usize>(rng: &mut fastrand::Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill(&mut bytes);
    bytes
}

/// Other numbers in each run, told if a check fails.
fn seeded() -> (u64, fastrand::Rng) {
    let seed = fastrand::u64(..);
    (seed, fastrand::Rng::with_seed(seed))
}

#[test]
fn boxes_are_libsodiums_byte_for_byte_both_ways() {
    let (seed, mut rng) = seeded();
    let mut sizes = SIZES.to_vec();
    sizes.extend((0..100).map(|_| rng.usize(..2000)));
    for size in sizes {
        let context = format!("seed {seed}, {size} bytes");
        let secrets = [(); 2].map(|()| random::<KEY_BYTES>(&mut rng));
        let publics = secrets.each_ref().map(sodium::base);
        let nonce = random::<{ PREFIX_BYTES + COUNTER_BYTES }>(&mut rng);
        let prefix = nonce.first_chunk::<PREFIX_BYTES>().unwrap();
        let counter = *nonce.last_chunk::<COUNTER_BYTES>().unwrap();
        let mut text = vec![0; size];
        rng.fill(&mut text);

        let ours = SecretKey::from_bytes(&secrets[0]);
        assert_eq!(ours.public().as_bytes(), &publics[0], "{context}");
        let key = SharedKey::agree(&ours, &PublicKey::from_bytes(publics[1]));
        let key = key.unwrap().begin(prefix);
        let theirs = sodium::beforenm(&publics[0], &secrets[1]).unwrap();

        // Ours to theirs.
        let mut sealed = text.clone();
        let tag = key.seal(counter, &mut sealed);
        let whole = [&tag[..], &sealed].concat();
        let expected = sodium::seal(&text, &nonce, &theirs);
        assert!(whole == expected, "{context}: it is sealed in another way");
        let opened = sodium::open(&whole, &nonce, &theirs);
        assert!(opened.as_ref() == Some(&text), "{context}");

        // Theirs to ours.
        let (tag, sealed) = expected.split_first_chunk::<TAG_BYTES>().unwrap();
        let mut opened = sealed.to_vec();
        key.open(counter, tag, &mut opened).unwrap();
        assert!(opened == text, "{context}");

        // And both refuse what was changed.
        let mut changed = expected.clone();
        let at = rng.usize(..changed.len());
        changed[at] ^= 1 << rng.u8(..8);
        let (tag, sealed) = changed.split_first_chunk::<TAG_BYTES>().unwrap();
        let refused = key.open(counter, tag, &mut sealed.to_vec());
        assert_eq!(refused, Err(Forged), "{context}, at {at}");
        assert_eq!(sodium::open(&changed, &nonce, &theirs), None);
    }
}

/// Whatever the 32 bytes of a public key are: on the curve or its twist, of any order, with any
/// highest bit.
#[test]
fn keys_agree_as_libsodiums_do() {
    let (seed, mut rng) = seeded();
    let mut publics: Vec<[u8; KEY_BYTES]> = (0..300).map(|_| random(&mut rng)).collect();
    // The smallest and the largest numbers, and those around 2^255 - 19.
    for low in 0..=u8::MAX {
        for rest in [0, 0xFF] {
            for high in [0, 0x7F, 0x80, 0xFF] {
                let mut public = [rest; KEY_BYTES];
                public[0] = low;
                public[KEY_BYTES - 1] = high;
                publics.push(public);
            }
        }
    }
    let mut refused = 0;
    for public in publics {
        let context = format!("seed {seed}, {public:02x?}");
        let secret = random(&mut rng);
        let ours = SharedKey::agree(
            &SecretKey::from_bytes(&secret),
            &PublicKey::from_bytes(public),
        );
        let theirs = sodium::beforenm(&public, &secret);
        assert_eq!(ours.is_none(), theirs.is_none(), "{context}");
        // The key before HSalsa20 can't be seen here; zero is the one that is refused.
        let is_zero = sodium::scalarmult(&secret, &public).is_none_or(|common| common == [0; 32]);
        assert_eq!(ours.is_none(), is_zero, "{context}");
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            refused += 1;
            continue;
        };
        let mut sealed = [0; 40];
        let tag = ours.begin(&[0; PREFIX_BYTES]).seal([0; 8], &mut sealed);
        let expected = sodium::seal(&[0; 40], &[0; 24], &theirs);
        assert_eq!([&tag[..], &sealed].concat(), expected, "{context}");
    }
    // 0, 1, and the three from 2^255 - 20, each with and without its highest bit.
    assert_eq!(refused, 10);
}
