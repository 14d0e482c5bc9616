import { parseApart } from "./testing.ts";

/** All that holds of a gateway holds as well where bodies are parsed in another thread. */
parseApart();
await import("./app.test.ts");
await import("./http/http-server.test.ts");
