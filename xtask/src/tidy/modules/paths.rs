//! The modules of a crate, and the paths with which they name each other.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, Path, UseTree};

use super::Module;

/// The paths of a crate, except those of test code.
#[derive(Debug, Default)]
pub(super) struct Paths {
    pub(super) modules: BTreeSet<Module>,
    /// The modules behind `#[cfg(test)]`, whose files do not show it.
    pub(super) tests: Vec<Module>,
    pub(super) references: Vec<Reference>,
    /// The segments of each imported name, by the importing module and the name.
    pub(super) imports: BTreeMap<(Module, String), Vec<String>>,
}

/// A path that starts with `crate`, `self` or `super`, or is imported.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) module: Module,
    pub(super) segments: Vec<String>,
    pub(super) path: String,
    pub(super) line: usize,
}

impl Paths {
    /// Adds a file. A file that does not parse adds a module without paths.
    pub(super) fn read(&mut self, module: Module, path: &str, text: &str) {
        self.modules.insert(module.clone());
        if let Ok(file) = syn::parse_file(text) {
            Reader { paths: self, module, path }.visit_file(&file);
        }
    }
}

struct Reader<'a> {
    paths: &'a mut Paths,
    module: Module,
    path: &'a str,
}

impl Reader<'_> {
    fn refer(&mut self, segments: Vec<String>, line: usize) {
        let (module, path) = (self.module.clone(), self.path.to_owned());
        self.paths.references.push(Reference { module, segments, path, line });
    }

    /// Records each name of a `use`, with the segments `before` it.
    fn import(&mut self, tree: &UseTree, before: &[String], line: usize) {
        let (name, last) = match tree {
            UseTree::Path(path) => {
                let segments = [before, &[path.ident.to_string()]].concat();
                return self.import(&path.tree, &segments, path.ident.span().start().line);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, before, line));
            }
            // Names behind a glob are unknown here; the module is still used.
            UseTree::Glob(_) => return self.refer(before.to_vec(), line),
            UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
            UseTree::Rename(rename) => (rename.rename.to_string(), rename.ident.to_string()),
        };

        let mut segments = before.to_vec();
        if last != "self" {
            segments.push(last);
        }
        // `use a::{self}` imports `a`.
        let name = if name == "self" { before.last().cloned().unwrap_or(name) } else { name };
        self.paths.imports.insert((self.module.clone(), name), segments.clone());
        self.refer(segments, line);
    }

    /// Records the paths in the arguments of a macro, which are not parsed.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut index = 0;
        while let Some(token) = tokens.get(index) {
            index += 1;
            match token {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(ident) if is_anchor(&ident.to_string()) => {
                    let mut segments = vec![ident.to_string()];
                    while let [TokenTree::Punct(a), TokenTree::Punct(b), TokenTree::Ident(name), ..] =
                        &tokens[index..]
                        && a.as_char() == ':'
                        && b.as_char() == ':'
                    {
                        segments.push(name.to_string());
                        index += 3;
                    }
                    self.refer(segments, ident.span().start().line);
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes(item).iter().any(is_for_tests) {
            visit::visit_item(self, item);
        } else if let Item::Mod(ItemMod { ident, .. }) = item {
            self.paths.tests.push([&self.module[..], &[ident.to_string()]].concat());
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let is_test = matches!(item, ImplItem::Fn(f) if f.attrs.iter().any(is_for_tests));
        if !is_test {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        self.paths.modules.insert(self.module.clone());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        // Not `visit_path`: a `use` tree holds names, not paths.
        self.import(&item.tree, &[], item.use_token.span.start().line);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        // Other paths start with an imported name, whose import is a reference already, or with a
        // child, which its parent may use.
        if segments.len() > 1 && is_anchor(&segments[0]) {
            self.refer(segments, path.segments[0].ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast Macro) {
        self.visit_path(&mac.path);
        // Macros of the standard library take expressions; others may take anything.
        self.scan(mac.tokens.clone());
    }
}

fn is_anchor(segment: &str) -> bool {
    ["crate", "self", "super"].contains(&segment)
}

/// Returns whether an attribute is `#[cfg(test)]`.
fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<Path>().is_ok_and(|condition| condition.is_ident("test"))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
