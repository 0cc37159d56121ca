// The page's frame: the list at one side, the open terminal at the other.

import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { token } from "./account";
import { Bar, drawerOpen } from "./bar";
import { connectionState } from "./link";
import { LogIn } from "./log-in";
import { NewTerminal } from "./new-terminal";
import { Notices } from "./notices";
import { openSession } from "./route";
import { sessions, sessionTitle } from "./sessions";
import { SessionList } from "./session-list";
import { SessionView } from "./session-view";

export function App() {
  return (
    <>
      {token.value === null ? <LogIn /> : <Workspace />}
      <Notices />
    </>
  );
}

function Workspace() {
  const list = useRef<HTMLElement>(null);

  useSignalEffect(() => {
    const open = sessions.value?.find(({ id }) => id === openSession.value);
    document.title = open === undefined ? "rejoin" : sessionTitle(open);
  });
  useSignalEffect(() => {
    // Whatever was chosen in the drawer is behind it.
    openSession.value;
    drawerOpen.value = false;
  });
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      if (event.key === "Escape" && drawerOpen.value) drawerOpen.value = false;
      if (!(event.ctrlKey && event.shiftKey && event.code === "KeyL")) return;
      event.preventDefault();
      drawerOpen.value = true;
      const entries = list.current;
      (entries?.querySelector<HTMLElement>("[aria-current]") ?? entries?.querySelector("a, button"))?.focus();
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  }, []);

  const id = openSession.value;
  return (
    <div class="workspace" data-drawer={drawerOpen.value ? "open" : undefined}>
      <SessionList elementRef={list} />
      <button
        type="button"
        class="scrim"
        aria-label="Close the list"
        tabIndex={-1}
        onClick={() => {
          drawerOpen.value = false;
        }}
      />
      <main>
        {id === null ? (
          <>
            <Bar>
              <h1 class="title" />
            </Bar>
            <Nothing />
          </>
        ) : (
          <SessionView key={id} id={id} />
        )}
      </main>
    </div>
  );
}

function Nothing() {
  const waiting = sessions.value === null && connectionState.value.name !== "closed";
  if (waiting) return <div class="nothing" />;
  return (
    <div class="nothing">
      <p>{sessions.value?.length ? "No terminal is open here." : "There are no terminals yet."}</p>
      <p class="faint">A terminal goes on when this page is closed. Come back to it from any device.</p>
      <NewTerminal />
    </div>
  );
}
