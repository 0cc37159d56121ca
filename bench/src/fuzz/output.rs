//! The program in a fuzzed terminal: endless output from a seed.

use std::io::Write as _;

use fastrand::Rng;

/// The approximate bytes of one write.
const PIECE_BYTES: usize = 8 * 1024;

/// Control sequences, without their introducer, that cost or retain the most for their length.
const SEQUENCES: &[&str] = &[
    "65535b", "?1049h", "?1049l", "?47h", "?47l", "2J", "J", "?J", "3J", "65535S", "65535T",
    "65535L", "65535M", "H\x1b[L", " @", " A", "'}", "'~", "65535@", "65535P", "65535X", "65535I",
    "65535Z", "!p", "4h", "4l", "?7l", "?7h", "?6h", "?6l", "1\"q", "22;2t", "23;2t", "c", "44m",
    "m", "3g\t\t",
];
/// Other expensive output.
const OTHER: &[&str] = &[
    "\x1b#8", "\x1bH", "\x1bM", "\x1bc", "\x1b7", "\x1b8", "\x1b(0q", "\r\n", "\n", "日", "🦀",
    "x", "\u{301}",
];
const LONG: &[&str] = &[
    "\x1b[?1049h\x1b[?1049l",
    "\x1b]4;1;?\x07",
    "\x1b[999;999H",
    "e\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}",
];

/// Prints until the terminal is closed.
pub(crate) fn print(seed: u64) -> anyhow::Result<()> {
    let mut random = Rng::with_seed(seed);
    let mut output = std::io::stdout().lock();
    loop {
        output.write_all(&piece(&mut random))?;
        output.flush()?;
    }
}

/// Returns the next piece of output.
fn piece(random: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < PIECE_BYTES {
        match random.u8(..12) {
            0 => (0..random.u8(..64)).for_each(|_| out.push(random.u8(..))),
            1 => control_sequence(random, &mut out),
            2 => string_sequence(random, &mut out),
            3 => true_colours(random, &mut out),
            4 => text(random, &mut out),
            5 => combining(random, &mut out),
            // Half of all pieces repeat: quadratic work shows in repetitions.
            _ => repeated(random, &mut out),
        }
    }
    out
}

fn choose<'a>(random: &mut Rng, texts: &[&'a str]) -> &'a str {
    texts[random.usize(..texts.len())]
}

/// Repeats one expensive sequence, or two in turn.
fn repeated(random: &mut Rng, out: &mut Vec<u8>) {
    let pair = [(); 2].map(|()| match random.u8(..10) {
        0..7 => format!("\x1b[{}", choose(random, SEQUENCES)),
        7..9 => choose(random, OTHER).to_owned(),
        _ => choose(random, LONG).to_owned(),
    });
    out.extend(pair.concat().repeat(random.usize(..200)).bytes());
}

fn control_sequence(random: &mut Rng, out: &mut Vec<u8>) {
    out.extend(b"\x1b[");
    out.extend(choose(random, &["", "?", ">", "=", "!", " "]).bytes());
    for _ in 0..random.u8(..4) {
        let limit = [10, 1100, 70_000][random.usize(..3)];
        out.extend(random.u32(..limit).to_string().bytes());
        out.push(b";:"[usize::from(random.u8(..8) == 0)]);
    }
    out.push(random.u8(0x40..0x7f));
}

/// Writes a title, a link or a device control string.
fn string_sequence(random: &mut Rng, out: &mut Vec<u8>) {
    let length = [16, 300, 2000, 70_000][random.usize(..4)];
    let number = random.u16(..1000);
    let start = match random.u8(..4) {
        0 => format!("\x1b]2;{number}"),
        1 => format!("\x1b]8;id={number};https://example.org/"),
        2 => format!("\x1b]8;;https://example.org/{number}/"),
        _ => format!("\x1bP1;2q{number}"),
    };

    out.extend(start.bytes());
    out.extend(std::iter::repeat_n(b'x', length));
    // A quarter of the sequences has no terminator.
    out.extend(choose(random, &["\x07", "\x07", "\x1b\\", ""]).bytes());
}

/// Writes cells with different colours.
fn true_colours(random: &mut Rng, out: &mut Vec<u8>) {
    for _ in 0..random.u16(..2000) {
        let [r, g, b] = std::array::from_fn(|_| random.u8(..));
        out.extend(format!("\x1b[38;2;{r};{g};{b};4;58;2;{b};{r};{g}mx").bytes());
    }
}

fn text(random: &mut Rng, out: &mut Vec<u8>) {
    out.extend((0..random.u16(..3000)).map(|_| random.u8(b' '..0x7f)));
    if random.bool() {
        out.extend(b"\r\n");
    }
}

/// Writes letters with different combining marks.
fn combining(random: &mut Rng, out: &mut Vec<u8>) {
    for _ in 0..random.u16(..500) {
        let mut letter = String::from("e");
        letter.extend((0..random.u8(..12)).map(|_| random.char('\u{300}'..'\u{370}')));
        out.extend(letter.bytes());
    }
}
