import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, onTestFailed, test } from "vitest";
import { until, within } from "./support/bounded.ts";
import { CommandProcess } from "./support/command-process.ts";
import { get, post } from "./support/inference-client.ts";
import { postBytes, RawConnection } from "./support/raw-connection.ts";
import { ROOT } from "./support/repository.ts";
import { simulatedRequest, writeSimulatedModel } from "./support/simulated-model.ts";
import { StartedProcess } from "./support/started-process.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

/** How long a run of `slow` takes; one of `quick` takes no time. */
const SLOW_RUN_MS = 800;
const CTRL_C = "\x03";

const started = new AsyncDisposableStack();
/** A folder for each model, as a slow one makes the start slow. */
const folders = { slow: "", quick: "" };

beforeAll(async () => {
  for (const [name, runMs] of [["slow", SLOW_RUN_MS] as const, ["quick", 0] as const]) {
    folders[name] = started.use(await temporaryFolder()).path;
    await writeSimulatedModel(folders[name], { name, runMs });
  }
});

afterAll(async () => {
  await started.disposeAsync();
});

/** A request of which the gateway has taken the head: it is in flight, whatever comes now. Its body is still to be sent. */
async function openRequest(
  url: string,
  model: keyof typeof folders,
): Promise<{ readonly connection: RawConnection; readonly body: string }> {
  const connection = new RawConnection(url);
  const [head = "", body = ""] = postBytes(`/v2/models/${model}/infer`, simulatedRequest(1), [
    "Expect: 100-continue",
  ]).split("\r\n\r\n");
  await connection.write(`${head}\r\n\r\n`);
  expect((await connection.answer()).status).toBe(100);
  return { connection, body };
}

test.for([
  ["an example file", join(ROOT, "models"), '"name":"label","datatype":"INT64","shape":[1],"data":[0]'],
  ["zeros", "", '"name":"y","datatype":"FP32","shape":[1,2],"data":[0,0]'],
] as const)("the ready line is followed by a curl line with %s that works as printed", async ([, folder, answer]) => {
  await using system = await DevSystem.start({ models: folder || folders.quick });
  onTestFailed(() => console.error(system.process.log.tail()));
  expect(system.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  const curl = await system.process.log.waitFor(/^curl /, { timeoutMs: 5_000 });
  const { stdout } = await promisify(execFile)("sh", ["-c", curl], { cwd: ROOT, timeout: 10_000 });
  expect(stdout).toContain(answer);
  await system.stop();
});

test("whatever crashes is started again on its ports, and the log says so", { timeout: 60_000 }, async () => {
  await using system = await DevSystem.start({ models: join(ROOT, "models") });
  onTestFailed(() => console.error(system.process.log.tail()));
  const ask = () => post(`${system.url}/predict`, { data: Array.from({ length: 64 }, () => 0) });
  expect((await ask()).status).toBe(200);
  for (const name of ["worker-1", "gateway-1", "broker-1"]) {
    const { pid, back } = system.kill(name);
    await back;
    const { log } = system.process;
    expect(log.count(new RegExp(`ERROR .*${name} was ended by SIGKILL after .* starting it again in \\d+ ms`))).toBe(1);
    const statuses = new Set<number>();
    await until(10_000, `an answer after the end of ${name}`, async () => {
      const { status } = await ask();
      statuses.add(status);
      return status === 200;
    });
    // Until all know each other again a request may be refused; none is told that its model does not exist.
    expect([200, 503]).toEqual(expect.arrayContaining([...statuses]));
    expect((await get(`${system.addresses[name]?.["admin"]}/livez`)).status).toBe(200);
    expect(system.pidOf(name)).not.toBe(pid);
  }
  await system.stop();
});

test("Ctrl-C in a terminal: what is in flight is answered, what is new is refused, exit code 0", async () => {
  const millrace = join(ROOT, "node_modules", ".bin", "millrace");
  // `script` gives it a terminal of its own and passes on what is typed. Ctrl-C reaches the shell as well, which goes on.
  const command = `trap : INT; ${millrace} dev --port 0 --models ${folders.slow}; echo "exit code $?"`;
  const env = { NO_COLOR: "1", PATH: `${join(ROOT, "node_modules", ".bin")}:${process.env["PATH"]}` };
  await using terminal = new CommandProcess({ argv: ["script", "-qfec", command, "/dev/null"], env });
  onTestFailed(() => console.error(terminal.log.tail()));
  const ready = await terminal.log.waitFor(/^ready /, { timeoutMs: 30_000 });
  const url = ready.trim().split(" ")[1] ?? "";
  const { connection, body } = await openRequest(url, "slow");
  const idle = new RawConnection(url);
  await idle.write("GET /livez HTTP/1.1\r\nHost: test\r\n\r\n");
  expect((await idle.answer()).status).toBe(200);

  terminal.type(CTRL_C);
  await terminal.log.waitFor(/gateway-1 \| draining/);
  await connection.write(body);
  using late = new RawConnection(url);
  await late.write(postBytes("/v2/models/slow/infer", simulatedRequest(1)));
  const refusal = await late.answer();
  expect(refusal.status, refusal.body).toBe(503);
  expect(JSON.parse(refusal.body)).toEqual({ error: expect.stringMatching(/./), code: "draining" });
  expect(refusal.headers["connection"]).toBe("close");
  expect(refusal.headers["retry-after"]).toMatch(/^\d+$/);
  const readiness = new RawConnection(url);
  await readiness.write("GET /readyz HTTP/1.1\r\nHost: test\r\n\r\n");
  expect((await readiness.answer()).status).toBe(503);

  const answer = await connection.answer();
  expect(answer.status, answer.body).toBe(200);
  expect(answer.headers["connection"]).toBe("close");
  expect(await idle.ended).toEqual({ isReset: false });
  await within(10_000, "the end", terminal.exited);
  expect(terminal.log.count(/^exit code 0/), terminal.log.tail()).toBe(1);
  expect(terminal.tree()).toEqual([]);
});

test("one more Ctrl-C, or the key held down, ends everything at once", async () => {
  await using system = await DevSystem.start({ models: folders.quick });
  onTestFailed(() => console.error(system.process.log.tail()));
  // Its body never comes, so the drain waits.
  const { connection } = await openRequest(system.url, "quick");
  system.process.signal("SIGINT", { toGroup: true });
  await system.process.log.waitFor(/gateway-1 \| draining/);
  let isOver = false;
  void system.process.exited.then(() => (isOver = true));
  // What comes right behind the first one is the same keystroke.
  await until(3_000, "the end", () => {
    const isThere = system.process.tree().some(({ pid }) => pid === system.process.pid);
    if (isThere) system.process.signal("SIGINT", { toGroup: true });
    return isOver;
  });
  expect(await system.process.exited).toEqual({ code: 130, signal: null });
  expect(system.process.tree()).toEqual([]);
  await connection.ended;
});

test("without its parent every process finishes what runs, and ends", async () => {
  await using system = await DevSystem.start({ models: folders.slow });
  onTestFailed(() => console.error(system.process.log.tail()));
  const url = `${system.url}/v2/models/slow/infer`;
  const running = post(url, simulatedRequest(1));
  // It cannot be in time: so it is known, when it is told so, that the other one runs.
  const behind = await post(url, simulatedRequest(1), { "x-request-timeout-ms": String(SLOW_RUN_MS / 4) });
  // Shed where the two came together, expired where the other was running already.
  expect([429, 504], behind.text).toContain(behind.status);
  system.process.signal("SIGKILL");
  // All drain at once: the broker may be gone before its last answer has been read.
  expect([200, 503]).toContain((await running).status);
  await until(5_000, "the end of all processes", () => system.process.tree().length === 0);
});

/** Runs `millrace dev`, which must end by itself with an error. */
async function failToStart(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number | null; readonly text: string }> {
  await using started = new StartedProcess({ argv: ["cli/src/main.ts", "dev", ...args], env });
  const { code } = await started.awaitExit(20_000);
  expect(started.tree()).toEqual([]);
  return { code, text: started.log.tail() };
}

test.concurrent("a port in use is told, without a stack, and nothing is left", async ({ expect }) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const { port } = taken.address() as AddressInfo;
  const others = ["--gateway-port", "0", "--worker-port", "0", "--admin-port", "0"];
  const { code, text } = await failToStart(["--port", String(port), "--models", folders.quick, ...others]);
  taken.close();
  expect(code, text).toBe(1);
  expect(text).toContain(`HTTP cannot listen on 127.0.0.1:${port}: listen EADDRINUSE`);
  expect(text).not.toMatch(/\| +at /);
});

test.concurrent.for<[string, string[], Record<string, string>, RegExp]>([
  ["an unknown option", ["--modles", "x"], {}, /^unknown option --modles.*--models/],
  [
    "an unknown variable",
    [],
    { MILLRACE_MODLES: "x" },
    /^unknown environment variable MILLRACE_MODLES.*MILLRACE_MODELS/,
  ],
  ["a value that is not allowed", ["--workers", "none"], {}, /^--workers: "none" is not allowed; expected integer/],
  ["a value that only a role knows to refuse", ["--slots", "0"], {}, /^--slots: "0" is not allowed; expected integer/],
  ["a folder that is missing", ["--models", "nowhere"], {}, /^--models nowhere: there is no such folder$/],
])("%s is told in one line, before anything is started", async ([, args, env, line], { expect }) => {
  const { code, text } = await failToStart(["--port", "0", ...args], env);
  expect(code, text).toBe(2);
  expect(text.trimEnd().split("\n"), text).toEqual([expect.stringMatching(line)]);
});

test.concurrent("a folder in which nothing can serve is told with every reason", async ({ expect }) => {
  await using folder = await temporaryFolder();
  await writeFile(join(folder.path, "broken.onnx"), "no ONNX");
  await mkdir(join(folder.path, "empty"));
  const { code, text } = await failToStart(["--port", "0", "--models", folder.path]);
  expect(code, text).toBe(1);
  expect(text).toMatch(/no model can serve: broken: .+; empty: no model file/);
});

test.concurrent("a folder without models is told", async ({ expect }) => {
  await using folder = await temporaryFolder();
  const { code, text } = await failToStart(["--port", "0", "--models", folder.path]);
  expect(code, text).toBe(1);
  expect(text).toContain("there is no model in the repository");
});
