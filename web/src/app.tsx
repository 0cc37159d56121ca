// The page: the login, or the list of terminals beside the open one.

import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { me, unreachable } from "./account";
import { Bar, drawerOpen } from "./bar";
import { connectionState } from "./connection";
import { DeviceList } from "./device-list";
import { LoginPage } from "./login-page";
import { NewTerminal } from "./new-terminal";
import { Notices } from "./notices";
import { openSession, route } from "./route";
import { isFiltering } from "./session-filter";
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
  if (me.value === null) return <LoginPage />;

  return (
    <main class="placeholder full-page">
      <p role="status">{unreachable.value ? "Cannot reach the server. Retrying…" : ""}</p>
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
    // Any navigation closes the drawer, which would cover its result.
    void route.value;
    drawerOpen.value = false;
  });
  useEffect(() => {
    const handleKey = (event: KeyboardEvent) => {
      if (event.key === "Escape" && drawerOpen.value) drawerOpen.value = false;
      if (!(event.ctrlKey && event.shiftKey && event.code === "KeyL")) return;

      event.preventDefault();
      drawerOpen.value = true;
      const entries = list.current;
      (
        entries?.querySelector<HTMLElement>("[aria-current]") ?? entries?.querySelector("a, button")
      )?.focus();
    };
    addEventListener("keydown", handleKey);
    return () => removeEventListener("keydown", handleKey);
  }, []);

  const id = openSession.value;

  return (
    <div
      class="workspace"
      data-page={route.value.name}
      data-drawer={drawerOpen.value ? "open" : undefined}
    >
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
              <h1 class="title">Terminals</h1>
            </Bar>
            <EmptyView />
          </>
        )}
        {id !== null && <SessionView key={id} id={id} />}
      </main>
    </div>
  );
}

function EmptyView() {
  const isLoading = sessions.value === null && connectionState.value.name !== "closed";
  if (isLoading) return <div class="placeholder" />;

  const hasTerminals = sessions.value?.length || isFiltering(filter.value);

  return (
    <div class="placeholder">
      <p>{hasTerminals ? "No terminal is open." : "You have no terminals yet."}</p>
      <p class="faint">
        Terminals keep running when you close this page. The list shows when an unused one ends.
      </p>
      <NewTerminal />
    </div>
  );
}
