// The page for those without a token.

import { useState } from "preact/hooks";
import { logIn, logInReason } from "./account";

export function LogIn() {
  const [text, setText] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    logIn(text);
  };
  return (
    <main class="log-in">
      <form onSubmit={submit}>
        <p class="wordmark">rejoin</p>
        <h1>Log in</h1>
        <p class="reason" role="status">
          {logInReason.value}
        </p>
        <p>
          Open the link that the server printed when it started. Or make a token where the server runs, and paste it
          here:
        </p>
        <pre>
          <code>rejoin token --user NAME</code>
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
        <button type="submit" class="primary">
          Log in
        </button>
      </form>
    </main>
  );
}
