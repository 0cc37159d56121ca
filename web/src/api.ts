// Requests to the HTTP API, below the page's base and with its cookie.

import { RejoinError } from "rejoin";

/** Returns the address of a path below the page's base. */
export function pageUrl(path: string): URL {
  return new URL(path, document.baseURI);
}

/**
 * Sends a request. Returns the JSON of the response; null if it has no content.
 *
 * Rejects with a `RejoinError` for error responses, and like `fetch` for network errors.
 */
export async function fetchApi<Reply>(
  method: string,
  path: string,
  init: RequestInit = {},
): Promise<Reply> {
  const options = { method, credentials: "same-origin" as const, ...init };
  const response = await fetch(pageUrl(`api/v1/${path}`), options);
  if (!response.ok) throw await toError(response);

  return (response.status === 204 ? null : await response.json()) as Reply;
}

/** Converts a problem document (RFC 9457), or the response of a proxy that sends none. */
async function toError(response: Response): Promise<RejoinError> {
  const body: unknown = await response.json().catch(() => null);
  const problem = (body ?? {}) as {
    code?: string;
    title?: string;
    detail?: string;
    retryable?: boolean;
  };

  return new RejoinError({
    // A proxy in front of the server answers in a format of its own.
    code: problem.code ?? (response.status === 401 ? "authentication_failed" : "internal"),
    message:
      problem.detail || problem.title || `the server responded with status ${response.status}`,
    retryable: problem.retryable ?? response.status >= 500,
  });
}
