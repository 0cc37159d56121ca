//! The screen as HTML.

use rejoin_screen::{Screen, ScreenSize};

/// Returns the content of the `<pre>` element of a screen with this output.
fn html(output: &str) -> String {
    let mut screen = Screen::new(ScreenSize { cols: 20, rows: 2 }, 0);
    screen.feed(output.as_bytes());
    let html = screen.html();
    let (_, inner) = html.split_once('>').expect("the element has a start tag");
    inner.strip_suffix("</pre>").expect("the element has an end tag").to_owned()
}

#[test]
fn plain_text_is_unchanged_without_trailing_blanks() {
    assert_eq!(html("one  \r\n two"), "one\n two");
}

#[test]
fn html_characters_are_escaped() {
    assert_eq!(html("<b>&\"'"), "&lt;b&gt;&amp;&quot;&#39;\n");
}

#[test]
fn attributes_become_styles_and_equal_ones_share_a_span() {
    let bold = "<span style=\"color:#ef2929;font-weight:bold;\">ab</span>c\n";
    assert_eq!(html("\x1b[1;31mab\x1b[mc"), bold, "bold text has the bright colour");

    let inverse = "<span style=\"color:#000000;background:#ffffff;\"> x </span>\n";
    assert_eq!(html("\x1b[7m x "), inverse, "visible blanks are kept");

    let lines = "<span style=\"text-decoration:underline line-through wavy #010203;\">x</span>\n";
    assert_eq!(html("\x1b[4:3;9;58;2;1;2;3mx"), lines);
    assert_eq!(html("\x1b[8mx"), "<span style=\"color:#000000;\">x</span>\n");
    assert_eq!(html("\x1b[2mx"), "<span style=\"color:#7f7f7f;\">x</span>\n");
}

#[test]
fn a_wide_character_takes_two_columns() {
    assert_eq!(html("世"), "<span style=\"display:inline-block;width:2ch\">世</span>\n");
}

#[test]
fn only_http_and_https_links_become_links() {
    let link = |uri: &str| html(&format!("\x1b]8;;{uri}\x07x\x1b]8;;\x07"));
    let web = link("https://example.org/?a=1&b=\"><script>");

    assert!(
        web.contains("href=\"https://example.org/?a=1&amp;b=&quot;&gt;&lt;script&gt;\""),
        "{web}"
    );
    for uri in ["javascript:alert(1)", " https://example.org", "file:///etc/passwd", "data:,x"] {
        assert_eq!(link(uri), "x\n", "{uri}");
    }
}

#[test]
fn the_palette_of_the_program_is_used() {
    let screen = html("\x1b]4;1;#0a0b0c\x07\x1b[31mx");
    assert_eq!(screen, "<span style=\"color:#0a0b0c;\">x</span>\n");
}
