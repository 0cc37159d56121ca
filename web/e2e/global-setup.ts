// Starts the browser and the server that all test files share.

import type { TestProject } from "vitest/node";
import { startBrowser } from "./browser";
import { type RejoinServer, startRejoin } from "./rejoin";

declare module "vitest" {
  export interface ProvidedContext {
    browserEndpoint: string;
    rejoin: RejoinServer;
  }
}

/** Starts both and returns a function that stops them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Once for all files: starting both takes longer than most tests.
  const browser = await startBrowser();
  const { server, stop } = await startRejoin();
  project.provide("browserEndpoint", browser.wsEndpoint());
  project.provide("rejoin", server);

  return async () => {
    await browser.close();
    await stop();
  };
}
