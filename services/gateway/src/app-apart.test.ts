import { formApart } from "./testing.ts";

/** All that holds of a gateway holds as well where bodies are parsed and answers written in another thread. */
formApart();
await import("./app.test.ts");
await import("./http/http-server.test.ts");
