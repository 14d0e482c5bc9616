import { CheckFault, expectStatus, jsonOf, refusalOf } from "./messages.ts";
import { type Check, Missing, missingUnless200 } from "./subject.ts";
import type { TensorMetadata } from "./tensors.ts";

/** Health, metadata and everything else that is not inference. */
export const serverChecks: readonly Check[] = [
  status("the process lives", "/v2/health/live"),
  status("the server is ready", "/v2/health/ready"),
  {
    name: "server metadata",
    run: async ({ endpoint }) => {
      const { name, version, extensions } = jsonOf(await endpoint.get("/v2")) as Readonly<Record<string, unknown>>;
      if (typeof name !== "string" || typeof version !== "string") throw new CheckFault("no name and version");
      if (!Array.isArray(extensions)) throw new CheckFault("extensions is no list");
      return `${name} ${version}`;
    },
  },
  {
    name: "model metadata",
    run: async ({ endpoint, path, model, inputs, outputs }) => {
      const answer = jsonOf(await endpoint.get(path)) as Readonly<Record<string, unknown>>;
      if (answer["name"] !== model) throw new CheckFault(`its name is ${JSON.stringify(answer["name"])}`);
      if (typeof answer["platform"] !== "string") throw new CheckFault("no platform");
      const show = ({ name, datatype, shape }: TensorMetadata): string => `${name} ${datatype}[${shape.join(",")}]`;
      return `${inputs.map(show).join(", ")} → ${outputs.map(show).join(", ")}`;
    },
  },
  {
    name: "the model is ready",
    run: async ({ endpoint, path }) => {
      expectStatus(await endpoint.get(`${path}/ready`), 200);
      return "";
    },
  },
  {
    name: "unknown model: 4xx, error form",
    run: async ({ endpoint }) => refusalOf(await endpoint.get("/v2/models/no-such-model-here")),
  },
  {
    name: "unknown route: 404, error form",
    extension: "",
    run: async ({ endpoint }) => {
      const answer = await endpoint.get("/v2/no-such-route");
      if (answer.status === 404 && !answer.body.includes('"error"')) throw new Missing("404 without it");
      return refusalOf(answer, 404);
    },
  },
  {
    name: "model configuration",
    extension: "model_configuration",
    run: async ({ endpoint, path, inputs }) => {
      const answer = await endpoint.get(`${path}/config`);
      missingUnless200(answer);
      const config = jsonOf(answer) as Readonly<Record<string, unknown>>;
      const names = Array.isArray(config["input"]) ? config["input"].map(({ name }: { name?: unknown }) => name) : [];
      const lacking = inputs.find(({ name }) => !names.includes(name));
      if (lacking !== undefined) throw new CheckFault(`input "${lacking.name}" is not in it`);
      if (!Number.isInteger(config["max_batch_size"])) throw new CheckFault("no max_batch_size");
      return `max_batch_size ${String(config["max_batch_size"])}`;
    },
  },
  {
    name: "repository index",
    extension: "model_repository",
    run: async ({ endpoint, model }) => {
      const answer = await endpoint.post("/v2/repository/index", { body: Buffer.alloc(0), headers: {} });
      missingUnless200(answer);
      const index = jsonOf(answer);
      const has = Array.isArray(index) && index.some(({ name }: { readonly name?: unknown }) => name === model);
      if (!has) throw new CheckFault(`"${model}" is not in it`);
      return `${index.length} versions`;
    },
  },
];

function status(name: string, path: string): Check {
  return {
    name,
    run: async ({ endpoint }) => {
      expectStatus(await endpoint.get(path), 200);
      return "";
    },
  };
}
