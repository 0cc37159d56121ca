//! Cycles between the modules of a crate.
//!
//! Modules are compared with their siblings. A parent may use its children and a child its parent;
//! a use of `crate::a::b` from `crate::a::c::d` is an edge from `c` to `b` below `a`.
//! Names that a parent re-exports count as names of the module that defines them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::paths::{Paths, Reference};
use super::Finding;
use crate::packages::Package;
use crate::tree::{Tree, is_below};

mod paths;

/// The path of a module from the root of its crate; the root is empty.
type Module = Vec<String>;

/// The longest chain of re-exports that is followed.
const MAX_REEXPORTS: usize = 8;

/// A use of one sibling by another.
#[derive(Clone, Debug)]
struct Edge {
    path: String,
    line: usize,
    text: String,
}

/// The uses between the children of one module: user, used, first example.
type Siblings = BTreeMap<String, BTreeMap<String, Edge>>;

/// A shortest cycle among siblings.
struct Cycle {
    /// The number of siblings that reach each other.
    size: usize,
    /// The names of the modules, each with the edge to the next.
    steps: Vec<(String, Edge)>,
    parent: Module,
}

pub(super) fn check(packages: &[Package], tree: &Tree) -> Vec<Finding> {
    packages.iter().flat_map(|package| cycles(package, tree)).collect()
}

/// Returns a finding per cycle of a crate.
pub(super) fn cycles(package: &Package, tree: &Tree) -> Vec<Finding> {
    let graphs = graphs(package, tree);
    let cycles = graphs.iter().flat_map(|(parent, siblings)| cycles_among(parent, siblings));
    cycles.map(|cycle| cycle.finding()).collect()
}

impl Cycle {
    fn finding(&self) -> Finding {
        let mut names: Vec<&str> = self.steps.iter().map(|(name, _)| name.as_str()).collect();
        names.push(names[0]);
        let parent = self.parent.iter().fold("crate".to_owned(), |path, name| path + "::" + name);
        let edges = self.steps.iter().zip(&names[1..]).map(|((from, edge), to)| {
            let Edge { path, line, text } = edge;
            format!("\n    {from} uses {to}: `{text}` at {path}:{line}")
        });
        let (_, Edge { path, line, .. }) = &self.steps[0];

        Finding::new(
            path,
            *line,
            format!("a cycle among {} modules of `{parent}`: {}", self.size, names.join(" → ")),
            format!("shared items in a module below both{}", edges.collect::<String>()),
        )
    }
}

/// Returns the graph of each module with children, by the module.
fn graphs(package: &Package, tree: &Tree) -> BTreeMap<Module, Siblings> {
    let source = format!("{}/src", package.folder);
    let mut paths = Paths::default();
    for (path, text) in tree.texts().filter(|(path, _)| is_below(path, &source)) {
        let inside = &path[source.len()..];
        // `Tree` also lists files other than Rust. A file in `src/bin` is a crate of its own.
        if let Some(file) = inside.strip_suffix(".rs").filter(|_| !inside.starts_with("/bin/")) {
            paths.read(module_of(file), path, text);
        }
    }

    let mut graphs: BTreeMap<Module, Siblings> = BTreeMap::new();
    for reference in &paths.references {
        let from = &reference.module;
        if paths.tests.iter().any(|test| from.starts_with(test)) {
            continue;
        }
        let Some(to) = target(&paths, reference) else { continue };
        // The first differing names are siblings; deeper names do not matter.
        let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        // Without two names, one module is the other or an ancestor of it.
        let (Some(user), Some(used)) = (from.get(common), to.get(common)) else { continue };
        let siblings = graphs.entry(from[..common].to_vec()).or_default();
        let edges = siblings.entry(user.clone()).or_default();
        edges.entry(used.clone()).or_insert_with(|| Edge {
            path: reference.path.clone(),
            line: reference.line,
            text: reference.segments.join("::"),
        });
    }
    graphs
}

/// Returns the module of a file such as `/hub/registry`.
fn module_of(file: &str) -> Module {
    let parts = file.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
    let module: Module = parts.collect();
    if module == ["lib"] || module == ["main"] { Module::new() } else { module }
}

/// Returns the module that defines the item of a reference. `None` outside of the crate.
fn target(paths: &Paths, reference: &Reference) -> Option<Module> {
    let mut at = absolute(paths, &reference.module, &reference.segments)?;
    // Bounded: two modules may import a name from each other.
    for _ in 0..MAX_REEXPORTS {
        let known = |length: &usize| paths.modules.contains(&at[..*length]);
        let length = (0..=at.len()).rev().find(known)?;
        let imported = at.get(length).and_then(|name| {
            let import = paths.imports.get(&(at[..length].to_vec(), name.clone()))?;
            absolute(paths, &at[..length], import)
        });
        match imported {
            // Only re-exports of ancestors are followed. The user of a sibling's re-export depends
            // on that sibling.
            Some(import) if reference.module.starts_with(&at[..length]) => at = import,
            _ => return Some(at[..length].to_vec()),
        }
    }
    None
}

/// Resolves `crate`, `self`, `super` and the names of child modules.
fn absolute(paths: &Paths, module: &[String], segments: &[String]) -> Option<Module> {
    let (first, rest) = segments.split_first()?;
    let mut at = module.to_vec();
    match first.as_str() {
        "crate" => at.clear(),
        "self" => {}
        "super" => drop(at.pop()?),
        child => {
            at.push(child.to_owned());
            if !paths.modules.contains(&at) {
                return None;
            }
        }
    }
    for segment in rest {
        match segment.as_str() {
            "super" => drop(at.pop()?),
            name => at.push(name.to_owned()),
        }
    }
    Some(at)
}

/// Returns a shortest cycle for each set of siblings that reach each other.
fn cycles_among(parent: &Module, siblings: &Siblings) -> Vec<Cycle> {
    let mut covered = BTreeSet::new();
    let mut cycles = Vec::new();
    for start in siblings.keys() {
        if covered.contains(start.as_str()) {
            continue;
        }
        let Some(names) = shortest_cycle(siblings, start) else { continue };

        // One finding covers all modules that reach `start` and are reached from it. The number
        // of cycles among them grows exponentially, and breaking one often breaks others.
        let reached = reachable(siblings, start);
        let cycle: Vec<&str> = reached
            .into_iter()
            .filter(|name| reachable(siblings, name).contains(start.as_str()))
            .collect();
        covered.extend(cycle.iter().copied());
        let next = names.iter().cycle().skip(1);
        let steps = names
            .iter()
            .zip(next)
            .map(|(from, to)| ((*from).to_owned(), siblings[*from][*to].clone()));
        cycles.push(Cycle { size: cycle.len(), steps: steps.collect(), parent: parent.clone() });
    }
    cycles
}

fn used<'a>(siblings: &'a Siblings, name: &str) -> impl Iterator<Item = &'a str> {
    siblings.get(name).into_iter().flat_map(|edges| edges.keys().map(String::as_str))
}

fn reachable<'a>(siblings: &'a Siblings, start: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut queue: VecDeque<&str> = used(siblings, start).collect();
    while let Some(name) = queue.pop_front() {
        if reached.insert(name) {
            queue.extend(used(siblings, name));
        }
    }
    reached
}

/// Returns the modules of a shortest cycle through `start`, by a breadth-first search.
fn shortest_cycle<'a>(siblings: &'a Siblings, start: &'a str) -> Option<Vec<&'a str>> {
    let mut user_of: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(user) = queue.pop_front() {
        for name in used(siblings, user) {
            if name == start {
                // Follows the users back to `start`, which has none.
                let mut names = vec![user];
                while let Some(user) = user_of.get(names[names.len() - 1]) {
                    names.push(user);
                }
                names.reverse();
                return Some(names);
            }
            // In a breadth-first search, the first visit takes the shortest path.
            if !user_of.contains_key(name) {
                user_of.insert(name, user);
                queue.push_back(name);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let package =
            Package { name: "a".to_owned(), folder: "a".to_owned(), dependencies: Vec::new() };
        let files: Vec<(String, &str)> =
            files.iter().map(|(path, text)| (format!("a/src/{path}"), *text)).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, *text)).collect();
        cycles(&package, &Tree::of(&files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_cycle_is_printed_with_a_line_per_edge() {
        let found = found(&[
            ("lib.rs", "mod hub; mod session;"),
            ("hub.rs", "use crate::session::Session;"),
            ("session.rs", "struct Session;"),
            ("session/owner.rs", "\nfn f() { vec![crate::hub::remove()]; }"),
        ]);

        assert_eq!(found.len(), 1);
        for part in [
            "a/src/hub.rs:1: a cycle among 2 modules of `crate`: hub → session → hub;",
            "hub uses session: `crate::session::Session` at a/src/hub.rs:1",
            "session uses hub: `crate::hub::remove` at a/src/session/owner.rs:2",
        ] {
            assert!(found[0].contains(part), "{}", found[0]);
        }
    }

    #[test]
    fn siblings_below_a_module_form_cycles() {
        let found = found(&[
            ("lib.rs", "mod a;"),
            ("a.rs", "mod b; mod c; mod d;"),
            ("a/b.rs", "use super::c::C;"),
            ("a/c.rs", "use super::d::D;"),
            ("a/d.rs", "impl From<super::b::B> for D {}"),
        ]);

        assert_eq!(found.len(), 1);
        assert!(
            found[0].contains("a cycle among 3 modules of `crate::a`: b → c → d → b"),
            "{}",
            found[0]
        );
    }

    #[test]
    fn parents_and_children_may_use_each_other() {
        let files = [
            ("lib.rs", "mod a; pub use a::A;"),
            ("a.rs", "mod b; use self::b::B; struct A; struct Shared;"),
            ("a/b.rs", "use super::Shared; use crate::a::A;"),
        ];
        assert!(found(&files).is_empty());
    }

    #[test]
    fn reexports_do_not_hide_a_cycle() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::{C, B as Renamed};"),
            ("a.rs", "use crate::Renamed; struct A;"),
            ("b.rs", "use crate::A; struct B;"),
        ];
        assert_eq!(found(&files).len(), 1);
    }

    #[test]
    fn code_for_tests_is_no_edge() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; #[cfg(test)] mod tests;"),
            ("a/tests.rs", "use crate::b::B;"),
            ("b.rs", "#[cfg(test)] use crate::a::A; #[cfg(test)] mod tests { use crate::a::A; }"),
        ];
        assert!(found(&files).is_empty());
    }
}
