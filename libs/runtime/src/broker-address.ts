import { isIP, isIPv4, isIPv6 } from "node:net";
import { z } from "zod";

/** More than anybody has; each is a connection of its own. */
const BROKERS_MAX = 16;

const HOST_NAME_CHARACTERS_MAX = 253;

/**
 * The option that says where brokers are: `tcp://HOST:PORT` each, where HOST is an IPv4 literal, an IPv6 literal in brackets or
 * a host name (a final dot is allowed), and PORT 1..65535. A name stands for all of its addresses.
 */
export const brokersSchema = z.array(schemaOf(brokerFault)).min(1).max(BROKERS_MAX);

/** The option that says which DNS servers to ask: `IP` or `IP:PORT` each, an IPv6 literal with a port in brackets. */
export const dnsServersSchema = z.array(schemaOf(dnsServerFault)).max(BROKERS_MAX);

function schemaOf(faultOf: (text: string) => string): z.ZodString {
  return z.string().superRefine((text, context) => {
    const message = faultOf(text);
    if (message !== "") context.addIssue({ code: "custom", message });
  });
}

function brokerFault(text: string): string {
  const [, host = "", port = ""] = /^tcp:\/\/(\[[^\]]*\]|[^:/[\]]+):([0-9]{1,5})$/.exec(text) ?? [];
  if (host === "") return "addresses of the form tcp://HOST:PORT are needed, with commas between them";
  const isAddress = host.startsWith("[") ? isIPv6(host.slice(1, -1)) : isIPv4(host) || isHostName(host);
  if (!isAddress) return "an IP address or a host name is needed, as in tcp://127.0.0.1:5550";
  return isPort(port) ? "" : "a port from 1 to 65535 is needed";
}

function dnsServerFault(text: string): string {
  if (isIP(text) !== 0) return "";
  const [, v6, v4, port = ""] = /^(?:\[([^\]]+)\]|([^:]+)):([0-9]{1,5})$/.exec(text) ?? [];
  const isAddress = v6 === undefined ? isIPv4(v4 ?? "") : isIPv6(v6);
  return isAddress && isPort(port) ? "" : "IP addresses are needed, each with a port or without";
}

/** A last label of digits alone would be an IPv4 address that is not one. */
function isHostName(host: string): boolean {
  const labels = host.replace(/\.$/, "").split(".");
  if (host.length > HOST_NAME_CHARACTERS_MAX || /^\d+$/.test(labels.at(-1) ?? "")) return false;
  return labels.every((label) => /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/i.test(label));
}

function isPort(text: string): boolean {
  return Number(text) >= 1 && Number(text) <= 65_535;
}
