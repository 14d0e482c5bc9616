import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeFrames, type SocketType, ZmtpPeer } from "./zmtp.ts";

const BOUNDS = { frameBytes: 100_000, frames: 8 };

/** What libzmq 4.3.5 greets with. */
const GREETING = Buffer.from(`ff00000000000000017f0301${"4e554c4c".padEnd(104, "0")}`, "hex");

function ready(type: string): Buffer {
  const property = (name: string, value: string): Buffer =>
    Buffer.concat([
      Buffer.from([name.length]),
      Buffer.from(name),
      Buffer.from([0, 0, 0, value.length]),
      Buffer.from(value),
    ]);
  const body = Buffer.concat([
    Buffer.from("\x05READY", "latin1"),
    property("Socket-Type", type),
    property("Identity", ""),
  ]);
  return Buffer.concat([Buffer.from([4, body.length]), body]);
}

type Heard = {
  readonly peer: ZmtpPeer;
  readonly bytes: Buffer[];
  readonly messages: Buffer[][];
  readonly readies: number[];
};

function listen(type: SocketType): Heard {
  const heard = { bytes: [] as Buffer[], messages: [] as Buffer[][], readies: [] as number[] };
  const peer = new ZmtpPeer(type, BOUNDS, {
    onBytes: (bytes) => heard.bytes.push(Buffer.from(bytes)),
    onReady: () => heard.readies.push(heard.messages.length),
    onMessage: (frames) => heard.messages.push(frames),
  });
  peer.start();
  return { peer, ...heard };
}

/** A ROUTER that has a DEALER. */
function listenReady(): Heard {
  const heard = listen("ROUTER");
  expect(heard.peer.receive(Buffer.concat([GREETING, ready("DEALER")]))).toBe("");
  return heard;
}

const messages = fc.array(
  fc.array(
    fc.oneof(
      { weight: 4, arbitrary: fc.uint8Array({ maxLength: 300 }) },
      fc.constantFrom(0, 255, 256, 16_383, 16_384, 70_000).map((length) => new Uint8Array(length).fill(length & 255)),
    ),
    { minLength: 1, maxLength: 5 },
  ),
  { maxLength: 4 },
);

test("two ends understand each other, whichever way the octets are cut", () => {
  fc.assert(
    fc.property(messages, fc.infiniteStream(fc.integer({ min: 1, max: 40_000 })), (sent, cuts) => {
      const router = listen("ROUTER");
      const dealer = listen("DEALER");
      const pass = (from: Heard, to: Heard): void => {
        for (let rest = Buffer.concat(from.bytes.splice(0)); rest.length > 0;) {
          const cut = cuts.next().value;
          // What is read into may be used again at once.
          const read = Buffer.from(rest.subarray(0, cut));
          expect(to.peer.receive(read)).toBe("");
          read.fill(0xee);
          rest = rest.subarray(cut);
        }
      };
      for (let step = 0; step < 2; step++) {
        pass(dealer, router);
        pass(router, dealer);
      }
      expect([router.peer.isReady, dealer.peer.isReady]).toEqual([true, true]);
      for (const frames of sent) dealer.bytes.push(...encodeFrames(frames).map((piece) => Buffer.from(piece)));
      pass(dealer, router);
      expect(router.messages.map((frames) => frames.map((frame) => [...frame]))).toEqual(
        sent.map((frames) => frames.map((frame) => [...frame])),
      );
      for (const frame of router.messages.flat()) expect(frame.byteOffset % 8).toBe(0);
    }),
    { numRuns: 60 },
  );
});

test("the octets are those of the specification", () => {
  const { bytes } = listenReady();
  expect(Buffer.concat(bytes).toString("latin1")).toBe(
    `\xff${"\0".repeat(8)}\x7f\x03\x01NULL${"\0".repeat(16 + 1 + 31)}` +
      "\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06ROUTER\x08Identity\0\0\0\0",
  );
  const pieces = encodeFrames([Buffer.from("ab"), Buffer.alloc(256), Buffer.alloc(0)]);
  expect(Buffer.concat(pieces).toString("latin1")).toBe(`\x01\x02ab\x03\0\0\0\0\0\0\x01\0${"\0".repeat(256)}\0\0`);
});

test("large frames are sent from where they are", () => {
  const large = Buffer.alloc(20_000);
  const pieces = encodeFrames([Buffer.from("head"), large, Buffer.from("tail")]);
  expect(pieces.map(({ length }) => length)).toEqual([6 + 9, 20_000, 6]);
  expect(pieces[1]).toBe(large);
});

test("a PING is answered with its context", () => {
  const { peer, bytes, messages } = listenReady();
  bytes.length = 0;
  expect(peer.receive(Buffer.from("\x04\x0a\x04PING\0\x1eabc", "latin1"))).toBe("");
  expect(Buffer.concat(bytes).toString("latin1")).toBe("\x04\x08\x04PONGabc");
  expect(messages).toEqual([]);
  bytes.length = 0;
  peer.receive(Buffer.concat([Buffer.from("\x04\x1f\x04PING\0\0", "latin1"), Buffer.alloc(24, "x")]));
  expect(Buffer.concat(bytes).toString("latin1")).toBe(`\x04\x15\x04PONG${"x".repeat(16)}`);
});

test("commands between the frames of a message, and those that nobody knows, do the message no harm", () => {
  const { peer, messages } = listenReady();
  const commands = ["\x04\x07\x04PING\0\0", "\x04\x0b\x09SUBSCRIBEa", "\x04\x00", "\x04\x01\xff"].map((command) =>
    Buffer.from(command, "latin1"),
  );
  for (const octet of Buffer.concat([Buffer.from("\x01\x01a"), ...commands, Buffer.from("\x00\x01b")])) {
    expect(peer.receive(Buffer.of(octet))).toBe("");
  }
  expect(messages.map((frames) => frames.map(String))).toEqual([["a", "b"]]);
});

test("who announces a large frame has to send it: memory comes as it does, and the frame is whole", () => {
  const mib = 1024 * 1024;
  const heard: Buffer[][] = [];
  const announce = (length: number): ZmtpPeer => {
    const handlers = { onBytes: () => {}, onReady: () => {}, onMessage: (frames: Buffer[]) => void heard.push(frames) };
    const peer = new ZmtpPeer("ROUTER", { frameBytes: 64 * mib, frames: 8 }, handlers);
    const head = Buffer.alloc(9);
    head[0] = 2;
    head.writeUInt32BE(length, 5);
    expect(peer.receive(Buffer.concat([GREETING, ready("DEALER"), head]))).toBe("");
    return peer;
  };
  const before = process.memoryUsage().arrayBuffers;
  const peers = Array.from({ length: 20 }, () => announce(64 * mib));
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(40 * mib);
  expect(peers.every(({ isReady }) => isReady)).toBe(true);
  for (const length of [mib, mib + 1, 5 * mib + 3]) {
    const frame = Buffer.alloc(length, Buffer.from("0123456789abc"));
    const peer = announce(length);
    for (let at = 0; at < length; at += 65_521) expect(peer.receive(frame.subarray(at, at + 65_521))).toBe("");
    expect(heard.pop()![0]!.equals(frame)).toBe(true);
  }
});

test.for<[string, Buffer, string]>([
  ["no greeting", Buffer.from("GET / HTTP/1.1\r\n".repeat(4)), "not ZMTP"],
  ["an old version", Buffer.from(GREETING).fill(1, 10, 11), "ZMTP 1 is too old"],
  [
    "another mechanism",
    Buffer.concat([GREETING.subarray(0, 12), Buffer.from("CURVE"), GREETING.subarray(17)]),
    "another mechanism than NULL: CURVE",
  ],
  [
    "a message before READY",
    Buffer.concat([GREETING, Buffer.from([0, 1, 7])]),
    "a message before the handshake is done",
  ],
  [
    "another command before READY",
    Buffer.concat([GREETING, Buffer.from("\x04\x07\x04PING\0\0", "latin1")]),
    "PING in place of READY",
  ],
  ["a refusal", Buffer.concat([GREETING, Buffer.from("\x04\x0a\x05ERROR\x03why", "latin1")]), "refused: why"],
  ["another type of socket", Buffer.concat([GREETING, ready("SUB")]), "no peer for a ROUTER: SUB"],
  [
    "READY that is cut off",
    Buffer.concat([GREETING, Buffer.from("\x04\x09\x05READY\x0bSo", "latin1")]),
    "no peer for a ROUTER: undefined",
  ],
  ["an empty command", Buffer.concat([GREETING, Buffer.from([4, 0])]), " in place of READY"],
])("no handshake with %s", ([, bytes, fault]) => {
  const { peer, readies } = listen("ROUTER");
  expect(peer.receive(bytes)).toBe(fault);
  expect(readies).toEqual([]);
});

test.for<[string, number[], string]>([
  ["more than the bound", [2, 0, 0, 0, 0, 0, 1, 0x86, 0xa1], "a frame of 100001 bytes"],
  ["more than memory", [2, 255, 255, 255, 255, 255, 255, 255, 255], "a frame of 18446744073709552000 bytes"],
  ["a command that is too long", [6, 0, 0, 0, 0, 0, 0, 0x10, 1], "a frame of 4097 bytes"],
  ["unknown flags", [8, 0], "frame flags 8"],
  ["a command with more to come", [5, 0], "frame flags 5"],
])("a frame is refused with its head: %s", ([, head, fault]) => {
  const { peer, messages } = listenReady();
  expect(peer.receive(Buffer.from(head))).toBe(fault);
  expect(messages).toEqual([]);
});

test("a message without an end is refused at its bound of frames", () => {
  const { peer } = listenReady();
  const frame = Buffer.from([1, 1, 7]);
  for (let count = 0; count < BOUNDS.frames; count++) expect(peer.receive(frame)).toBe("");
  expect(peer.receive(frame)).toBe("too many frames in a message");
});

test("once stopped, nothing is told, not even what has come already", () => {
  const { peer, messages } = listen("ROUTER");
  const heard: number[] = [];
  const stopping = new ZmtpPeer("ROUTER", BOUNDS, {
    onBytes: () => {},
    onReady: () => {},
    onMessage: ([frame]) => {
      heard.push(frame![0]!);
      if (frame![0] === 2) stopping.stop();
    },
  });
  const three = [1, 2, 3].flatMap((octet) => [0, 1, octet]);
  expect(stopping.receive(Buffer.concat([GREETING, ready("DEALER"), Buffer.from(three)]))).toBe("");
  expect(heard).toEqual([1, 2]);
  peer.stop();
  expect(peer.receive(GREETING)).toBe("");
  expect(messages).toEqual([]);
});

test("whatever comes, it never throws, and makes no message before a handshake", () => {
  const noise = fc.uint8Array({ minLength: 1, maxLength: 400 });
  fc.assert(
    fc.property(fc.boolean(), noise, (isGreeted, bytes) => {
      const { peer, messages, readies } = listen("ROUTER");
      if (isGreeted) peer.receive(GREETING);
      peer.receive(bytes);
      expect(messages.length === 0 || readies.length === 1).toBe(true);
    }),
  );
  fc.assert(fc.property(noise, (bytes) => void listenReady().peer.receive(bytes)));
});
