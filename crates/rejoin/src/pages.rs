//! The web pages, embedded in the binary.

use rejoin_gateway::Page;
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Pages;

/// Finds a file of the pages by its path without the leading slash.
pub(crate) fn find(path: &str) -> Option<Page> {
    let file = Pages::get(path)?;
    Some(Page { content: file.data, content_type: file.metadata.mimetype().to_owned() })
}
