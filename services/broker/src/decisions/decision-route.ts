import { AdminFault } from "@millrace/runtime";
import { DECISIONS_MAX } from "./decision-log.ts";
import type { ShownDecision } from "./decision-table.ts";
import type { ModelBook } from "../models/model-book.ts";

const KEYS = new Set(["model", "version", "limit"]);
const LIMIT_DEFAULT = 100;

/** The latest decisions about a model version, the newest first. */
export type DecisionsView = {
  readonly model: string;
  readonly version: string;
  readonly decisions: readonly ShownDecision[];
};

/**
 * Answers `GET /decisions?model=NAME[&version=V][&limit=N]`: of the default version where none is named, at most `limit` (1 to 1,024)
 * entries.
 * @throws {AdminFault} 400 for a query that makes no sense, 404 for a model or version that is not known.
 */
export function decisionsOf(models: ModelBook, query: URLSearchParams, nowMs: number): DecisionsView {
  for (const key of query.keys()) {
    if (!KEYS.has(key))
      throw refusal(`unknown key ${JSON.stringify(key.slice(0, 50))}: model, version and limit are known`);
    if (query.getAll(key).length > 1) throw refusal(`${key} is given twice`);
  }
  const name = query.get("model");
  if (name === null || name === "") throw refusal("say which: /decisions?model=NAME");
  const limit = query.get("limit") ?? String(LIMIT_DEFAULT);
  if (!/^[1-9]\d{0,3}$/.test(limit) || Number(limit) > DECISIONS_MAX)
    throw refusal(`limit must be a whole number of 1 to ${DECISIONS_MAX}`);
  const found = models.find(name, query.get("version") ?? undefined);
  if (found === undefined)
    throw new AdminFault({ status: 404, code: "model_not_found", text: "the broker knows no such model or version" });
  const { version } = found.description;
  return { model: name, version, decisions: found.decisions.latest(Number(limit), nowMs) };
}

function refusal(text: string): AdminFault {
  return new AdminFault({ status: 400, code: "invalid_request", text });
}
