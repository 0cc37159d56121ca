// The list of terminals: what they are, how they are, and the way to end them.

import type { SessionInfo } from "rejoin";
import type { Ref } from "preact";
import { useRef, useState } from "preact/hooks";
import { logOut, me } from "./account";
import { NewTerminal } from "./new-terminal";
import { addressOf, DEVICES_ADDRESS, goTo, openSession, route } from "./route";
import { closeSession, sessions, sessionTitle } from "./sessions";
import { useNow } from "./status";
import { age, hasEnded, howItEnded } from "./wording";

const AGES_MS = 15_000;

export function SessionList({ elementRef }: { elementRef: Ref<HTMLElement> }) {
  const now = useNow(AGES_MS);
  const [closing, setClosing] = useState<SessionInfo | null>(null);
  const list = sessions.value;

  return (
    <aside class="sidebar" ref={elementRef} aria-label="Terminals">
      <div class="sidebar-head">
        <p class="wordmark">rejoin</p>
        <NewTerminal />
      </div>
      <nav aria-label="Terminals" aria-keyshortcuts="Control+Shift+L">
        <ul>
          {list?.map((session) => (
            <Entry key={session.id} session={session} now={now} onClose={() => setClosing(session)} />
          ))}
        </ul>
        {list?.length === 0 && <p class="faint empty">No terminals yet.</p>}
      </nav>
      <div class="sidebar-foot">
        <span class="user">{me.value?.user_id}</span>
        <a class="link" href={DEVICES_ADDRESS} aria-current={route.value.name === "devices" ? "page" : undefined}>
          Devices
        </a>
        <button type="button" class="link" onClick={() => void logOut()}>
          Log out
        </button>
      </div>
      {closing !== null && <ConfirmClose session={closing} done={() => setClosing(null)} />}
    </aside>
  );
}

function Entry({ session, now, onClose }: { session: SessionInfo; now: number; onClose: () => void }) {
  const title = sessionTitle(session);
  const ended = hasEnded(session.status);
  const remove = async () => {
    if ((await closeSession(session.id)) && openSession.value === session.id) goTo(null);
  };
  return (
    <li>
      <a href={addressOf(session.id)} aria-current={openSession.value === session.id ? "page" : undefined}>
        <span class="entry-title">
          <span class="dot" data-status={session.status} aria-hidden="true" />
          <span class="ellipsis">{title}</span>
        </span>
        <span class="entry-facts">{facts(session, now)}</span>
      </a>
      <button
        type="button"
        class="quiet close"
        aria-label={ended ? `Remove ${title}` : `Close ${title}`}
        title={ended ? "Remove" : "Close"}
        // What has ended can be removed without a question: nothing is lost but a picture.
        onClick={() => (ended ? void remove() : onClose())}
      >
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <path d="M4.5 4.5l7 7M11.5 4.5l-7 7" />
        </svg>
      </button>
    </li>
  );
}

function facts(session: SessionInfo, now: number): string {
  if (hasEnded(session.status)) return `${howItEnded(session)} · ${age(session.last_activity_at, now)}`;
  const who = session.connections === 0 ? "nobody attached" : `${session.connections} attached`;
  const status = session.status === "starting" ? "starting" : who;
  return `${status} · ${age(session.created_at, now)}`;
}

function ConfirmClose({ session, done }: { session: SessionInfo; done: () => void }) {
  const dialog = useRef<HTMLDialogElement | null>(null);
  const show = (element: HTMLDialogElement | null) => {
    if (element !== null && !element.open) element.showModal();
    dialog.current = element;
  };
  const close = async () => {
    dialog.current?.close();
    if ((await closeSession(session.id)) && openSession.value === session.id) goTo(null);
  };
  return (
    <dialog ref={show} onClose={done} aria-labelledby="confirm-close">
      <h2 id="confirm-close">Close “{sessionTitle(session)}”?</h2>
      <p>The program in it is ended, for everybody who is attached.</p>
      <div class="dialog-actions">
        <button type="button" class="plain" onClick={() => dialog.current?.close()}>
          Keep it
        </button>
        <button type="button" class="danger" onClick={() => void close()}>
          Close terminal
        </button>
      </div>
    </dialog>
  );
}
