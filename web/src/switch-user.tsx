// The question before a log-in link switches the user.

import { useRef } from "preact/hooks";
import { switching, switchUser } from "./account";

export function SwitchUser() {
  const asked = switching.value;
  const agreed = useRef(false);
  if (asked === null) return null;
  const { from, to } = asked;
  const show = (element: HTMLDialogElement | null) => {
    if (element !== null && !element.open) element.showModal();
  };
  const close = (event: MouseEvent, agrees: boolean) => {
    agreed.current = agrees;
    (event.currentTarget as HTMLElement).closest("dialog")?.close();
  };
  const done = () => {
    void switchUser(agreed.current);
    agreed.current = false;
  };
  return (
    <dialog ref={show} onClose={done} aria-labelledby="switch-user">
      <h2 id="switch-user">Log in as “{to.user_id}”?</h2>
      <p>
        You opened a log-in link of <strong>{to.user_id}</strong>
        {to.admin && ", who is an administrator"}. This browser is logged in as <strong>{from}</strong>. What you type
        after the switch goes to the terminals of {to.user_id}.
      </p>
      <div class="dialog-actions">
        <button type="button" class="plain" onClick={(event) => close(event, false)}>
          Stay {from}
        </button>
        <button type="button" class="danger" onClick={(event) => close(event, true)}>
          Log in as {to.user_id}
        </button>
      </div>
    </dialog>
  );
}
