import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { StartedProcess } from "../../tests/support/started-process.ts";
import { freePort } from "../../tests/support/free-port.ts";
import { pinned } from "../pinned.ts";
import type { SideRow } from "../side.ts";
import { BATCH_ROWS_MAX, pythonSide } from "./python-peer.ts";

const program = (name: string): string => join(import.meta.dirname, name);

/** The model in `node:http`, in so many processes. */
function monolith(name: string, processes: number): SideRow {
  return {
    name,
    form: "oip",
    isTimed: false,
    settings: processes === 1 ? "one process" : `node:cluster, ${processes} processes`,
    advice: "",
    missing: () => "",
    start: async ({ file }) => {
      const argv =
        processes === 1
          ? ["bench/peers/node-monolith.ts", file]
          : ["bench/peers/node-cluster.ts", file, String(processes)];
      const started = new StartedProcess({ argv });
      try {
        const { http = "" } = await started.ready;
        return Object.assign(started, { urls: [http], processes: () => started.tree() });
      } catch (error) {
        await started[Symbol.asyncDispose]();
        throw error;
      }
    },
  };
}

/** mosec that is told the deadline of the open loops: it gives up what is older. */
export const IMPATIENT = "mosec, timeout 100 ms";

function mosec(workers: number, timeoutMs = 30_000): SideRow {
  const plain = workers === 1 ? "mosec" : `mosec × ${workers}`;
  const side = pythonSide({
    name: timeoutMs === 100 ? IMPATIENT : plain,
    environment: "mosec",
    workers,
    settings: `num=${workers}, max_batch_size=${BATCH_ROWS_MAX}, max_wait_time=1 (ms), --timeout ${timeoutMs}, orjson in the worker`,
    advice: "https://mosecorg.github.io/mosec/",
    command: async ({ port }) => ({
      argv: ["python", program("serve_mosec.py"), "--address", "127.0.0.1", "--port", String(port)].concat([
        "--log-level",
        "error",
        "--timeout",
        String(timeoutMs),
        "--capacity",
        "4096",
      ]) as [string, ...string[]],
    }),
  });
  return timeoutMs === 100 ? { ...side, capacityOf: plain } : side;
}

function uvicorn(name: string, app: string, workers: number): SideRow {
  return pythonSide({
    name: workers === 1 ? name : `${name} × ${workers}`,
    environment: "fastapi",
    workers,
    settings: `uvicorn[standard] (uvloop, httptools), ${workers} process${workers === 1 ? "" : "es"}, no access log, the body through orjson`,
    advice: "https://fastapi.tiangolo.com/deployment/server-workers/",
    command: async ({ port }) => ({
      argv: [
        "python",
        "-m",
        "uvicorn",
        app,
        "--port",
        String(port),
        "--workers",
        String(workers),
        "--no-access-log",
        "--log-level",
        "warning",
        "--timeout-keep-alive",
        "75",
        "--backlog",
        "4096",
      ],
    }),
  });
}

const flask = pythonSide({
  name: "Flask",
  environment: "flask",
  workers: 2,
  settings: "gunicorn, gthread, 2 workers × 4 threads, keep-alive 75 s",
  advice: "https://gunicorn.org/design",
  command: async ({ port }) => ({
    argv: [
      "python",
      "-m",
      "gunicorn",
      "serve_flask:app",
      "--bind",
      `127.0.0.1:${port}`,
      "--worker-class",
      "gthread",
      "--workers",
      "2",
      "--threads",
      "4",
      "--keep-alive",
      "75",
      "--backlog",
      "4096",
      "--log-level",
      "error",
    ],
  }),
});

const litserve = pythonSide({
  name: "LitServe",
  environment: "litserve",
  isRestless: true,
  settings: `max_batch_size=${BATCH_ROWS_MAX}, batch_timeout=0.001, fast_queue, one API server, one worker, no access log`,
  advice: "https://lightning.ai/docs/litserve/features/batching",
  command: async () => ({ argv: ["python", program("serve_litserve.py")] }),
});

const bentoml = pythonSide({
  name: "BentoML",
  environment: "bentoml",
  form: "lists",
  settings: `workers=1, batchable, max_batch_size=${BATCH_ROWS_MAX}, max_latency_ms=60000 (its default), no access log, no metrics`,
  advice: "https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html",
  command: async ({ port, folder }) => ({
    argv: ["bentoml", "serve", "serve_bentoml:Rows", "--host", "127.0.0.1", "--port", String(port)].concat([
      "--working-dir",
      import.meta.dirname,
    ]) as [string, ...string[]],
    env: { BENTOML_HOME: folder, BENTOML_DO_NOT_TRACK: "true" },
  }),
});

const mlserver = pythonSide({
  name: "MLServer",
  environment: "mlserver",
  form: "oip",
  settings: `a runtime of our own, parallel_workers=0, max_batch_size=${BATCH_ROWS_MAX}, max_batch_time=0.001, no gzip, no log of requests`,
  advice: "https://docs.seldon.ai/mlserver/user-guide/adaptive-batching",
  command: async ({ port, folder, model }) => {
    const [grpcPort, metricsPort] = [await freePort(), await freePort()];
    const settings = {
      host: "127.0.0.1",
      http_port: port,
      grpc_port: grpcPort,
      metrics_port: metricsPort,
      metrics_dir: join(folder, "metrics"),
      environments_dir: join(folder, "environments"),
      parallel_workers: 0,
      debug: false,
      gzip_enabled: false,
    };
    const modelSettings = {
      name: model.name,
      implementation: "serve_mlserver.Rows",
      max_batch_size: BATCH_ROWS_MAX,
      max_batch_time: 0.001,
    };
    await mkdir(join(folder, "model"));
    await writeFile(join(folder, "settings.json"), JSON.stringify(settings));
    await writeFile(join(folder, "model", "model-settings.json"), JSON.stringify(modelSettings));
    return { argv: ["mlserver", "start", folder] };
  },
});

const rayServe = pythonSide({
  name: "Ray Serve",
  environment: "ray",
  isRestless: true,
  settings: `one replica, @serve.batch(max_batch_size=${BATCH_ROWS_MAX}, batch_wait_timeout_s=0.001), max_ongoing_requests=1024, RAY_SERVE_THROUGHPUT_OPTIMIZED=1, its own proxy (not HAProxy), no access log`,
  advice: "https://docs.ray.io/en/latest/serve/advanced-guides/performance.html",
  command: async ({ folder }) => ({
    argv: ["python", program("serve_ray.py")],
    env: { RAY_FOLDER: folder, RAY_SERVE_THROUGHPUT_OPTIMIZED: "1", RAY_USAGE_STATS_ENABLED: "0" },
  }),
});

/** The reference of every comparison, and the same once more: the ratio of the two is what the machine does to equals. */
export const REFERENCE = "node:http";
export const CONTROL = "node:http again";

/** Every peer, each tuned as its own documentation advises. */
export const PEERS: readonly SideRow[] = [
  monolith(REFERENCE, 1),
  monolith(CONTROL, 1),
  pinned(monolith(REFERENCE, 1), () => 0),
  monolith("node:cluster × 2", 2),
  mosec(1),
  // Its front in Rust, and its worker.
  pinned(mosec(1), (name) => (name === "mosec" ? 0 : 1)),
  mosec(1, 100),
  mosec(2),
  uvicorn("FastAPI", "serve_fastapi:app", 1),
  uvicorn("FastAPI", "serve_fastapi:app", 2),
  uvicorn("FastAPI with batching", "serve_fastapi_batching:app", 1),
  uvicorn("FastAPI with batching", "serve_fastapi_batching:app", 2),
  flask,
  litserve,
  bentoml,
  mlserver,
  rayServe,
];
