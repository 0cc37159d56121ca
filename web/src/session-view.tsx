// The view of the open session: bar, screen, key bar.

import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import type { RejoinError } from "rejoin";
import { Bar } from "./bar";
import { CopyNotice } from "./copy-notice";
import { KeyBar } from "./key-bar";
import { LostSession } from "./lost-session";
import { NewTerminal } from "./new-terminal";
import { OpenSession, type SessionDetails } from "./open-session";
import { SearchBox } from "./search-box";
import { sessionInfo, sessionTitle } from "./sessions";
import { asSentence, exitText, hasEnded } from "./wording";

export function SessionView({ id }: { id: string }) {
  const element = useRef<HTMLDivElement>(null);
  const details = useSignal<SessionDetails | null>(null);
  const [failure, setFailure] = useState<RejoinError | null>(null);
  const [open, setOpen] = useState<OpenSession | null>(null);

  useEffect(() => {
    const opened = new OpenSession(id, element.current as HTMLElement, details, setFailure);
    setOpen(opened);
    return () => opened.close();
  }, [id]);

  const info = sessionInfo(id);

  return (
    <>
      <Bar>
        <h1 class="title ellipsis">{info === undefined ? "" : sessionTitle(info)}</h1>
        <Note details={details} lost={info?.lost ?? false} />
        {open !== null && (
          <button
            type="button"
            class="quiet"
            aria-label="Search"
            title="Search (Ctrl+Shift+F)"
            onClick={() => {
              open.searching.value = !open.searching.value;
            }}
          >
            <svg viewBox="0 0 16 16" aria-hidden="true">
              <path d="M11 11l3.5 3.5M12 7a5 5 0 1 1-10 0 5 5 0 0 1 10 0z" />
            </svg>
          </button>
        )}
      </Bar>
      {info?.lost && <LostSession session={info} />}
      <div
        class="screen"
        data-ended={details.value !== null && hasEnded(details.value.status) ? "" : undefined}
      >
        <div class="screen-area" ref={element} />
        {open?.searching.value && (
          <SearchBox search={open.screen.search} close={() => open.closeSearch()} />
        )}
        {open !== null && <CopyNotice clipboard={open.clipboard} />}
        {failure !== null && <Failure error={failure} />}
      </div>
      {open !== null && (
        <KeyBar send={(keys) => open.press(keys)} modifiers={open.modifiers} screen={open.screen} />
      )}
    </>
  );
}

/** Shows the exit of an ended session, or a foreign size and role. */
function Note({ details, lost }: { details: Signal<SessionDetails | null>; lost: boolean }) {
  const known = details.value;
  if (known === null) return <span class="note" />;

  if (hasEnded(known.status)) {
    const hasFailed = known.status === "error" || known.exit?.signal || known.exit?.code;

    return (
      <span class="note chip" data-tone={hasFailed ? "bad" : "plain"} role="status">
        {exitText({ ...known, lost })}
      </span>
    );
  }

  const role = known.role === "viewer" ? "view only" : "";
  const size = known.ownsSize ? "" : `${known.size.cols}×${known.size.rows}`;
  const text = [role, size].filter(Boolean).join(" · ");

  return (
    <span
      class="note"
      title={known.ownsSize ? "" : "Another window sets the size. Type here to take over."}
    >
      {text}
    </span>
  );
}

function Failure({ error }: { error: RejoinError }) {
  const isMissing = error.code === "unknown_session";

  return (
    <div class="placeholder overlay">
      <p>{isMissing ? "This terminal no longer exists." : asSentence(error.message)}</p>
      <NewTerminal />
    </div>
  );
}
