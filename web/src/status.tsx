// The status of the connection.

import { useEffect, useState } from "preact/hooks";
import { connection, connectionState } from "./connection";

/** Returns the time in milliseconds since the epoch, updated at an interval. */
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
      return <StatusLine tone="good" text="Connected" />;
    case "new":
    case "connecting":
      return <StatusLine tone="busy" text="Connecting…" />;
    case "waiting":
      return <Waiting retryAt={state.retryAt} reason={state.reason} />;
    case "closed":
      return state.code === null ? (
        <StatusLine tone="bad" text="Logged out" />
      ) : (
        <StatusLine
          tone="bad"
          text="Disconnected"
          title={state.reason}
          action="Connect"
          act={() => connection.open()}
        />
      );
  }
}

function Waiting({ retryAt, reason }: { retryAt: number; reason: string }) {
  const seconds = Math.max(0, Math.ceil((retryAt - useNow(250)) / 1000));
  const offline = !navigator.onLine;

  return (
    <StatusLine
      tone="busy"
      text={offline ? "Offline" : "Reconnecting"}
      // Hidden from screen readers, which would read each second aloud.
      silent={`in ${seconds} s`}
      title={reason || "The connection was lost. Terminals keep running."}
      action="Retry"
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

function StatusLine({ tone, text, silent, title, action, act }: LineProps) {
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
