// The pages over an in-memory server, started for each test of a file.

import type { BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { afterEach, beforeEach } from "vitest";
import type { TestServer } from "../../client/test/test-server";
import type { TestSession } from "../../client/test/test-session";
import { connected, goTo, openContext, openLoginLink, screenshotFailure } from "./browser";
import { type PagesServer, servePages } from "./pages-server";

/** The server and the browser context of the current test. */
export class PagesFixture {
  pages!: PagesServer;
  context!: BrowserContext;

  get server(): TestServer {
    return this.pages.server;
  }

  async start(): Promise<void> {
    this.pages = await servePages();
    this.context = await openContext();
  }

  async stop(): Promise<void> {
    await this.context.close();
    await this.pages.server.stop();
  }

  /** Serves the pages below another base path. */
  async serveBelow(base: string): Promise<void> {
    await this.pages.server.stop();
    this.pages = await servePages(base);
  }

  /** Replaces the browser context by one with other options. */
  async reopenContext(options: BrowserContextOptions): Promise<void> {
    await this.context.close();
    this.context = await openContext(options);
  }

  /** Opens a page that is not logged in. */
  newPage(): Promise<Page> {
    return this.context.newPage();
  }

  /** Opens a page with a login link and waits until it is connected. */
  async logIn(fragment = ""): Promise<Page> {
    const page = await this.newPage();
    await openLoginLink(page, `${this.pages.home}#login=good`);
    await connected(page);
    if (fragment !== "") await goTo(page, fragment);
    return page;
  }

  /** Opens a page that shows a session. */
  async openTerminal({ info }: TestSession): Promise<Page> {
    const page = await this.logIn(`#/s/${info.id}`);
    await page.locator(".xterm-screen").waitFor();
    return page;
  }
}

/** Registers the hooks of a fixture. */
export function usePages(): PagesFixture {
  const fixture = new PagesFixture();

  beforeEach(() => fixture.start());
  afterEach(async ({ task }) => {
    if (task.result?.state === "fail") {
      await screenshotFailure(fixture.context.pages(), task.name);
    }

    await fixture.stop();
  });

  return fixture;
}
