//! The web pages, embedded in the binary.

use std::fmt::Write;

use rejoin_gateway::Page;
use rust_embed::RustEmbed;

/// The files that `cargo xtask web` builds. A build without them serves no pages.
#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Pages;

/// Returns a file of the pages by its path without the leading slash.
pub(crate) fn find(path: &str) -> Option<Page> {
    let file = Pages::get(path)?;
    let tag = file.metadata.sha256_hash().iter().fold(String::new(), |mut tag, byte| {
        write!(tag, "{byte:02x}").expect("a write to a string never fails");
        tag
    });

    Some(Page { content: file.data, content_type: file.metadata.mimetype().to_owned(), tag })
}
