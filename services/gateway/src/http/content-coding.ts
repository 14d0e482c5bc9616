import { quote, Refusal } from "./refusal.ts";

/** What bodies may be compressed with; "deflate" is the zlib format, as HTTP has it. Source: RFC 9110 §8.4.1. */
export const CODINGS = ["gzip", "deflate"] as const;
export type Coding = (typeof CODINGS)[number];

/** What a client is told that sends something else. */
export const ACCEPTED_CODINGS = CODINGS.join(", ");

/** How a body is compressed, by `Content-Encoding`; undefined: it is not. `unsupported` where it is another way, or several ways. */
export function requestCoding(header: string | undefined): Coding | undefined | Refusal {
  if (header === undefined) return undefined;
  const name = header.trim().toLowerCase();
  if (name === "" || name === "identity") return undefined;
  if (name === "x-gzip") return "gzip";
  const coding = CODINGS.find((one) => one === name);
  return (
    coding ?? new Refusal("unsupported", `Content-Encoding ${quote(header)} is not supported; ${ACCEPTED_CODINGS} are`)
  );
}

/**
 * How the client wants its answer compressed, by `Accept-Encoding`: the coding with the highest weight, gzip among equals; undefined
 * where it wants none of them, or prefers none. Source: RFC 9110 §12.5.3.
 */
export function answerCoding(header: string | undefined): Coding | undefined {
  if (header === undefined || header === "") return undefined;
  const weights = new Map<string, number>();
  for (const item of header.toLowerCase().split(",")) {
    const [name = "", ...parameters] = item.split(";").map((part) => part.trim());
    const weight = parameters.find((one) => one.startsWith("q="))?.slice(2);
    weights.set(name === "x-gzip" ? "gzip" : name, weight === undefined ? 1 : Number(weight) || 0);
  }
  let best: Coding | undefined;
  let bestWeight = weights.get("identity") ?? 0;
  for (const coding of CODINGS) {
    const weight = weights.get(coding) ?? weights.get("*") ?? 0;
    if (weight === 0 || weight < bestWeight || (weight === bestWeight && best !== undefined)) continue;
    best = coding;
    bestWeight = weight;
  }
  return best;
}
