// The page's frame: the list at one side, the open terminal at the other.

import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { me, unreachable } from "./account";
import { Bar, drawerOpen } from "./bar";
import { DeviceList } from "./device-list";
import { connectionState } from "./link";
import { LogIn } from "./log-in";
import { NewTerminal } from "./new-terminal";
import { Notices } from "./notices";
import { openSession, route } from "./route";
import { hides } from "./session-filter";
import { SessionList } from "./session-list";
import { SessionView } from "./session-view";
import { filter, sessionInfo, sessions, sessionTitle } from "./sessions";
import { SwitchUser } from "./switch-user";

export function App() {
  return (
    <>
      <Content />
      <SwitchUser />
      <Notices />
    </>
  );
}

function Content() {
  if (me.value) return <Workspace />;
  if (me.value === null) return <LogIn />;
  return (
    <main class="nothing whole">
      <p role="status">{unreachable.value ? "The server cannot be reached. Trying again…" : ""}</p>
    </main>
  );
}

function Workspace() {
  const list = useRef<HTMLElement>(null);

  useSignalEffect(() => {
    const open = sessionInfo(openSession.value);
    const title = route.value.name === "devices" ? "Devices" : "rejoin";
    document.title = open === undefined ? title : sessionTitle(open);
  });
  useSignalEffect(() => {
    // Whatever was chosen in the drawer is behind it.
    route.value;
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
        {route.value.name === "devices" && <DeviceList />}
        {route.value.name === "home" && (
          <>
            <Bar>
              <h1 class="title" />
            </Bar>
            <Nothing />
          </>
        )}
        {id !== null && <SessionView key={id} id={id} />}
      </main>
    </div>
  );
}

function Nothing() {
  const waiting = sessions.value === null && connectionState.value.name !== "closed";
  if (waiting) return <div class="nothing" />;
  return (
    <div class="nothing">
      <p>{sessions.value?.length || hides(filter.value) ? "No terminal is open here." : "There are no terminals yet."}</p>
      <p class="faint">A terminal goes on when this page is closed. Come back to it from any device.</p>
      <NewTerminal />
    </div>
  );
}
