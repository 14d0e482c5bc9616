import { RequestTable, type Stamp } from "@millrace/protocol";
import { PeerSession } from "./peer-session.ts";
import type { Request } from "../dispatch/request.ts";

/** A gateway's session: the requests that it waits for, by its own numbers. */
export class GatewaySession extends PeerSession {
  /** Every request that has not ended. */
  readonly requests = new RequestTable<Request>();
  /** The epoch as the 8 octets that JOB items carry. */
  readonly origin: Buffer;

  constructor(hello: { readonly peer: string; readonly instance: string; readonly stamp: Stamp }, nowMs: number) {
    super(hello, nowMs);
    this.origin = Buffer.from(hello.stamp.epoch, "hex");
  }
}
