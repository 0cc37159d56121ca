// The moments at which a browser's page should look after its connection at once.

import type { Unsubscribe } from "./emitter.js";

/** Calls `wake` when the network, the page or its tab comes back; does nothing outside a browser. */
export function onWake(wake: () => void): Unsubscribe {
  if (typeof window === "undefined" || typeof document === "undefined") return () => {};
  const pageshow = (event: PageTransitionEvent) => {
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
