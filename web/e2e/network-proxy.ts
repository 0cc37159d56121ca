// A TCP proxy between pages and server whose connections a test can break.

import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** A proxy on a free port. */
export class NetworkProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #broken = false;
  /** The bytes to the pages until the proxy cuts. */
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

  static async start(target: number): Promise<NetworkProxy> {
    const proxy = new NetworkProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Breaks all connections, and new ones until `mend()`. */
  cut(): void {
    this.#broken = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Cuts after a number of bytes to the pages. */
  cutAfter(bytes: number): void {
    this.#left = bytes;
  }

  /** Accepts connections again. */
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
