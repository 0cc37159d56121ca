//! Rights by name or by prefix.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

/// Rights by name, or by prefix followed by `*`. Serialized as a JSON object.
///
/// Each connection holds the rules of its token, and there are few: a list takes less memory than
/// a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules<R> {
    rules: Box<[Rule<R>]>,
}

/// A pattern and its rights.
type Rule<R> = (Box<str>, Rights<R>);

/// A set of rights, stored inline. Both kinds of rights have three values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rights<R>([Option<R>; 3]);

impl<R: Copy + PartialEq> Rights<R> {
    fn new(list: &[R]) -> Self {
        let mut rights = Self([None; 3]);
        for right in list {
            // A token may list a right twice. The array has room for each once.
            if !rights.contains(*right)
                && let Some(free) = rights.0.iter_mut().find(|slot| slot.is_none())
            {
                *free = Some(*right);
            }
        }

        rights
    }

    fn contains(&self, right: R) -> bool {
        self.0.contains(&Some(right))
    }
}

impl<R: Copy + PartialEq> Rules<R> {
    /// Grants `rights` for every name.
    #[must_use]
    pub fn everything(rights: &[R]) -> Self {
        Self { rules: [("*".into(), Rights::new(rights))].into() }
    }

    /// Returns `true` if a rule that matches `name` grants `right`.
    #[must_use]
    pub fn allow(&self, name: &str, right: R) -> bool {
        self.rules.iter().any(|(pattern, rights)| matches(pattern, name) && rights.contains(right))
    }
}

/// Returns `true` if `pattern` is `name`, or a prefix of it followed by `*`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

impl<R> Default for Rules<R> {
    /// Grants nothing.
    fn default() -> Self {
        Self { rules: Box::default() }
    }
}

impl<R: Serialize> Serialize for Rules<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rules = self.rules.iter().map(|(pattern, rights)| {
            let rights: Vec<_> = rights.0.iter().flatten().collect();
            (pattern, rights)
        });
        serializer.collect_map(rules)
    }
}

impl<'de, R: Deserialize<'de> + Copy + PartialEq> Deserialize<'de> for Rules<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<R>(PhantomData<R>);

        impl<'de, R: Deserialize<'de> + Copy + PartialEq> Visitor<'de> for Entries<R> {
            type Value = Rules<R>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names, or prefixes with `*`, and lists of rights")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rules<R>, A::Error> {
                // Repeated keys stay: their rights add up.
                let mut rules = Vec::new();
                while let Some((pattern, rights)) = map.next_entry::<Box<str>, Vec<R>>()? {
                    rules.push((pattern, Rights::new(&rights)));
                }
                Ok(Rules { rules: rules.into() })
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}
