// The login page.

import { useState } from "preact/hooks";
import { logIn, loginReason } from "./account";

export function LoginPage() {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    // An accepted credential must not stay in the field.
    if (await logIn(text)) setText("");
    setBusy(false);
  };

  return (
    <main class="login">
      <form onSubmit={(event) => void submit(event)}>
        <p class="wordmark">rejoin</p>
        <h1>Log in</h1>
        <p class="reason" role="status">
          {loginReason.value}
        </p>
        <p>
          Open the login link that the server printed when it started. A link works once, within 15
          minutes. To create a new one, run this command on the server:
        </p>
        <pre>
          <code>rejoin token --link</code>
        </pre>
        <label>
          Token or login link
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
