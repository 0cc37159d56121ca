// How the connection is, in the same place at all times.

import { useEffect, useState } from "preact/hooks";
import { connection, connectionState } from "./link";

/** Milliseconds since the epoch, renewed this often. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

export function Status() {
  const state = connectionState.value;
  switch (state.name) {
    case "connected":
      return <Line tone="good" text="Connected" />;
    case "new":
    case "connecting":
      return <Line tone="busy" text="Connecting…" />;
    case "waiting":
      return <Waiting retryAt={state.retryAt} reason={state.reason} />;
    case "closed":
      return state.code === null ? (
        <Line tone="bad" text="Logged out" />
      ) : (
        <Line tone="bad" text="Disconnected" title={state.reason} action="Connect" act={() => connection.open()} />
      );
  }
}

function Waiting({ retryAt, reason }: { retryAt: number; reason: string }) {
  const seconds = Math.max(0, Math.ceil((retryAt - useNow(250)) / 1000));
  const offline = !navigator.onLine;
  return (
    <Line
      tone="busy"
      text={offline ? "Offline" : "Reconnecting"}
      // Not announced: a screen reader would count aloud.
      silent={`in ${seconds} s`}
      title={reason || "The connection was lost. Terminals go on meanwhile."}
      action="Now"
      act={() => connection.retryNow()}
    />
  );
}

interface LineProps {
  tone: "good" | "busy" | "bad";
  text: string;
  silent?: string;
  title?: string;
  action?: string;
  act?: () => void;
}

function Line({ tone, text, silent, title, action, act }: LineProps) {
  return (
    <div class="status" data-tone={tone} title={title}>
      <span class="dot" aria-hidden="true" />
      <span role="status">{text}</span>
      {silent && <span aria-hidden="true">{silent}</span>}
      {action && (
        <button type="button" class="link" onClick={act}>
          {action}
        </button>
      )}
    </div>
  );
}
