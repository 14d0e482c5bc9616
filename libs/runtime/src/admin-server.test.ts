import { afterEach, expect, test } from "vitest";
import { AdminFault, type AdminServer, type Readiness, startAdminServer } from "./admin-server.ts";

let server: AdminServer;
let readiness: Readiness = { ready: false, reason: "loading" };
afterEach(() => server.close());

async function start(): Promise<void> {
  server = await startAdminServer({
    host: "127.0.0.1",
    port: 0,
    isReady: () => readiness,
    routes: {
      "/models": () => ["digits"],
      "/asked": (query) => {
        if (query.get("limit") === "0")
          throw new AdminFault({ status: 400, code: "invalid_request", text: "no limit" });
        return [...query];
      },
      "/broken": () => {
        throw new Error("no");
      },
    },
    handlers: {
      "/text": (_request, response) => void response.writeHead(200, { "content-type": "text/plain" }).end("words"),
      "/refused": () => {
        throw new Error("not now");
      },
      "/cut": (_request, response) => {
        response.writeHead(200).write("half");
        throw new Error("no");
      },
    },
  });
}

async function get(path: string, method = "GET"): Promise<{ status: number; body: unknown }> {
  const response = await fetch(server.address + path, { method });
  return { status: response.status, body: await response.json() };
}

test("answers liveness, readiness with the reason, and extra routes", async () => {
  await start();
  expect(await get("/livez")).toEqual({ status: 200, body: { live: true } });
  expect(await get("/readyz?verbose")).toEqual({ status: 503, body: { ready: false, reason: "loading" } });
  readiness = { ready: true };
  expect(await get("/readyz")).toEqual({ status: 200, body: { ready: true } });
  expect(await get("/models")).toEqual({ status: 200, body: ["digits"] });
});

test("a route gets the query, and may refuse it", async () => {
  await start();
  expect(await get("/asked")).toEqual({ status: 200, body: [] });
  expect(await get("/asked?a=1%202&b?=%ZZ&a=")).toEqual({
    status: 200,
    body: [
      ["a", "1 2"],
      ["b?", "%ZZ"],
      ["a", ""],
    ],
  });
  expect(await get("/asked?limit=0")).toEqual({ status: 400, body: { error: "no limit", code: "invalid_request" } });
});

test("errors are JSON with a code", async () => {
  await start();
  expect(await get("/nope")).toMatchObject({ status: 404, body: { code: "not_found" } });
  expect(await get("/toString")).toMatchObject({ status: 404 });
  expect(await get("/livez", "POST")).toMatchObject({ status: 405, body: { code: "method_not_allowed" } });
  expect(await get("/broken")).toEqual({ status: 500, body: { error: "no", code: "internal" } });
});

test("a handler answers in its own form; what it throws is 500, or ends the connection once the head is out", async () => {
  await start();
  const text = await fetch(`${server.address}/text`);
  expect([text.headers.get("content-type"), await text.text()]).toEqual(["text/plain", "words"]);
  const head = await fetch(`${server.address}/text`, { method: "HEAD" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
  expect(await get("/text", "POST")).toMatchObject({ status: 405 });
  expect(await get("/refused")).toEqual({ status: 500, body: { error: "not now", code: "internal" } });
  await expect(fetch(`${server.address}/cut`).then((response) => response.text())).rejects.toThrow();
});

test("a port in use is refused with its name", async () => {
  await start();
  const port = Number(new URL(server.address).port);
  const second = startAdminServer({ host: "127.0.0.1", port, isReady: () => readiness });
  await expect(second).rejects.toThrow(`127.0.0.1:${port}`);
});
