// The pages on the shared server, with a new user for each test.

import type { BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { afterEach, beforeEach, inject } from "vitest";
import { connected, goTo, openContext, openLoginLink, screenshotFailure } from "./browser";
import { NetworkProxy } from "./network-proxy";
import { runCommand } from "./rejoin";

/** The user, the network and the browser contexts of the current test. */
export class RejoinFixture {
  readonly server = inject("rejoin");
  /** Users share nothing but the server, so tests can run in parallel. */
  user = "";
  token = "";
  proxy!: NetworkProxy;
  #contexts: BrowserContext[] = [];

  /** The address of the pages, behind the proxy. */
  get home(): string {
    return `http://127.0.0.1:${this.proxy.port}/`;
  }

  async start(): Promise<void> {
    this.user = `user-${crypto.randomUUID().slice(0, 8)}`;
    this.token = runCommand(this.server, "token", "--user", this.user);
    this.proxy = await NetworkProxy.start(this.server.port);
  }

  async stop(): Promise<void> {
    // The pages first: they would reconnect and log errors while the proxy stops.
    for (const context of this.#contexts.splice(0)) await context.close();
    await this.proxy.stop();
  }

  /** Returns a login link, made with the options of `rejoin token`. */
  loginLink(...options: string[]): string {
    const output = runCommand(this.server, "token", "--link", ...options);
    return `${this.home}#login=${output.split("#login=")[1]}`;
  }

  /** Opens a page in its own context, as on another device. */
  async newPage(options: BrowserContextOptions = {}): Promise<Page> {
    const context = await openContext(options);
    this.#contexts.push(context);
    return context.newPage();
  }

  /** Opens a page in its own context, logged in as the test's user. */
  async logIn(fragment = "", options: BrowserContextOptions = {}): Promise<Page> {
    const page = await this.newPage(options);
    await openLoginLink(page, `${this.home}#login=${this.token}`);
    await connected(page);
    if (fragment !== "") await goTo(page, fragment);
    return page;
  }

  pages(): Page[] {
    return this.#contexts.flatMap((context) => context.pages());
  }
}

/** Registers the hooks of a fixture. */
export function useRejoin(): RejoinFixture {
  const fixture = new RejoinFixture();

  beforeEach(() => fixture.start());
  afterEach(async ({ task }) => {
    if (task.result?.state === "fail") await screenshotFailure(fixture.pages(), task.name);
    await fixture.stop();
  });

  return fixture;
}
