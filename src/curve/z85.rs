//! Z85 for 32-byte keys, strict: [ZeroMQ RFC 32](https://rfc.zeromq.org/spec/32/).
//!
//! libzmq's own decoder silently accepts characters outside its alphabet and
//! groups that overflow, so that a mistyped key would become another key
//! rather than an error.

use super::keys::{KEY_BYTES, KEY_CHARS, KeyError};

const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// Four bytes become five characters: a 32-bit number, written in base 85.
const GROUP_BYTES: usize = 4;
const GROUP_CHARS: usize = 5;

pub(super) fn encode(key: &[u8; KEY_BYTES]) -> [u8; KEY_CHARS] {
    let mut text = [0; KEY_CHARS];
    let groups = key.as_chunks::<GROUP_BYTES>().0.iter();
    for (group, chars) in groups.zip(text.as_chunks_mut::<GROUP_CHARS>().0) {
        let mut value = u32::from_be_bytes(*group);
        for char in chars.iter_mut().rev() {
            // A remainder of 85 always has a place in the alphabet.
            *char = ALPHABET.get((value % 85) as usize).copied().unwrap_or(b'0');
            value /= 85;
        }
    }
    text
}

pub(super) fn decode(text: &str) -> Result<[u8; KEY_BYTES], KeyError> {
    let found = text.chars().count();
    if found != KEY_CHARS {
        return Err(KeyError::Length { found });
    }
    let mut digits = [0_u8; KEY_CHARS];
    for (index, (char, digit)) in text.chars().zip(&mut digits).enumerate() {
        *digit = value_of(char).ok_or(KeyError::Character {
            found: char,
            position: index + 1,
        })?;
    }
    let mut key = [0; KEY_BYTES];
    let groups = digits.as_chunks::<GROUP_CHARS>().0.iter().enumerate();
    for ((index, group), bytes) in groups.zip(key.as_chunks_mut::<GROUP_BYTES>().0) {
        let value = group.iter().fold(0, |sum, &d| sum * 85 + u64::from(d));
        *bytes = u32::try_from(value)
            .map_err(|_| KeyError::Overflow {
                position: index * GROUP_CHARS + 1,
            })?
            .to_be_bytes();
    }
    digits.fill(0);
    Ok(key)
}

fn value_of(char: char) -> Option<u8> {
    let byte = u8::try_from(char).ok()?;
    let place = ALPHABET.iter().position(|&a| a == byte)?;
    u8::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test case of RFC 32, four times over (a key is 32 bytes).
    #[test]
    fn agrees_with_the_rfc() {
        let bytes = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B];
        let mut key = [0; KEY_BYTES];
        for chunk in key.chunks_exact_mut(8) {
            chunk.copy_from_slice(&bytes);
        }
        let text = "HelloWorld".repeat(4);
        assert_eq!(encode(&key), text.as_bytes());
        assert_eq!(decode(&text), Ok(key));
    }

    #[test]
    fn the_ends_of_the_range() {
        assert_eq!(decode(&"0".repeat(40)), Ok([0; KEY_BYTES]));
        assert_eq!(decode(&"%nSc0".repeat(8)), Ok([0xFF; KEY_BYTES]));
        assert_eq!(encode(&[0xFF; KEY_BYTES]), "%nSc0".repeat(8).as_bytes());
    }

    #[test]
    fn names_what_is_wrong_and_where() {
        assert_eq!(decode(""), Err(KeyError::Length { found: 0 }));
        assert_eq!(decode(&"0".repeat(41)), Err(KeyError::Length { found: 41 }));
        let mut text = "0".repeat(40);
        text.replace_range(6..7, "~");
        let wrong = KeyError::Character {
            found: '~',
            position: 7,
        };
        assert_eq!(decode(&text), Err(wrong));
        // Not confused by a character of several bytes.
        let text = "0".repeat(39) + "é";
        let wrong = KeyError::Character {
            found: 'é',
            position: 40,
        };
        assert_eq!(decode(&text), Err(wrong));
        // One above the highest value of a group.
        let text = "0".repeat(35) + "%nSc1";
        assert_eq!(decode(&text), Err(KeyError::Overflow { position: 36 }));
    }
}
