import fc from "fast-check";
import { expect, test } from "vitest";
import { BrokerDirectory, type DirectoryAction, type PollResults } from "./broker-directory.ts";

const NAME = "tcp://broker:5550";
const [A, B, C] = ["tcp://10.0.0.1:5550", "tcp://10.0.0.2:5550", "tcp://10.0.0.3:5550"] as const;

const listed = (...addresses: string[]): PollResults => new Map([[NAME, { addresses }]]);
const failed = (fault = "ETIMEOUT"): PollResults => new Map([[NAME, { fault }]]);

class Subject {
  readonly directory = new BrokerDirectory();

  poll(results: PollResults): DirectoryAction[] {
    return this.directory.handle({ type: "polled", results });
  }

  link(type: "active" | "draining" | "lost", address: string): DirectoryAction[] {
    return this.directory.handle({ type, address });
  }

  told(address: string, isServing: boolean): DirectoryAction[] {
    return this.directory.handle({ type: "told", address, isServing });
  }

  /** The time of a wait has passed. */
  waited(wait: DirectoryAction | undefined): DirectoryAction[] {
    if (wait?.type !== "wait") throw new Error("there is no wait");
    return this.directory.handle({ ...wait, type: "waited" });
  }

  /** One whose brokers are all listed and active, in this order. */
  static with(...addresses: string[]): Subject {
    const subject = new Subject();
    subject.poll(listed(...addresses));
    for (const address of addresses) subject.link("active", address);
    return subject;
  }
}

test("what is listed is connected to at once, and the same list again does nothing", () => {
  const subject = new Subject();
  expect(subject.poll(listed(B, A))).toEqual([
    { type: "resolved", name: NAME, addresses: [A, B] },
    { type: "connect", address: A },
    { type: "connect", address: B },
  ]);
  expect(subject.poll(listed(A, B))).toEqual([]);
});

test("the first active broker is used, and stays in use while others come", () => {
  const subject = new Subject();
  subject.poll(listed(A, B));
  expect(subject.link("active", B)).toEqual([{ type: "use", address: B }]);
  expect(subject.link("active", A)).toEqual([]);
  subject.poll(listed(A, B, C));
  expect(subject.link("active", C)).toEqual([]);
  expect(subject.directory.inUse).toBe(B);
});

test("a broker that drains or is lost hands over to the one that has been there for longest", () => {
  const subject = Subject.with(B, C, A);
  expect(subject.link("draining", B)).toEqual([{ type: "use", address: C }, { type: "poll" }]);
  expect(subject.link("lost", C)).toEqual([{ type: "use", address: A }, { type: "poll" }]);
  expect(subject.link("active", C)).toEqual([]);
  expect(subject.link("lost", A)).toEqual([{ type: "use", address: C }, { type: "poll" }]);
});

test("without a successor nothing is used, and it tells whether that is because the last one drains", () => {
  const subject = Subject.with(A);
  expect(subject.link("draining", A)).toEqual([{ type: "use", address: undefined }, { type: "poll" }]);
  expect(subject.directory.isDraining).toBe(true);
  expect(subject.link("lost", A)).toEqual([{ type: "poll" }]);
  expect(subject.directory.isDraining).toBe(false);
  expect(subject.link("active", A)).toEqual([{ type: "use", address: A }]);
});

test("an absent broker is given up after three polls, if it is lost, too", () => {
  const subject = Subject.with(A, B);
  for (let poll = 0; poll < 9; poll++) subject.poll(listed(A));
  expect(subject.directory.addresses).toEqual([A, B]);
  expect(subject.link("lost", B)).toEqual([{ type: "disconnect", address: B }, { type: "poll" }]);
  subject.link("lost", A);
  expect([subject.poll(listed(B)).at(-1), subject.poll(listed(B))]).toEqual([{ type: "connect", address: B }, []]);
  expect(subject.poll(listed(B))).toEqual([{ type: "disconnect", address: A }]);
});

test("one that is back in the list before the third poll was never away", () => {
  const subject = Subject.with(A, B);
  subject.link("lost", B);
  for (let poll = 0; poll < 9; poll++) {
    expect(subject.poll(listed(A)).filter(({ type }) => type === "disconnect")).toEqual([]);
    subject.poll(listed(A));
    subject.poll(listed(A, B));
  }
});

test("a broker that is not listed any more gets no new work where another is listed, and keeps its session", () => {
  const subject = Subject.with(A, B);
  subject.poll(listed(B));
  subject.poll(listed(B));
  expect(subject.poll(listed(B))).toEqual([{ type: "use", address: B }]);
  expect(subject.directory.addresses).toEqual([A, B]);
  // Back in the list it is second choice: a list that flickers does not move the work with it.
  expect(subject.poll(listed(A, B)).filter(({ type }) => type === "use")).toEqual([]);
  const alone = Subject.with(A);
  for (let poll = 0; poll < 9; poll++) alone.poll(listed(C));
  expect(alone.directory.inUse).toBe(A);
});

test("a broker that has had no workers for the time of a wait gives way to one that has some, whichever is told first", () => {
  const early = Subject.with(A, B, C);
  const [wait] = early.told(A, false);
  expect(wait).toMatchObject({ type: "wait", address: A });
  expect([early.told(A, false), early.told(B, false).length, early.told(C, true)]).toEqual([[], 1, []]);
  expect(early.waited(wait)).toEqual([{ type: "use", address: C }]);
  // Workers that come back do not bring the work back.
  expect(early.told(A, true)).toEqual([]);

  const late = Subject.with(A, B);
  expect(late.waited(late.told(A, false)[0])).toEqual([]);
  expect(late.told(B, true)).toEqual([{ type: "use", address: B }]);
});

test("workers that come back within the wait, or a session that begins anew, make the wait void", () => {
  const subject = Subject.with(A, B);
  subject.told(B, true);
  const [first] = subject.told(A, false);
  subject.told(A, true);
  const [second] = subject.told(A, false);
  expect(subject.waited(first)).toEqual([]);
  expect(subject.waited(second)).toEqual([{ type: "use", address: B }]);

  const anew = Subject.with(A);
  const [before] = anew.told(A, false);
  anew.link("lost", A);
  anew.link("active", A);
  anew.poll(listed(A, B));
  anew.link("active", B);
  anew.told(B, true);
  expect(anew.waited(before)).toEqual([]);
  expect(anew.waited(anew.told(A, false)[0])).toEqual([{ type: "use", address: B }]);
});

test("of several successors one that has workers comes first, a listed one of these", () => {
  const subject = Subject.with(A, B, C);
  subject.told(C, true);
  expect(subject.link("lost", A)).toEqual([{ type: "use", address: C }, { type: "poll" }]);
  // A list of brokers that nobody works for is no reason to leave it.
  for (let poll = 0; poll < 3; poll++) subject.poll(listed(B));
  expect(subject.directory.inUse).toBe(C);
  expect(subject.told(B, true)).toEqual([{ type: "use", address: B }]);
  expect(subject.waited(subject.told(B, false)[0])).toEqual([{ type: "use", address: C }]);
});

test("a name that gives nothing keeps what it had, and is told of once until it is back", () => {
  const subject = Subject.with(A);
  subject.link("lost", A);
  expect(subject.poll(failed("ENOTFOUND"))).toEqual([{ type: "unresolved", name: NAME, fault: "ENOTFOUND" }]);
  for (let poll = 0; poll < 9; poll++) expect(subject.poll(failed())).toEqual([]);
  expect([subject.directory.addresses, subject.directory.failures]).toEqual([[A], 10]);
  expect(subject.poll(listed(A))).toEqual([{ type: "resolved", name: NAME, addresses: [A] }]);
  expect(subject.poll(failed()).length).toBe(1);
});

test("of several names each keeps its own", () => {
  const subject = new Subject();
  const other = "tcp://other:5550";
  const both = (one: string[], two: string[] | undefined): PollResults =>
    new Map([
      [NAME, { addresses: one }],
      [other, two === undefined ? { fault: "ESERVFAIL" } : { addresses: two }],
    ]);
  subject.poll(both([A], [B]));
  for (let poll = 0; poll < 9; poll++) subject.poll(both([A], undefined));
  expect(subject.directory.addresses).toEqual([A, B]);
  for (let poll = 0; poll < 3; poll++) subject.poll(both([C], [B]));
  expect(subject.directory.addresses).toEqual([B, C]);
});

test("what comes of a link that was given up is ignored", () => {
  const subject = new Subject();
  for (const type of ["active", "draining", "lost"] as const) expect(subject.link(type, A)).toEqual([]);
});

type Step =
  | { readonly type: "listed"; readonly addresses: string[] }
  | { readonly type: "failed" }
  | { readonly type: "active" | "draining" | "lost" | "waited"; readonly address: string }
  | { readonly type: "told"; readonly address: string; readonly isServing: boolean };

const address = fc.constantFrom(A, B, C);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ type: fc.constant("listed" as const), addresses: fc.uniqueArray(address, { minLength: 1 }) }),
  fc.record({ type: fc.constant("failed" as const) }),
  // Most of the time sessions are open, and waits end.
  { arbitrary: fc.record({ type: fc.constant("active" as const), address }), weight: 4 },
  fc.record({ type: fc.constantFrom("draining" as const, "lost" as const), address }),
  { arbitrary: fc.record({ type: fc.constant("waited" as const), address }), weight: 3 },
  { arbitrary: fc.record({ type: fc.constant("told" as const), address, isServing: fc.boolean() }), weight: 3 },
);

test("whatever happens: what is wanted is connected, a session is never cut, and the best broker is in use", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const subject = new Subject();
      const links = new Map<string, "connecting" | "active" | "draining">();
      /** What each has said of its workers in its session; "barren": none, and the wait has passed. */
      const services = new Map<string, "serving" | "idle" | "barren">();
      const waits = new Map<string, DirectoryAction>();
      let wanted: readonly string[] = [];
      let used: string | undefined;
      for (const one of steps) {
        const usedBefore = used;
        const wasGood = used !== undefined && wanted.includes(used);
        let actions: DirectoryAction[];
        if (one.type === "listed") {
          actions = subject.poll(listed(...one.addresses));
          wanted = one.addresses;
        } else if (one.type === "failed") actions = subject.poll(failed());
        else if (one.type === "told") {
          if (links.get(one.address) !== "active") continue;
          const isNews = one.isServing || !["idle", "barren"].includes(services.get(one.address) ?? "");
          if (isNews) services.set(one.address, one.isServing ? "serving" : "idle");
          actions = subject.told(one.address, one.isServing);
        } else if (one.type === "waited") {
          const wait = waits.get(one.address);
          if (wait === undefined || services.get(one.address) !== "idle") continue;
          services.set(one.address, "barren");
          actions = subject.waited(wait);
        } else {
          // A link tells only of what it was before.
          if (!links.has(one.address) || (one.type === "draining" && links.get(one.address) !== "active")) continue;
          links.set(one.address, one.type === "lost" ? "connecting" : one.type);
          if (one.type === "active") services.delete(one.address);
          actions = subject.link(one.type, one.address);
        }
        for (const action of actions) {
          if (action.type === "connect") {
            expect(links.has(action.address)).toBe(false);
            links.set(action.address, "connecting");
          } else if (action.type === "disconnect") {
            expect(links.get(action.address)).toBe("connecting");
            expect(wanted).not.toContain(action.address);
            links.delete(action.address);
          } else if (action.type === "use") used = action.address;
          else if (action.type === "wait") waits.set(action.address, action);
        }
        expect([...links.keys()].toSorted()).toEqual(subject.directory.addresses.toSorted());
        for (const wants of wanted) expect(links.has(wants)).toBe(true);
        const active = [...links].filter(([, state]) => state === "active").map(([at]) => at);
        expect(used).toBe(subject.directory.inUse);
        expect(active.length > 0).toBe(used !== undefined);
        if (used !== undefined) expect(active).toContain(used);
        const isBetter = active.some((at) => services.get(at) === "serving");
        if (isBetter && used !== undefined) expect(services.get(used)).not.toBe("barren");
        const isLeft = used !== usedBefore && active.includes(usedBefore ?? "");
        if (isLeft && services.get(usedBefore!) === "serving") expect(services.get(used!)).toBe("serving");
        const isStillGood = wasGood && wanted.includes(usedBefore!) && active.includes(usedBefore!);
        if (isStillGood && !(isBetter && services.get(usedBefore!) === "barren")) expect(used).toBe(usedBefore);
      }
    }),
    { numRuns: 2_000 },
  );
});
