// The bar above the terminal: the button of the list, the title, the connection's status.

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { Status } from "./status";

/** True if the list is open on narrow windows, where it is a drawer. */
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
