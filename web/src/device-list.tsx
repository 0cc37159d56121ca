// The page of devices: the user's connections and browser sessions, and the buttons to end them.

import { useEffect } from "preact/hooks";
import { device } from "./account";
import { Bar } from "./bar";
import { connectionState } from "./connection";
import {
  type BrowserSession,
  browserSessions,
  type ConnectionInfo,
  connections,
  type Device,
  disconnect,
  disconnectDevice,
  groupByDevice,
  logOutBrowser,
  moreConnections,
  refreshConnections,
  watchDevices,
} from "./devices";
import { useNow } from "./status";
import { age, shortAgent } from "./wording";

/** Presence reports devices only: connections and their activity need requests. */
const REFRESH_MS = 5_000;

export function DeviceList() {
  const now = useNow(REFRESH_MS);
  useEffect(watchDevices, []);
  useEffect(() => {
    // A hidden page needs no current times.
    if (document.visibilityState === "visible") void refreshConnections();
  }, [now]);

  const list = connections.value;
  const here = device().id;

  return (
    <>
      <Bar>
        <h1 class="title">Devices</h1>
      </Bar>
      <div class="devices">
        {list !== null && (
          <>
            <p class="faint">
              Devices that are connected or logged in as you. A disconnected device can connect
              again. A browser that you log out has to log in again.
            </p>
            {groupByDevice(list, browserSessions.value ?? [], here).map((found) => (
              <DeviceCard key={found.id ?? ""} device={found} here={found.id === here} now={now} />
            ))}
            {list.length === 0 && <p class="faint">No devices are connected.</p>}
            {moreConnections.value && (
              <p class="faint">You have more connections than are listed here.</p>
            )}
          </>
        )}
      </div>
    </>
  );
}

function DeviceCard({ device, here, now }: { device: Device; here: boolean; now: number }) {
  const { id, name, connections: list, browserSessions } = device;
  const title = id === null ? "Unknown device" : name || id;

  return (
    <section class="device" aria-label={title}>
      <header>
        <div class="device-name">
          <h2 class="ellipsis">{title}</h2>
          {id !== null && (
            <p class="faint device-id ellipsis">{here ? `this browser · ${id}` : id}</p>
          )}
        </div>
        {id !== null && list.length > 0 && (
          <button type="button" class="plain" onClick={() => void disconnectDevice(id)}>
            Disconnect device
          </button>
        )}
      </header>
      <ul>
        {list.map((info) => (
          <ConnectionEntry key={info.id} info={info} now={now} />
        ))}
        {browserSessions.map((session) => (
          <BrowserSessionEntry key={session.id} session={session} now={now} />
        ))}
      </ul>
    </section>
  );
}

function ConnectionEntry({ info, now }: { info: ConnectionInfo; now: number }) {
  const state = connectionState.value;
  const here = state.name === "connected" && state.auth.connection_id === info.id;
  const agent = shortAgent(info.user_agent);
  const origin = [info.address, info.role_context].filter(Boolean).join(" · ");

  return (
    <li>
      <div class="connection">
        <p class="ellipsis" title={info.user_agent ?? ""}>
          {agent}
          {here && <span class="faint"> · this page</span>}
        </p>
        <p class="faint connection-details">
          {origin !== "" && <span>{origin}</span>}
          <span>
            connected <Age time={info.connected_at} now={now} />
          </span>
          <span>
            last active <Age time={info.last_heard_at} now={now} />
          </span>
        </p>
      </div>
      <button
        type="button"
        class="link"
        aria-label={`Disconnect ${agent} ${info.id}`}
        onClick={() => void disconnect(info.id)}
      >
        Disconnect
      </button>
    </li>
  );
}

function BrowserSessionEntry({ session, now }: { session: BrowserSession; now: number }) {
  const agent = shortAgent(session.user_agent);

  return (
    <li class="browser-session">
      <div class="connection">
        <p class="ellipsis" title={session.user_agent ?? ""}>
          Login
          <span class="faint"> · {session.current ? "this browser" : agent}</span>
        </p>
        <p class="faint connection-details">
          {session.address !== null && <span>{session.address}</span>}
          <span>
            logged in <Age time={session.created_at} now={now} />
          </span>
          <span>
            last used <Age time={session.last_used_at} now={now} />
          </span>
        </p>
      </div>
      <button
        type="button"
        class="link"
        aria-label={`Log out ${agent} ${session.id}`}
        onClick={() => void logOutBrowser(session)}
      >
        Log out
      </button>
    </li>
  );
}

function Age({ time, now }: { time: number; now: number }) {
  const ago = age(time, now);

  return (
    <time dateTime={new Date(time).toISOString()} title={new Date(time).toLocaleString()}>
      {ago === "just now" ? ago : `${ago} ago`}
    </time>
  );
}
