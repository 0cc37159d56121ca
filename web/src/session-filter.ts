// Which sessions the list shows: asked of the server, and of what it says of changes.

import type { SessionInfo } from "rejoin";
import type { Me } from "./account";
import { hasEnded } from "./wording";

export interface Filter {
  readonly text: string;
  readonly state: "all" | "running" | "ended";
  /** Whether an administrator sees the sessions of all users. */
  readonly everyone: boolean;
}

export const unfiltered: Filter = { text: "", state: "all", everyone: false };

/** Whether the list hides sessions of the person's own. */
export function hides({ text, state }: Filter): boolean {
  return text !== "" || state !== "all";
}

/** As the server does. */
export function matches(session: SessionInfo, { text, state }: Filter): boolean {
  if (state !== "all" && (state === "ended") !== hasEnded(session.status)) return false;
  const { title, name, profile, owner, id } = session;
  const wanted = text.toLowerCase();
  return [title, name ?? "", profile, owner, id].some((shown) => shown.toLowerCase().includes(wanted));
}

/** The query of a page. */
export function queryOf({ text, state, everyone }: Filter, asker: Me | null | undefined, page: object): URLSearchParams {
  const filters = {
    ...(!everyone && asker && { user: asker.user_id }),
    ...(text !== "" && { q: text }),
    ...(state !== "all" && { state }),
  };
  return new URLSearchParams(Object.entries({ ...filters, ...page }).map(([key, value]) => [key, String(value)]));
}
