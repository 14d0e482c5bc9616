import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { freePort } from "./free-port.ts";
import { LineLog } from "./line-log.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/** A port that was free may be taken by the time that it is used. */
const ATTEMPTS = 3;

/** A real redis-server on a free port of the loopback address, without a disk. Leaving its scope ends it. */
export class RedisServer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #folder: AsyncDisposable;
  readonly port: number;

  private constructor(child: ChildProcess, folder: AsyncDisposable, port: number) {
    this.#child = child;
    this.#folder = folder;
    this.port = port;
  }

  /** @throws Error that says what to install where there is none. */
  static async start(port = 0): Promise<RedisServer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await RedisServer.#startOnce(port === 0 ? await freePort() : port);
      } catch (error) {
        if (attempt >= ATTEMPTS || (error instanceof Error && error.message.includes("apt-get"))) throw error;
      }
    }
  }

  static async #startOnce(port: number): Promise<RedisServer> {
    const folder = await temporaryFolder();
    const argv = [
      "--port",
      String(port),
      "--bind",
      "127.0.0.1",
      "--save",
      "",
      "--appendonly",
      "no",
      "--dir",
      folder.path,
    ];
    const child = spawn("redis-server", argv, { stdio: ["ignore", "pipe", "pipe"] });
    const log = new LineLog();
    log.read(child.stdout);
    log.read(child.stderr);
    child.on("error", ({ message }) => log.end(message));
    child.on("close", (code) => log.end(`redis-server ended with ${code}`));
    try {
      await log.waitFor(/Ready to accept connections/);
      return new RedisServer(child, folder, port);
    } catch (error) {
      await folder[Symbol.asyncDispose]();
      if (child.pid === undefined)
        throw new Error("no redis-server here: apt-get install redis-server", { cause: error });
      throw error;
    }
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Holds it still: it answers nothing, and its connections stay open. */
  stop(): void {
    this.#child.kill("SIGSTOP");
  }

  /** Lets it go on. */
  resume(): void {
    this.#child.kill("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const closed = once(this.#child, "close");
      this.#child.kill("SIGKILL");
      await closed;
    }
    await this.#folder[Symbol.asyncDispose]();
  }
}
