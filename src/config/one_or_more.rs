//! A setting that takes one text or a list of them: `"a"` is the same as `["a"]`. Refuses an empty
//! list, one that is too long, and the same value twice.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

/// 1 to `MAX` different values, in the order in which they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OneOrMore<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> OneOrMore<T, MAX> {
    /// The values; never none.
    pub(crate) fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Deref for OneOrMore<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T, const MAX: usize> Deserialize<'de> for OneOrMore<T, MAX>
where
    T: TryFrom<String, Error: fmt::Display> + PartialEq,
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Values::<T, MAX>(PhantomData))
    }
}

struct Values<T, const MAX: usize>(PhantomData<T>);

impl<'de, T, const MAX: usize> Visitor<'de> for Values<T, MAX>
where
    T: TryFrom<String, Error: fmt::Display> + PartialEq,
{
    type Value = OneOrMore<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let value = T::try_from(text.to_owned()).map_err(E::custom)?;
        Ok(OneOrMore(vec![value]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        // A message counts the entries and quotes none: one may be a secret by mistake.
        while let Some(text) = list.next_element::<String>()? {
            let at = values.len() + 1;
            if at > MAX {
                return Err(A::Error::custom(format!("it has more than {MAX} entries")));
            }
            let value = T::try_from(text);
            let value = value.map_err(|error| A::Error::custom(format!("entry {at}: {error}")))?;
            if let Some(same) = values.iter().position(|other| *other == value) {
                let same = same + 1;
                return Err(A::Error::custom(format!(
                    "entry {at} is the same as entry {same}"
                )));
            }
            values.push(value);
        }
        if values.is_empty() {
            return Err(A::Error::custom("the list is empty"));
        }
        Ok(OneOrMore(values))
    }
}

#[cfg(test)]
mod tests {
    use figment::value::Value;

    use super::*;
    use crate::config::table::check;

    /// A word of letters.
    #[derive(Debug, PartialEq)]
    struct Word(String);

    impl TryFrom<String> for Word {
        type Error = String;

        fn try_from(text: String) -> Result<Self, String> {
            if text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return Ok(Self(text.to_lowercase()));
            }
            Err("it is no word".to_owned())
        }
    }

    type Words = OneOrMore<Word, 3>;

    fn words(value: &Value) -> Vec<String> {
        let words: Words = value.deserialize().unwrap();
        let words = words.into_vec().into_iter();
        words.map(|Word(word)| word).collect()
    }

    #[test]
    fn one_is_a_list_of_one() {
        assert_eq!(words(&Value::from("a")), ["a"]);
        assert_eq!(words(&Value::from(vec!["a"])), ["a"]);
        assert_eq!(words(&Value::from(vec!["c", "a", "b"])), ["c", "a", "b"]);
    }

    #[test]
    fn what_is_wrong_is_counted_and_not_quoted() {
        let none: [&str; 0] = [];
        for (value, expected) in [
            (Value::from("4"), Some("it is no word")),
            (Value::from(vec!["a", "4"]), Some("entry 2: it is no word")),
            (
                Value::from(vec!["a", "b", "A"]),
                Some("entry 3 is the same as entry 1"),
            ),
            (
                Value::from(vec!["a", "b", "c", "d"]),
                Some("it has more than 3 entries"),
            ),
            (Value::from(none.to_vec()), Some("the list is empty")),
            // Of the wrong type: the table says what belongs there.
            (Value::from(4), None),
            (Value::from(vec![4]), None),
            (Value::from(true), None),
        ] {
            let found = check::<Words>(&value).unwrap_err();
            assert_eq!(found.as_deref(), expected, "{value:?}");
        }
    }
}
