// The open session: its bar, its screen, its keys.

import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import type { RejoinError } from "rejoin";
import { Bar } from "./bar";
import { CopyingNote } from "./copying";
import { KeyBar } from "./key-bar";
import { NewTerminal } from "./new-terminal";
import { type Facts, OpenSession } from "./open-session";
import { sessionInfo, sessionTitle } from "./sessions";
import { asSentence, hasEnded, howItEnded } from "./wording";

export function SessionView({ id }: { id: string }) {
  const element = useRef<HTMLDivElement>(null);
  const facts = useSignal<Facts | null>(null);
  const [failure, setFailure] = useState<RejoinError | null>(null);
  const [open, setOpen] = useState<OpenSession | null>(null);

  useEffect(() => {
    const opened = new OpenSession(id, element.current as HTMLElement, facts, setFailure);
    setOpen(opened);
    return () => opened.close();
  }, [id]);

  const info = sessionInfo(id);
  return (
    <>
      <Bar>
        <h1 class="title ellipsis">{info === undefined ? "" : sessionTitle(info)}</h1>
        <Note facts={facts} />
      </Bar>
      <div class="screen" data-ended={facts.value !== null && hasEnded(facts.value.status) ? "" : undefined}>
        <div class="screen-room" ref={element} />
        {open !== null && <CopyingNote clipboard={open.clipboard} />}
        {failure !== null && <Failure error={failure} />}
      </div>
      {open !== null && <KeyBar send={(keys) => open.press(keys)} modifiers={open.modifiers} screen={open.screen} />}
    </>
  );
}

/** What is unusual about the session, beside its title. */
function Note({ facts }: { facts: Signal<Facts | null> }) {
  const known = facts.value;
  if (known === null) return <span class="note" />;
  if (hasEnded(known.status)) {
    const failed = known.status === "error" || known.exit?.signal || known.exit?.code;
    return (
      <span class="note chip" data-tone={failed ? "bad" : "plain"} role="status">
        {howItEnded(known)}
      </span>
    );
  }
  const words = [known.role === "viewer" ? "view only" : "", known.ownsSize ? "" : `${known.size.cols}×${known.size.rows}`];
  const text = words.filter(Boolean).join(" · ");
  return (
    <span class="note" title={known.ownsSize ? "" : "Another window has the size. Type here to take it over."}>
      {text}
    </span>
  );
}

function Failure({ error }: { error: RejoinError }) {
  const gone = error.code === "unknown_session";
  return (
    <div class="nothing over">
      <p>{gone ? "This terminal is not there any more." : asSentence(error.message)}</p>
      <NewTerminal />
    </div>
  );
}
