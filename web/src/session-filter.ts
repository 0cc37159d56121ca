// The filter of the list, as a query to the server and as a check of changed sessions.

import type { SessionInfo } from "rejoin";
import type { Me } from "./account";
import { hasEnded } from "./wording";

/** A filter of the session list. */
export interface Filter {
  readonly text: string;
  readonly state: "all" | "running" | "ended";
  /** True if an administrator sees the sessions of all users. */
  readonly everyone: boolean;
}

export const unfiltered: Filter = { text: "", state: "all", everyone: false };

/** Returns `true` if the filter hides any of the user's own sessions. */
export function isFiltering({ text, state }: Filter): boolean {
  return text !== "" || state !== "all";
}

/** Returns `true` if a session matches, by the same rules as the server. */
export function matches(session: SessionInfo, { text, state }: Filter): boolean {
  if (state !== "all" && (state === "ended") !== hasEnded(session.status)) return false;

  const { title, name, profile, owner, id } = session;
  const query = text.toLowerCase();
  return [title, name ?? "", profile, owner, id].some((field) =>
    field.toLowerCase().includes(query),
  );
}

/** Returns the query of a page. */
export function queryOf(
  { text, state, everyone }: Filter,
  user: Me | null | undefined,
  page: object,
): URLSearchParams {
  const filters = {
    ...(!everyone && user && { user: user.user_id }),
    ...(text !== "" && { q: text }),
    ...(state !== "all" && { state }),
  };

  const entries = Object.entries({ ...filters, ...page });
  return new URLSearchParams(entries.map(([key, value]) => [key, String(value)]));
}
