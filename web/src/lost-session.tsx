// The line above the last screen of a lost session: what happened, and the way to go on.

import { useState } from "preact/hooks";
import type { SessionInfo } from "rejoin";
import { me } from "./account";
import { connectionState } from "./connection";
import { goTo } from "./route";
import { reviveSession } from "./sessions";
import { asSentence } from "./wording";

export function LostSession({ session }: { session: SessionInfo }) {
  const [busy, setBusy] = useState(false);
  const { id, owner, reason, revived_as } = session;

  const start = async () => {
    setBusy(true);
    const started = await reviveSession(id);
    setBusy(false);
    if (started !== null) goTo(started);
  };

  return (
    <div class="lost" role="status">
      <p>{asSentence(reason ?? "The program was lost")}</p>
      {revived_as ? (
        <button type="button" class="plain" onClick={() => goTo(revived_as)}>
          Open the new terminal
        </button>
      ) : (
        owner === me.value?.user_id && (
          <button
            type="button"
            class="primary"
            title="Starts the same profile in the same directory"
            disabled={busy || connectionState.value.name !== "connected"}
            onClick={() => void start()}
          >
            Start again
          </button>
        )
      )}
    </div>
  );
}
