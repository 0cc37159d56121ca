// Browser events after which a connection should be checked at once.

import type { Unsubscribe } from "./emitter.js";

/** Calls `wake` when the network, the page or its tab returns. Does nothing outside browsers. */
export function onWake(wake: () => void): Unsubscribe {
  if (typeof window === "undefined" || typeof document === "undefined") return () => {};

  const pageshow = (event: PageTransitionEvent) => {
    // Only a page restored from the back/forward cache has an old connection.
    if (event.persisted) wake();
  };
  const visibility = () => {
    if (document.visibilityState === "visible") wake();
  };

  window.addEventListener("online", wake);
  window.addEventListener("pageshow", pageshow);
  document.addEventListener("visibilitychange", visibility);

  return () => {
    window.removeEventListener("online", wake);
    window.removeEventListener("pageshow", pageshow);
    document.removeEventListener("visibilitychange", visibility);
  };
}
