//! The program in a terminal that is fuzzed: output without end, made from a seed.

use std::io::Write as _;

use crate::random::Random;

/// Output that is written at once, roughly, in bytes.
const PIECE_BYTES: usize = 8 * 1024;

/// Sequences that cost or keep the most for their length.
const COSTLY: &[&str] = &[
    "\x1b[65535b",
    "\x1b[?1049h\x1b[?1049l",
    "\x1b[?47h",
    "\x1b[?47l",
    "\x1b[2J",
    "\x1b[J",
    "\x1b[?J",
    "\x1b[3J",
    "\x1b#8",
    "\x1b[65535S",
    "\x1b[65535T",
    "\x1b[65535L",
    "\x1b[65535M",
    "\x1b[H\x1b[L",
    "\x1b[ @",
    "\x1b[ A",
    "\x1b['}",
    "\x1b['~",
    "\x1b[65535@",
    "\x1b[65535P",
    "\x1b[65535X",
    "\x1b[3g\t\t",
    "\x1b[65535I",
    "\x1b[65535Z",
    "\x1bH",
    "\x1bM",
    "\x1bc",
    "\x1b[!p",
    "\x1b[4h",
    "\x1b[4l",
    "\x1b[?7l",
    "\x1b[?7h",
    "\x1b[?6h",
    "\x1b[?6l",
    "\x1b[1\"q",
    "\x1b[22;2t",
    "\x1b[23;2t",
    "\x1b7",
    "\x1b8",
    "\x1b[c",
    "\x1b]4;1;?\x07",
    "\x1b[999;999H",
    "\r\n",
    "\n",
    "日",
    "\u{301}",
    "e\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}",
    "🦀",
    "x",
    "\x1b(0q",
    "\x1b[44m",
    "\x1b[m",
];

/// Prints until the terminal is closed.
pub(crate) fn program(seed: u64) -> anyhow::Result<()> {
    let mut random = Random::seeded(seed);
    let mut output = std::io::stdout().lock();
    loop {
        output.write_all(&piece(&mut random))?;
        output.flush()?;
    }
}

/// The next piece of output.
fn piece(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < PIECE_BYTES {
        match random.below(12) {
            0 => (0..random.below(64)).for_each(|_| out.push(random.byte())),
            1 => control_sequence(random, &mut out),
            2 => operating_system_command(random, &mut out),
            3 => true_colours(random, &mut out),
            4 => text(random, &mut out),
            5 => combining(random, &mut out),
            _ => repeated(random, &mut out),
        }
    }
    out
}

/// One costly sequence, again and again, or two in turn.
fn repeated(random: &mut Random, out: &mut Vec<u8>) {
    let pair = [random.choose(COSTLY), random.choose(COSTLY)];
    for _ in 0..random.below(200) {
        pair.iter().for_each(|sequence| out.extend(sequence.as_bytes()));
    }
}

fn control_sequence(random: &mut Random, out: &mut Vec<u8>) {
    out.extend(b"\x1b[");
    out.extend(random.choose(&["", "?", ">", "=", "!", " "]).bytes());
    for _ in 0..random.below(4) {
        let number = match random.below(3) {
            0 => random.below(10),
            1 => random.below(1100),
            _ => random.below(70_000),
        };
        out.extend(number.to_string().bytes());
        out.push(b";:"[usize::from(random.below(8) == 0)]);
    }
    out.push(0x40 + u8::try_from(random.below(0x3f)).unwrap_or(0));
}

fn operating_system_command(random: &mut Random, out: &mut Vec<u8>) {
    let length = [16, 300, 2000, 70_000][random.index(4)];
    let number = random.below(1000).to_string();
    match random.below(4) {
        0 => out.extend(format!("\x1b]2;{number}").bytes()),
        1 => out.extend(format!("\x1b]8;id={number};https://example.org/").bytes()),
        2 => out.extend(format!("\x1b]8;;https://example.org/{number}/").bytes()),
        _ => out.extend(format!("\x1bP1;2q{number}").bytes()),
    }
    out.extend(std::iter::repeat_n(b'x', length));
    // Now and then it does not end.
    out.extend(random.choose(&["\x07", "\x07", "\x1b\\", ""]).bytes());
}

/// Cells each of which has colours of its own.
fn true_colours(random: &mut Random, out: &mut Vec<u8>) {
    for _ in 0..random.below(2000) {
        let [r, g, b] = std::array::from_fn(|_| random.byte());
        out.extend(format!("\x1b[38;2;{r};{g};{b};4;58;2;{b};{r};{g}mx").bytes());
    }
}

fn text(random: &mut Random, out: &mut Vec<u8>) {
    for _ in 0..random.below(3000) {
        out.push(b' ' + u8::try_from(random.below(95)).unwrap_or(0));
    }
    if random.below(2) == 0 {
        out.extend(b"\r\n");
    }
}

/// Characters each with other marks.
fn combining(random: &mut Random, out: &mut Vec<u8>) {
    for _ in 0..random.below(500) {
        out.push(b'e');
        for _ in 0..random.below(12) {
            let mark = 0x300 + u32::try_from(random.below(0x70)).unwrap_or(0);
            out.extend(char::from_u32(mark).unwrap_or('e').to_string().bytes());
        }
    }
}
