import { isIPv4, isIPv6 } from "node:net";
import { z } from "zod";

/**
 * The option that names the broker: exactly one `tcp://IP:PORT`, an IPv4 literal or an IPv6 literal in brackets, port 1..65535.
 * Names are refused because the transport would resolve them in the thread that moves all data.
 */
export const brokerAddressSchema = z.string().superRefine((text, context) => {
  const message = faultOf(text);
  if (message !== "") context.addIssue({ code: "custom", message });
});

function faultOf(text: string): string {
  if (text.includes(",")) return "one broker's address; several brokers come with a later version";
  const [, host = "", port = ""] = /^tcp:\/\/(\[[^\]]*\]|[^:/[\]]+):([0-9]{1,5})$/.exec(text) ?? [];
  if (host === "") return "one address of the form tcp://IP:PORT";
  const isAddress = host.startsWith("[") ? isIPv6(host.slice(1, -1)) : isIPv4(host);
  if (!isAddress) return "an IP address is needed, as in tcp://127.0.0.1:5550; host names come with a later version";
  return Number(port) >= 1 && Number(port) <= 65_535 ? "" : "a port from 1 to 65535";
}
