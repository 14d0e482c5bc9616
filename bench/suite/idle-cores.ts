import { closeSync, openSync, readFileSync, writeSync } from "node:fs";

/** Whether idle cores halt while something is measured. */
export type IdleCores = "awake" | "halting";

/**
 * Keeps idle cores from halting as long as a scope lasts, by the kernel's interface for it, which cyclictest uses too
 * (https://docs.kernel.org/power/pm_qos_interface.html): in a virtual machine it takes a while until a core that has halted is
 * back, and a request wakes threads a dozen times. `state` is "halting" where the
 * system does not allow it: that takes Linux with a driver for idle cores (without one they halt whatever is asked for), its device and
 * the right to write to it.
 */
export function keepCoresAwake(): Disposable & { readonly state: IdleCores } {
  using own = new DisposableStack();
  try {
    const driver = readFileSync("/sys/devices/system/cpu/cpuidle/current_driver", "utf8").trim();
    if (driver === "none") return { state: "halting", [Symbol.dispose]: () => {} };
    const device = own.adopt(openSync("/dev/cpu_dma_latency", "r+"), closeSync);
    // The longest that a core may take to wake up, in µs; it holds while the file is open.
    writeSync(device, new Uint8Array(new Int32Array([0]).buffer));
    const rest = own.move();
    return { state: "awake", [Symbol.dispose]: () => rest.dispose() };
  } catch {
    return { state: "halting", [Symbol.dispose]: () => {} };
  }
}
