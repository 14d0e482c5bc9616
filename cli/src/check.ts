import { helpOfOptions, loadOptions, OptionError } from "@millrace/runtime";
import { CHECK_OPTIONS } from "./check-options.ts";
import { type CheckResult, runChecks } from "./check/check-list.ts";
import { Endpoint } from "./check/endpoint.ts";
import { type Latency, probeLatency } from "./check/latency-probe.ts";
import { CheckFault } from "./check/messages.ts";
import { findSubject, type Subject } from "./check/subject.ts";

/** Connections of the two closed loops. */
const LOADS = [1, 16];
const NAME_WIDTH = 42;
const DETAIL_WIDTH = 120;

/** The help text of `millrace check`. */
export function checkHelp(): string {
  const title = "millrace check URL [OPTIONS]: does a server speak the Open Inference Protocol, and how fast";
  return `${title}\n\n${helpOfOptions(CHECK_OPTIONS)}`;
}

/**
 * Checks any server of the Open Inference Protocol V2 over HTTP with made-up inputs of a model, and measures how fast it answers: a
 * table, or with --json one document, on stdout. The exit code is 1 where it does something wrong, or lacks what the protocol
 * demands or the server itself promises in its extensions; what else is missing is told and no failure.
 *
 * @throws {OptionError} for options that are not allowed, and a server or model that cannot be asked at all.
 */
export async function runCheck(argv: string[]): Promise<void> {
  const [first = ""] = argv;
  const options = loadOptions(CHECK_OPTIONS, {
    env: process.env,
    argv: first === "" || first.startsWith("-") ? argv : [`--url=${first}`, ...argv.slice(1)],
  });
  const url = parseUrl(options.url);
  using endpoint = new Endpoint(url, 0);
  const shapes = new Map(
    options.shape
      .split(" ")
      .filter((entry) => entry !== "")
      .map((entry) => [
        entry.slice(0, entry.lastIndexOf(":")),
        entry
          .slice(entry.lastIndexOf(":") + 1)
          .split(",")
          .map(Number),
      ]),
  );
  const subject = await findSubject(endpoint, { model: options.model, size: options.size, shapes }).catch(
    (error: unknown) => {
      if (error instanceof CheckFault) throw new OptionError(`${url.href}: ${error.message}`);
      throw error;
    },
  );
  const print = (line: string): void => {
    if (!options.json) process.stdout.write(`${line}\n`);
  };
  print(`${url.href}, model ${subject.model}`);
  const checks = await runChecks(subject, (result) => print(checkLine(result)));
  const count = (result: CheckResult["result"]): number => checks.filter((check) => check.result === result).length;
  print(`${count("ok")} passed, ${count("failed")} failed, ${count("missing")} not there`);
  const latencies = options.seconds === 0 ? [] : await measure(subject, { url, seconds: options.seconds, print });
  if (options.json) {
    process.stdout.write(
      `${JSON.stringify({ url: url.href, model: subject.model, checks, latencies }, undefined, 2)}\n`,
    );
  }
  if (count("failed") > 0) process.exitCode = 1;
}

async function measure(
  subject: Subject,
  load: { readonly url: URL; readonly seconds: number; readonly print: (line: string) => void },
): Promise<Latency[]> {
  const latencies: Latency[] = [];
  for (const connections of LOADS) {
    const latency = await probeLatency(subject, { ...load, connections });
    latencies.push(latency);
    load.print(latencyLine(latency));
  }
  return latencies;
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new OptionError(
      `millrace check URL: ${text === "" ? "no URL is given" : `"${text}" is no http or https URL`}`,
    );
  }
  return url;
}

function checkLine({ name, result, detail }: CheckResult): string {
  const mark = result === "missing" ? "–" : result === "ok" ? "✓" : "✗";
  const oneLine = detail.replaceAll(/\s+/g, " ");
  return `  ${mark} ${name.padEnd(NAME_WIDTH)} ${oneLine.slice(0, DETAIL_WIDTH)}`.trimEnd();
}

function latencyLine({ connections, p50Ms, p99Ms, perSecond, answers, failures, failure }: Latency): string {
  const who = `${connections} connection${connections === 1 ? "" : "s"}`.padEnd(16);
  const failed = failures === 0 ? "" : `, and ${failures} without an answer (${failure})`;
  if (answers === 0) return `  ${who}no answers${failed}`;
  return `  ${who}p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms, ${Math.round(perSecond)}/s over ${answers} answers${failed}`;
}
