// Keys that the keyboards of phones lack.

import type { Signal } from "@preact/signals";
import type { Screen } from "./screen";

interface KeyBarProps {
  send: (keys: string) => void;
  modifiers: Signal<{ ctrl: boolean; alt: boolean }>;
  screen: Screen;
}

export function KeyBar({ send, modifiers, screen }: KeyBarProps) {
  // Programs choose between both encodings of arrow keys (DECCKM).
  const arrow = (letter: string) =>
    send(screen.emulator.modes.applicationCursorKeysMode ? `\x1bO${letter}` : `\x1b[${letter}`);
  const toggle = (name: "ctrl" | "alt") => {
    modifiers.value = { ...modifiers.value, [name]: !modifiers.value[name] };
    screen.emulator.focus();
  };

  return (
    // A press must not take the focus from the terminal: the keyboard would close.
    <div
      class="key-bar"
      role="toolbar"
      aria-label="Keys"
      onPointerDown={(event) => event.preventDefault()}
    >
      <Key label="esc" name="Escape" act={() => send("\x1b")} />
      <Key label="tab" name="Tab" act={() => send("\t")} />
      <Key label="ctrl" name="Control" pressed={modifiers.value.ctrl} act={() => toggle("ctrl")} />
      <Key label="alt" name="Alt" pressed={modifiers.value.alt} act={() => toggle("alt")} />
      <Key label="←" name="Left" act={() => arrow("D")} />
      <Key label="↓" name="Down" act={() => arrow("B")} />
      <Key label="↑" name="Up" act={() => arrow("A")} />
      <Key label="→" name="Right" act={() => arrow("C")} />
    </div>
  );
}

function Key({
  label,
  name,
  pressed,
  act,
}: {
  label: string;
  name: string;
  pressed?: boolean;
  act: () => void;
}) {
  return (
    <button type="button" aria-label={name} aria-pressed={pressed} onClick={act}>
      {label}
    </button>
  );
}
