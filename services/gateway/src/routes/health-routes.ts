import { sendRefusal } from "../http/error-response.ts";
import type { Exchange } from "../http/exchange.ts";
import type { Inference } from "../broker/inference.ts";
import { findModel } from "./model-choice.ts";
import { Refusal } from "../http/refusal.ts";

/** What health answers depend on. None of it passes admission: a full gateway is healthy. */
export type HealthSources = { readonly inference: Inference; readonly isDraining: () => boolean };

/** Alive: the event loop turns, or nobody would answer. */
export function sendLive(exchange: Exchange): void {
  exchange.send(200, [], `{"live":true}`);
}

/** Ready: 200, or 503 with the reason. While draining it is never ready, so that balancers leave first. */
export function sendReady(exchange: Exchange, { inference, isDraining }: HealthSources): void {
  const reason = isDraining() ? "draining" : inference.unreadyReason();
  if (reason === "") exchange.send(200, [], `{"ready":true}`);
  else exchange.send(503, [], JSON.stringify({ ready: false, reason }));
}

/** Whether one model takes requests: 200 or 503 `{"name","ready"}`; 404 for a model that is not known. */
export function sendModelReady(
  exchange: Exchange,
  sources: HealthSources,
  at: { name: string; version: string },
): void {
  const known = findModel(sources.inference, at.name, at.version);
  if (known instanceof Refusal) return sendRefusal(exchange, known);
  const ready = known.model.state === "ready" && known.workers > 0 && !sources.isDraining();
  exchange.send(ready ? 200 : 503, [], JSON.stringify({ name: known.model.name, ready }));
}
