// A network between the pages and the server that can be broken.

import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class Proxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #broken = false;
  /** How much more goes to the pages until it breaks. */
  #left = Infinity;

  private constructor(target: number) {
    this.#server = createServer((near) => {
      if (this.#broken) {
        near.destroy();
        return;
      }
      const far = connect(target, "127.0.0.1");
      far.on("data", ({ length }) => this.#count(length));
      this.#join(near, far);
      this.#join(far, near);
    });
  }

  static async start(target: number): Promise<Proxy> {
    const proxy = new Proxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends all connections, and all that are made until `mend()`. */
  cut(): void {
    this.#broken = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Cuts when so many more bytes went to the pages. */
  cutAfter(bytes: number): void {
    this.#left = bytes;
  }

  mend(): void {
    this.#broken = false;
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #count(bytes: number): void {
    this.#left -= bytes;
    if (this.#left > 0) return;
    this.#left = Infinity;
    this.cut();
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.pipe(to);
    from.on("error", () => {});
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}
