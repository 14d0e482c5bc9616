import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "@millrace/runtime";
import { type CurvePage, type KeptCurve, parseCurvePage } from "@millrace/scheduling";

/**
 * Where a worker keeps its curves over restarts: a file for each kind of worker and model, replaced as a whole. Workers may
 * share a folder: those of one kind measure the same, and the last one counts. What cannot be read or written is told once in
 * the log, and costs a sweep.
 */
export class CurveFolder {
  readonly #dir: string;
  readonly #logger: Logger;
  /** Of no other worker: in containers all may have one process id. */
  readonly #suffix = `${randomUUID()}.tmp`;
  #hasFailed = false;
  #writing: Promise<void> = Promise.resolve();

  /** `dir`: made where it is missing; "" keeps nothing. */
  constructor(dir: string, logger: Logger) {
    this.#dir = dir;
    this.#logger = logger;
  }

  /** The curves of a kind; none where there are none, or the file is damaged or of another kind. Never throws. */
  async read(fingerprint: string): Promise<KeptCurve[]> {
    if (this.#dir === "") return [];
    const path = join(this.#dir, fileOf(fingerprint));
    try {
      const curves = parseCurvePage(await readFile(path, "utf8"));
      const foreign = curves.find((curve) => curve.fingerprint !== fingerprint);
      if (foreign === undefined) return curves;
      this.#logger.warn(
        { path, reason: `is of another kind of worker: ${foreign.fingerprint}` },
        "curves are not used",
      );
    } catch (error) {
      const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!isMissing) this.#logger.warn({ path, reason: messageOf(error) }, "curves are not used");
    }
    return [];
  }

  /** Writes the curves of some kinds, each so that a reader finds the old file or the new one, whole. Never throws. */
  write(changed: readonly { readonly fingerprint: string; readonly page: CurvePage }[]): Promise<void> {
    return (this.#writing = this.#writing.then(() => this.#write(changed)));
  }

  async #write(changed: readonly { readonly fingerprint: string; readonly page: CurvePage }[]): Promise<void> {
    if (this.#dir === "") return;
    for (const { fingerprint, page } of changed) {
      const path = join(this.#dir, fileOf(fingerprint));
      const unfinished = `${path}.${this.#suffix}`;
      try {
        await mkdir(this.#dir, { recursive: true });
        await writeFile(unfinished, JSON.stringify(page), { flush: true });
        await rename(unfinished, path);
        this.#hasFailed = false;
      } catch (error) {
        await rm(unfinished, { force: true }).catch(() => {});
        if (!this.#hasFailed) this.#logger.warn({ path, reason: messageOf(error) }, "curves cannot be kept");
        this.#hasFailed = true;
      }
    }
  }
}

function fileOf(fingerprint: string): string {
  return `${fingerprint.replaceAll(/[^\w.@+-]/g, "_")}.json`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
