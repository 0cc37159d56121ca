// The page for those who are not logged in.

import { useState } from "preact/hooks";
import { logIn, logInReason } from "./account";

export function LogIn() {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    // What is accepted has no use here any more.
    if (await logIn(text)) setText("");
    setBusy(false);
  };
  return (
    <main class="log-in">
      <form onSubmit={(event) => void submit(event)}>
        <p class="wordmark">rejoin</p>
        <h1>Log in</h1>
        <p class="reason" role="status">
          {logInReason.value}
        </p>
        <p>
          Open the link that the server printed when it started. It works once, within 15 minutes. Where the server
          runs, make another:
        </p>
        <pre>
          <code>rejoin token --link</code>
        </pre>
        <label>
          Token or log-in link
          <input
            type="password"
            name="token"
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            required
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
        <button type="submit" class="primary" disabled={busy}>
          Log in
        </button>
      </form>
    </main>
  );
}
