// The button that starts a terminal, with a menu if there are several profiles.

import { useEffect, useRef, useState } from "preact/hooks";
import { connectionState } from "./connection";
import { lastFittingSize } from "./open-session";
import { goTo } from "./route";
import { createTerminal, profiles } from "./sessions";

export function NewTerminal() {
  const [busy, setBusy] = useState(false);
  const menu = useRef<HTMLDetailsElement>(null);
  const disabled = busy || connectionState.value.name !== "connected";

  const start = async (profile?: string) => {
    menu.current?.removeAttribute("open");
    setBusy(true);

    const id = await createTerminal(lastFittingSize.value, profile);
    setBusy(false);
    if (id !== null) goTo(id);
  };

  // `details` closes neither by Escape nor by a click outside.
  useEffect(() => {
    const close = (event: Event) => {
      const isOutside =
        event instanceof KeyboardEvent
          ? event.key === "Escape"
          : !menu.current?.contains(event.target as Node);
      if (isOutside) menu.current?.removeAttribute("open");
    };
    addEventListener("pointerdown", close);
    addEventListener("keydown", close);
    return () => {
      removeEventListener("pointerdown", close);
      removeEventListener("keydown", close);
    };
  }, []);

  if (profiles.value.length < 2) {
    return (
      <button
        type="button"
        class="primary"
        disabled={disabled}
        onClick={() => void start(profiles.value[0])}
      >
        New terminal
      </button>
    );
  }

  return (
    <details class="menu" ref={menu}>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: a summary is interactive. */}
      <summary
        class="primary"
        aria-disabled={disabled}
        onClick={(event) => disabled && event.preventDefault()}
      >
        New terminal
      </summary>
      <div class="choices">
        {profiles.value.map((profile) => (
          <button type="button" key={profile} onClick={() => void start(profile)}>
            {profile}
          </button>
        ))}
      </div>
    </details>
  );
}
