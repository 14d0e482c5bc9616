import { expect, test } from "vitest";
import { brokersSchema, dnsServersSchema } from "./broker-address.ts";

test.for([
  ["tcp://127.0.0.1:5550"],
  ["tcp://[::1]:1"],
  ["tcp://[fd00::10.0.0.1]:65535"],
  ["tcp://localhost:5550"],
  ["tcp://broker.millrace.svc.cluster.local:5550"],
  ["tcp://broker.millrace.svc.cluster.local.:5550"],
  ["tcp://10.0.0.1:5550", "tcp://10.0.0.2:5550", "tcp://broker-3:5550"],
])("%j is taken", (brokers) => {
  expect(brokersSchema.parse(brokers)).toEqual(brokers);
});

test.for([
  ["", "form tcp://HOST:PORT"],
  ["127.0.0.1:5550", "form tcp://HOST:PORT"],
  ["tcp://127.0.0.1", "form tcp://HOST:PORT"],
  ["tcp://::1:5550", "form tcp://HOST:PORT"],
  ["tcp://127.0.0.1:5550/", "form tcp://HOST:PORT"],
  ["tcp://1.2.3:5550", "an IP address or a host name"],
  ["tcp://256.0.0.1:5550", "an IP address or a host name"],
  ["tcp://[127.0.0.1]:5550", "an IP address or a host name"],
  ["tcp://[:::]:5550", "an IP address or a host name"],
  ["tcp://broker..svc:5550", "an IP address or a host name"],
  ["tcp://-broker:5550", "an IP address or a host name"],
  ["tcp://bro ker:5550", "an IP address or a host name"],
  [`tcp://${"a".repeat(64)}:5550`, "an IP address or a host name"],
  [`tcp://${"abc.".repeat(64)}:5550`, "an IP address or a host name"],
  ["tcp://127.0.0.1:0", "a port from 1 to 65535"],
  ["tcp://127.0.0.1:65536", "a port from 1 to 65535"],
] as const)("%s is refused: %s", ([text, message]) => {
  expect(brokersSchema.safeParse([text]).error?.issues[0]?.message).toContain(message);
});

test("no broker at all is refused", () => {
  expect(brokersSchema.safeParse([]).success).toBe(false);
});

test("DNS servers are IP addresses, with ports or without", () => {
  const servers = ["10.96.0.10", "127.0.0.1:5353", "fd00::a", "[::1]:53"];
  expect(dnsServersSchema.parse(servers)).toEqual(servers);
  expect(dnsServersSchema.parse([])).toEqual([]);
  for (const text of ["dns.example", "127.0.0.1:0", "[::1]", "::1:x", "127.0.0.1:99999", "[127.0.0.1]:53"]) {
    expect(dnsServersSchema.safeParse([text]).error?.issues[0]?.message, text).toContain("IP addresses");
  }
});
