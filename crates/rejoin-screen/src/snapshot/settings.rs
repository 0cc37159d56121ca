//! The settings in a snapshot: title, palette, modes, tab stops, regions.

use std::fmt::Write as _;

use super::has_default_region;
use super::painter::Painter;
use crate::grid::buffer::{Buffer, default_tabs};
use crate::terminal::Terminal;
use crate::terminal::keyboard::{Keyboard, KeyboardFlags};
use crate::terminal::modes::Modes;
use crate::terminal::palette::FOREGROUND;

/// The sequences that shift to G0 to G3.
const SHIFTS: [&str; 4] = ["", "\x0e", "\x1bn", "\x1bo"];

/// Writes the title, the saved titles and the palette.
pub(super) fn title_and_palette(painter: &mut Painter, terminal: &Terminal) {
    let mut text = String::new();
    // Sets and then saves each saved title, oldest first.
    for title in &terminal.titles {
        let _ = write!(text, "\x1b]2;{title}\x07\x1b[22;2t");
    }

    let _ = write!(text, "\x1b]2;{}\x07", terminal.title);
    for (&number, [r, g, b]) in &terminal.palette {
        let _ = match number.checked_sub(FOREGROUND) {
            None => write!(text, "\x1b]4;{number};#{r:02x}{g:02x}{b:02x}\x07"),
            Some(which) => write!(text, "\x1b]{};#{r:02x}{g:02x}{b:02x}\x07", 10 + which),
        };
    }

    painter.text(&text);
}

/// Writes the tab stops and the scroll region. Moves the cursor.
pub(super) fn of_buffer(painter: &mut Painter, buffer: &Buffer) {
    let mut text = String::new();
    // No sequence can set stops beyond the margin.
    let tabs = &buffer.tabs[..painter.cols()];
    if tabs != default_tabs(tabs.len()) {
        text.push_str("\x1b[3g");
        for (x, _) in tabs.iter().enumerate().filter(|&(_, &stop)| stop) {
            let _ = write!(text, "\x1b[{}G\x1bH", x + 1);
        }
    }

    if !has_default_region(buffer, buffer.rows.len()) {
        let _ = write!(text, "\x1b[{};{}r", buffer.top + 1, buffer.bottom + 1);
    }

    painter.text(&text);
}

/// Writes the character sets. Moves the cursor if a restored cursor selected the active set.
pub(super) fn charsets(painter: &mut Painter, terminal: &Terminal) {
    let charsets = terminal.charsets;
    for (slot, &charset) in charsets.designated.iter().enumerate() {
        if charset != Default::default() {
            painter.designate(slot, charset);
        }
    }

    painter.text(SHIFTS[charsets.shifted]);
    if charsets.is_restored() {
        // Restores the cursor that has the set: the shown buffer's or the alternate buffer's.
        let is_shown = terminal.buffer().saved.charset == charsets.active;
        painter.text(if is_shown { "\x1b8" } else { "\x1b[?47h\x1b8\x1b[?47l" });
        painter.clear_pen();
    }
}

/// Writes the keyboard flags of the buffer that the viewer shows.
pub(super) fn keyboard_flags(painter: &mut Painter, flags: &KeyboardFlags) {
    let mut text = String::new();
    // Sets the oldest flags, and pushes the others.
    let mut all = flags.pushed.iter().chain([&flags.current]);
    if let Some(oldest) = all.next().filter(|oldest| **oldest != 0) {
        let _ = write!(text, "\x1b[={oldest};1u");
    }
    for flags in all {
        let _ = write!(text, "\x1b[>{flags}u");
    }

    painter.text(&text);
}

/// Writes the keyboard state that both buffers share.
pub(super) fn keyboard(painter: &mut Painter, keyboard: &Keyboard) {
    let mut text = String::new();
    if keyboard.modify_other_keys != 0 {
        let _ = write!(text, "\x1b[>4;{}m", keyboard.modify_other_keys);
    }
    if keyboard.clusters {
        text.push_str("\x1b[?2027h");
    }
    if keyboard.reports_sizes {
        text.push_str("\x1b[?2048h");
    }

    painter.text(&text);
}

/// Writes the modes. Only origin mode moves the cursor.
pub(super) fn modes(painter: &mut Painter, modes: &Modes) {
    let switched = [
        (modes.origin, "\x1b[?6h"),
        (modes.application_cursor, "\x1b[?1h"),
        (modes.application_keypad, "\x1b="),
        (!modes.autowrap, "\x1b[?7l"),
        (modes.reverse_wrap, "\x1b[?45h"),
        (modes.insert, "\x1b[4h"),
        (modes.line_feed, "\x1b[20h"),
        (modes.bracketed_paste, "\x1b[?2004h"),
        (modes.focus, "\x1b[?1004h"),
        (modes.synchronized, "\x1b[?2026h"),
    ];
    for (_, sequence) in switched.iter().filter(|(on, _)| *on) {
        painter.text(sequence);
    }

    let mut text = String::new();
    let numbers = [modes.mouse.mode(), Some(modes.mouse_encoding).filter(|&mode| mode != 0)];

    for mode in numbers.into_iter().flatten() {
        let _ = write!(text, "\x1b[?{mode}h");
    }

    if modes.cursor_style != 0 {
        let _ = write!(text, "\x1b[{} q", modes.cursor_style);
    }

    // These two survive a reset of xterm.js, so they are always written.
    text.push_str(if modes.cursor_blink { "\x1b[?12h" } else { "\x1b[?12l" });
    text.push_str(if modes.cursor_hidden { "\x1b[?25l" } else { "\x1b[?25h" });
    painter.text(&text);
}
