import { expect, test } from "vitest";
import { brokerAddressSchema } from "./broker-address.ts";

test("one IP address with a port is taken", () => {
  for (const text of ["tcp://127.0.0.1:5550", "tcp://[::1]:1", "tcp://[fd00::10.0.0.1]:65535"]) {
    expect(brokerAddressSchema.parse(text)).toBe(text);
  }
});

test.for([
  ["", "form tcp://IP:PORT"],
  ["127.0.0.1:5550", "form tcp://IP:PORT"],
  ["tcp://127.0.0.1", "form tcp://IP:PORT"],
  ["tcp://::1:5550", "form tcp://IP:PORT"],
  ["tcp://127.0.0.1:5550/", "form tcp://IP:PORT"],
  ["tcp://127.0.0.1:5550,tcp://127.0.0.1:5560", "several brokers come with a later version"],
  ["tcp://broker:5550", "host names come with a later version"],
  ["tcp://1.2.3:5550", "an IP address is needed"],
  ["tcp://256.0.0.1:5550", "an IP address is needed"],
  ["tcp://[127.0.0.1]:5550", "an IP address is needed"],
  ["tcp://[:::]:5550", "an IP address is needed"],
  ["tcp://127.0.0.1:0", "a port from 1 to 65535"],
  ["tcp://127.0.0.1:65536", "a port from 1 to 65535"],
] as const)("%s is refused: %s", ([text, message]) => {
  expect(brokerAddressSchema.safeParse(text).error?.issues[0]?.message).toContain(message);
});
