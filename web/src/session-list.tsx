// The list of terminals, with its filter and the buttons to close them.

import type { Ref } from "preact";
import { useRef, useState } from "preact/hooks";
import type { SessionInfo } from "rejoin";
import { logOut, me } from "./account";
import { NewTerminal } from "./new-terminal";
import { addressOf, DEVICES_ADDRESS, goTo, openSession, route } from "./route";
import { type Filter, isFiltering } from "./session-filter";
import {
  clearEnded,
  closeSession,
  filter,
  listMore,
  nextPage,
  sessions,
  sessionTitle,
  setFilter,
} from "./sessions";
import { useNow } from "./status";
import { age, exitText, hasEnded, remaining } from "./wording";

const AGE_REFRESH_MS = 15_000;
/** The server's limit, in characters. */
const MAX_FILTER = 100;

export function SessionList({ elementRef }: { elementRef: Ref<HTMLElement> }) {
  const now = useNow(AGE_REFRESH_MS);
  const [closing, setClosing] = useState<SessionInfo | null>(null);
  const list = sessions.value;

  return (
    <aside class="sidebar" ref={elementRef} aria-label="Terminals">
      <div class="sidebar-head">
        <p class="wordmark">rejoin</p>
        <NewTerminal />
      </div>
      <FilterBar />
      <nav aria-label="Terminals" aria-keyshortcuts="Control+Shift+L">
        <ul>
          {list?.map((session) => (
            <SessionEntry
              key={session.id}
              session={session}
              now={now}
              onClose={() => setClosing(session)}
            />
          ))}
        </ul>
        {list?.length === 0 && (
          <p class="faint empty">
            {isFiltering(filter.value) ? "No matching terminals." : "No terminals yet."}
          </p>
        )}
        <ListEnd />
      </nav>
      <div class="sidebar-foot">
        <span class="user">{me.value?.user_id}</span>
        <a
          class="link"
          href={DEVICES_ADDRESS}
          aria-current={route.value.name === "devices" ? "page" : undefined}
        >
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

/** Shows the filter, unless there is nothing to filter. */
function FilterBar() {
  const { text, state, everyone } = filter.value;
  const admin = me.value?.admin ?? false;
  if (!admin && !sessions.value?.length && !isFiltering(filter.value)) return null;

  return (
    <search class="filter">
      <input
        type="search"
        aria-label="Filter terminals"
        placeholder="Filter"
        autocomplete="off"
        spellcheck={false}
        maxLength={MAX_FILTER}
        value={text}
        onInput={(event) => setFilter({ text: event.currentTarget.value })}
      />
      <select
        aria-label="Status"
        value={state}
        onChange={(event) => setFilter({ state: event.currentTarget.value as Filter["state"] })}
      >
        <option value="all">All</option>
        <option value="running">Running</option>
        <option value="ended">Ended</option>
      </select>
      {admin && (
        <label>
          <input
            type="checkbox"
            checked={everyone}
            onChange={(event) => setFilter({ everyone: event.currentTarget.checked })}
          />
          All users
        </label>
      )}
    </search>
  );
}

/** Shows the buttons below the list. */
function ListEnd() {
  const [busy, setBusy] = useState(false);
  const clear = async () => {
    setBusy(true);
    await clearEnded();
    setBusy(false);
  };
  const user = me.value?.user_id;
  const anyEnded = sessions.value?.some(({ owner, status }) => owner === user && hasEnded(status));

  return (
    <div class="list-end">
      {nextPage.value !== null && (
        <button type="button" class="link" onClick={() => void listMore()}>
          Show more
        </button>
      )}
      {anyEnded && (
        <button type="button" class="link" disabled={busy} onClick={() => void clear()}>
          Clear ended
        </button>
      )}
    </div>
  );
}

function SessionEntry({
  session,
  now,
  onClose,
}: {
  session: SessionInfo;
  now: number;
  onClose: () => void;
}) {
  const title = sessionTitle(session);
  const ended = hasEnded(session.status);
  const remove = async () => {
    if ((await closeSession(session.id)) && openSession.value === session.id) goTo(null);
  };

  return (
    <li>
      <a
        href={addressOf(session.id)}
        aria-current={openSession.value === session.id ? "page" : undefined}
      >
        <span class="entry-title">
          <span class="dot" data-status={session.status} aria-hidden="true" />
          <span class="ellipsis">{title}</span>
        </span>
        <span class="entry-details">{describe(session, now)}</span>
      </a>
      <button
        type="button"
        class="quiet close"
        aria-label={ended ? `Remove ${title}` : `Close ${title}`}
        title={ended ? "Remove" : "Close"}
        // An ended session needs no confirmation: only its last screen is lost.
        onClick={() => (ended ? void remove() : onClose())}
      >
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <path d="M4.5 4.5l7 7M11.5 4.5l-7 7" />
        </svg>
      </button>
    </li>
  );
}

function describe(session: SessionInfo, now: number): string {
  const owner = session.owner === me.value?.user_id ? "" : `${session.owner} · `;
  if (hasEnded(session.status))
    return `${owner}${exitText(session)} · ${age(session.last_activity_at, now)}`;
  const attached = session.connections === 0 ? "not attached" : `${session.connections} attached`;
  // The last activity distinguishes an idle terminal from one that works.
  const details = [
    ...(session.revived_from ? ["started again"] : []),
    attached,
    `active ${age(session.last_activity_at, now)}`,
  ];
  if (session.destroy_at) details.push(`ends in ${remaining(session.destroy_at, now)}`);
  return owner + details.join(" · ");
}

function ConfirmClose({ session, done }: { session: SessionInfo; done: () => void }) {
  const dialog = useRef<HTMLDialogElement | null>(null);
  const show = (element: HTMLDialogElement | null) => {
    // The ref is called at each render, and `showModal` throws if the dialog is open.
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
      <p>This ends its program for all attached users.</p>
      <div class="dialog-actions">
        <button type="button" class="plain" onClick={() => dialog.current?.close()}>
          Cancel
        </button>
        <button type="button" class="danger" onClick={() => void close()}>
          Close terminal
        </button>
      </div>
    </dialog>
  );
}
