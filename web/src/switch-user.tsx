// The confirmation before a login link logs in or switches the user.

import { useRef } from "preact/hooks";
import { pendingSwitch, switchUser } from "./account";

export function SwitchUser() {
  const pending = pendingSwitch.value;
  const confirmed = useRef(false);
  if (pending === null) return null;

  const { from, to } = pending;
  const current = from === null ? "not logged in" : `logged in as ${from}`;
  const show = (element: HTMLDialogElement | null) => {
    if (element !== null && !element.open) element.showModal();
  };
  const close = (event: MouseEvent, confirms: boolean) => {
    confirmed.current = confirms;
    (event.currentTarget as HTMLElement).closest("dialog")?.close();
  };
  // Also called when Escape closes the dialog: then nothing is confirmed.
  const done = () => {
    void switchUser(confirmed.current);
    confirmed.current = false;
  };

  return (
    <dialog ref={show} onClose={done} aria-labelledby="switch-user">
      <h2 id="switch-user">Log in as “{to.user_id}”?</h2>
      <p>
        You opened a login link of <strong>{to.user_id}</strong>
        {to.admin && ", who is an administrator"}. This browser is {current}. If you log in,
        everything you type goes to the terminals of {to.user_id}.
      </p>
      <div class="dialog-actions">
        <button type="button" class="plain" onClick={(event) => close(event, false)}>
          {from === null ? "Cancel" : `Stay as ${from}`}
        </button>
        <button
          type="button"
          class={from === null ? "primary" : "danger"}
          onClick={(event) => close(event, true)}
        >
          Log in as {to.user_id}
        </button>
      </div>
    </dialog>
  );
}
