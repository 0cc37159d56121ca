// Asking the server over HTTP: below the page's base, with its cookie.

import { RejoinError } from "rejoin";

/** Where something of the server is, whatever the path that it is served under. */
export function pageUrl(path: string): URL {
  return new URL(path, document.baseURI);
}

/** What the answer carries; null if it carries nothing. Rejects with a `RejoinError`, or as `fetch` does. */
export async function exchange<Answer>(method: string, path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(pageUrl(`api/v1/${path}`), { method, credentials: "same-origin", ...init });
  if (!response.ok) throw await refusal(response);
  return (response.status === 204 ? null : await response.json()) as Answer;
}

/** The server's problem (RFC 9457); somebody in between may have answered instead. */
async function refusal(response: Response): Promise<RejoinError> {
  const said: unknown = await response.json().catch(() => null);
  const problem = (said ?? {}) as { code?: string; title?: string; detail?: string; retryable?: boolean };
  return new RejoinError({
    code: problem.code ?? (response.status === 401 ? "authentication_failed" : "internal"),
    message: problem.detail || problem.title || `the server answered with status ${response.status}`,
    retryable: problem.retryable ?? response.status >= 500,
  });
}
