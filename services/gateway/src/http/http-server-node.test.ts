import { withoutLane } from "../testing.ts";

/** All that holds of a server with the hot lane holds of node's alone. */
withoutLane();
await import("./http-server.test.ts");
