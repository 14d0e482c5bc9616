import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../support/free-port.ts";
import { CommandProcess } from "../support/command-process.ts";
import { ROOT } from "../support/repository.ts";
import { StartedProcess } from "../support/started-process.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import type { Tally } from "./tally.ts";

const PEERS = join(ROOT, "bench", "peers");
const READY_TIMEOUT_MS = 90_000;

/** What `millrace check` has to say of MLServer 1.7.1 with the runtime of `bench/peers`; everything else passes. */
const FAILED = [
  // One output of two: MLServer gives it as FP64.
  "inference, JSON, flat data",
  // Its answers are {"detail": …} or 500 without JSON; it passes over outputs that are not there.
  "a body that is not JSON: 4xx",
  "data that does not fill its shape: 4xx",
  "an unknown datatype: 4xx",
  "no inputs: 4xx",
  "an unknown output: 4xx",
];
const PASSED = [
  "the process lives",
  "the server is ready",
  "server metadata",
  "model metadata",
  "the model is ready",
  "unknown model: 4xx, error form",
  "nested data",
  "the request's id comes back",
  "one output, asked for by name",
  "two rows at a time are as each alone",
  "a body in gzip",
  "an answer in gzip",
];

type Document = {
  readonly checks: readonly { readonly name: string; readonly result: string; readonly detail: string }[];
  readonly latencies: readonly { readonly connections: number; readonly answers: number; readonly failures: number }[];
};

/** `millrace check` against a server that is not ours: what it finds there is known. */
export async function checkForeignServer(): Promise<Tally> {
  await promisify(execFile)(join(PEERS, "install"), ["mlserver"]);
  await using folder = await temporaryFolder();
  const port = await freePort();
  await using server = await startMlserver(folder.path, port);
  await awaitListening(port, server);
  const flags = [`http://127.0.0.1:${port}`, "--seconds", "1", "--json"];
  await using command = new StartedProcess({ argv: ["cli/src/main.ts", "check", ...flags] });
  const { code } = await command.awaitExit(READY_TIMEOUT_MS);
  const { checks, latencies } = JSON.parse(command.log.lines.join("\n")) as Document;
  const tally = { passed: 0, failed: 0 };
  const tell = (name: string, isRight: boolean, told: string): void => {
    tally[isRight ? "passed" : "failed"] += 1;
    console.log(`${isRight ? "ok    " : "FAILED"}  ${name.padEnd(62)} → ${told}`);
  };
  for (const { name, result, detail } of checks) {
    const wanted = PASSED.includes(name) ? "ok" : FAILED.includes(name) ? "failed" : "missing";
    tell(`millrace check: ${name}`, result === wanted, `${result} ${detail}`);
  }
  tell("millrace check: exit code", code === 1, String(code));
  for (const { connections, answers, failures } of latencies) {
    tell(`millrace check: ${connections} connections`, answers > 0 && failures === 0, `${answers} answers`);
  }
  return tally;
}

async function startMlserver(folder: string, port: number): Promise<CommandProcess> {
  const settings = {
    host: "127.0.0.1",
    http_port: port,
    grpc_port: await freePort(),
    metrics_port: await freePort(),
    metrics_dir: join(folder, "metrics"),
    environments_dir: join(folder, "environments"),
    parallel_workers: 0,
  };
  const model = {
    name: "digits",
    implementation: "serve_mlserver.Rows",
    platform: "onnxruntime",
    inputs: [{ name: "image", datatype: "FP32", shape: [-1, 64] }],
    outputs: [{ name: "output", datatype: "FP32", shape: [-1, 11] }],
  };
  await mkdir(join(folder, "model"));
  await writeFile(join(folder, "settings.json"), JSON.stringify(settings));
  await writeFile(join(folder, "model", "model-settings.json"), JSON.stringify(model));
  return new CommandProcess({
    argv: [join(ROOT, ".cache", "peers", "mlserver", "bin", "mlserver"), "start", folder],
    env: {
      MODEL_FILE: join(ROOT, "models", "digits", "1", "model.onnx"),
      PORT: String(port),
      PYTHONPATH: PEERS,
      PYTHONDONTWRITEBYTECODE: "1",
    },
  });
}

/** MLServer's log says when its model is there. */
async function awaitListening(port: number, server: CommandProcess): Promise<void> {
  const options = { timeoutMs: READY_TIMEOUT_MS };
  await Promise.all([
    server.log.waitFor(new RegExp(`running on http://127\\.0\\.0\\.1:${port}`), options),
    server.log.waitFor(/Loaded model 'digits' successfully/, options),
  ]);
}
