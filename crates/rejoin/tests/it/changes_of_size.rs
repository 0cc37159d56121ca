//! Viewers of a terminal whose size changes.

use std::time::Duration;

use rejoin_protocol::binary::{BinaryHeader, BinaryKind};
use rejoin_screen::{Screen, ScreenSize};
use serde_json::{Value, json};

use crate::support::{
    TestHome, TestServer,
    frame_client::{FrameClient, TestMessage},
    wait_until,
};

/// Time limit for the first output of the program.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The sizes to set, in columns and rows: narrower, wider, lower, taller, and both at once.
const SIZES: [(u16, u16); 12] = [
    (33, 24),
    (120, 24),
    (120, 9),
    (80, 40),
    (7, 5),
    (132, 43),
    (51, 12),
    (52, 13),
    (20, 30),
    (2, 1),
    (100, 30),
    (80, 24),
];

/// Prints text that wraps, then more after each change of size, which it states in its title.
const PROGRAM: &str = r#"
print() {
    printf '\033[3%dm\033[4mtext \346\227\245\346\234\254\350\252\236 that wraps %s\033[m\r\n' $1 "$2"
    printf '\033[44m\033[K more\033[m\t\303\251 end '
}
resized() {
    print 5 "after a change of size, with enough words for several rows"
    printf '\033]2;%s\007' "$(stty size)"
}
trap resized WINCH
for line in $(seq 100); do print 3 "line $line, which is above the screen later"; done
printf '\033]2;ready\007'
sleep 3600 &
while :; do wait; done
"#;

/// A client that draws a terminal, as a page does.
struct Viewer {
    client: FrameClient,
    screen: Screen,
}

impl Viewer {
    fn attach(server: &TestServer, session: &str) -> Self {
        let mut client = server.frame_client(server.admin_token(), "viewer");
        let attached = client.request("attach", json!({ "session": session, "role": "viewer" }));
        assert_eq!(attached["type"], "attached", "{attached}");
        Self { client, screen: Screen::new(ScreenSize { cols: 80, rows: 24 }, 1000) }
    }

    /// Draws what arrives up to the title that the program sets after a change to this size.
    fn draw_until_printed(&mut self, (cols, rows): (u16, u16)) {
        let title = format!("{rows} {cols}");
        while self.screen.title() != title {
            match self.client.next_message() {
                TestMessage::Text(message) => self.resize(&message["payload"]),
                TestMessage::Binary(message) => {
                    let (header, bytes) = BinaryHeader::read(&message).unwrap();
                    assert!(matches!(header.kind, BinaryKind::Output | BinaryKind::Snapshot));
                    self.screen.feed(bytes);
                }
            }
        }
    }

    fn resize(&mut self, payload: &Value) {
        let cells = |name: &str| payload[name].as_u64().and_then(|cells| cells.try_into().ok());
        if let (Some(cols), Some(rows)) = (cells("cols"), cells("rows")) {
            self.screen.resize(ScreenSize { cols, rows });
        }
    }
}

#[test]
fn viewers_that_stayed_and_returned_agree_after_each_resize() {
    let home = TestHome::new();
    let profile = format!("[profiles.text]\ncommand = [\"bash\", \"-c\", {PROGRAM:?}]\n");
    home.write("rejoin.toml", &profile);
    let server = home.start_server();
    let mut owner = server.frame_client(server.admin_token(), "owner");
    let create = json!({ "kind": "terminal", "profile": "text", "cols": 80, "rows": 24 });
    let created = owner.request("create_session", create);
    let session = created["payload"]["session"]["id"].as_str().expect("a session");

    let admin = server.admin_api();
    let path = format!("/sessions/{session}");
    wait_until(TIMEOUT, "the lines are printed", || admin.get(&path).1["title"] == "ready");

    // It lacks the lines above the screen, so it cannot rewrap as the server does.
    let mut stayed = Viewer::attach(&server, session);
    for size in SIZES {
        let resize = json!({ "cols": size.0, "rows": size.1 });
        assert_eq!(admin.post(&format!("{path}/resize"), &resize).0, 204);

        stayed.draw_until_printed(size);
        let mut returned = Viewer::attach(&server, session);
        returned.draw_until_printed(size);
        // The lines above the screen follow on request, so they are not compared.
        let [one, two] = [&stayed, &returned].map(|viewer| viewer.screen.snapshot(0));
        assert_eq!(String::from_utf8_lossy(&one), String::from_utf8_lossy(&two), "{size:?}");
        assert_eq!(stayed.screen.text(), returned.screen.text(), "{size:?}");
    }
}
