// The line over the terminal: the way to the list, what is open, how the connection is.

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { Status } from "./status";

/** On narrow windows the list is a drawer. */
export const drawerOpen = signal(false);

export function Bar({ children }: { children: ComponentChildren }) {
  return (
    <header class="bar">
      <button
        type="button"
        class="quiet drawer-button"
        aria-label="Terminals"
        aria-expanded={drawerOpen.value}
        onClick={() => {
          drawerOpen.value = !drawerOpen.value;
        }}
      >
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <path d="M2 4.5h12M2 8h12M2 11.5h12" />
        </svg>
      </button>
      {children}
      <Status />
    </header>
  );
}
