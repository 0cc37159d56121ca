//! Rules: rights by name or by prefix.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

/// Rights by name, or by prefix with `*` at its end. Written as a JSON object.
///
/// Each connection holds its token's rules, and they are few: a list is smaller than a map, and
/// rights in place smaller than a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules<R> {
    rules: Box<[Rule<R>]>,
}

/// A pattern and its rights.
type Rule<R> = (Box<str>, Rights<R>);

/// A set of rights. Of each kind there are three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rights<R>([Option<R>; 3]);

impl<R: Copy + PartialEq> Rights<R> {
    fn new(list: &[R]) -> Self {
        let mut rights = Self([None; 3]);
        for right in list {
            if !rights.contains(*right)
                && let Some(place) = rights.0.iter_mut().find(|place| place.is_none())
            {
                *place = Some(*right);
            }
        }
        rights
    }

    fn contains(&self, right: R) -> bool {
        self.0.contains(&Some(right))
    }
}

impl<R: Copy + PartialEq> Rules<R> {
    /// These rights, whatever the name.
    #[must_use]
    pub fn everything(rights: &[R]) -> Self {
        Self { rules: [("*".into(), Rights::new(rights))].into() }
    }

    /// Whether any rule that matches the name has the right.
    #[must_use]
    pub fn allow(&self, name: &str, right: R) -> bool {
        let matches = |pattern: &str| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        };
        self.rules.iter().any(|(pattern, rights)| matches(pattern) && rights.contains(right))
    }
}

impl<R> Default for Rules<R> {
    /// No rights.
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
