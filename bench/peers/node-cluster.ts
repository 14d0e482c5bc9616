/**
 * The monolith in as many processes as one asks for, behind one port: node:cluster, connections dealt in turn.
 *
 *     node bench/peers/node-cluster.ts MODEL_FILE [PROCESSES]
 */
import cluster from "node:cluster";
import { join } from "node:path";

const [path = "", processes = "2"] = process.argv.slice(2);
cluster.setupPrimary({ exec: join(import.meta.dirname, "node-monolith.ts"), args: [path] });

let http = "";
let listening = 0;
cluster.on("listening", (_worker, { port }) => {
  http = `http://127.0.0.1:${port}`;
  listening += 1;
  if (listening === Number(processes)) process.send?.({ type: "ready", addresses: { http } });
});
cluster.on("exit", () => process.exit(1));
for (let i = 0; i < Number(processes); i++) cluster.fork();
process.on("disconnect", () => process.exit(0));
