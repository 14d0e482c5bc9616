import type { MessageOf, ModelDescription } from "@millrace/protocol";
import type { ModelEntry, ModelTable } from "./inference.ts";

/** Where requests for a model go: to a route of the broker, or nowhere yet, because the broker has just come back. */
export type Destination = number | "later" | undefined;

type Entry = ModelEntry & { readonly destination: Destination };

/**
 * The model versions that the broker announces. A broker that has just come back learns of its workers one by one: until
 * `settle`, models that were served before and are missing in its list stay known, and their requests wait.
 */
export class RouteTable implements ModelTable {
  #announced: readonly Entry[] = [];
  #remembered: readonly Entry[] = [];
  #byName = new Map<string, Entry[]>();
  #byModel = new Map<ModelDescription, Entry>();

  /** Takes the broker's list in place of its previous one. */
  replace(models: MessageOf<"ROUTES">["models"]): void {
    this.#announced = models.map(({ model, workers, isDefault, route }) => ({
      model,
      workers,
      isDefault,
      destination: route,
    }));
    this.#rebuild();
  }

  /** The broker is lost: what it served stays known, but goes nowhere for now. */
  remember(): void {
    this.#remembered = this.list()
      .filter(({ workers }) => workers > 0)
      .map((entry) => ({ ...entry, destination: "later" }));
    this.#announced = [];
    this.#rebuild();
  }

  /** The broker has had the time to hear of its workers: from now on its list alone counts. */
  settle(): void {
    this.#remembered = [];
    this.#rebuild();
  }

  find(name: string, version = ""): Entry | undefined {
    return this.#byName.get(name)?.find((one) => (version === "" ? one.isDefault : one.model.version === version));
  }

  list(): readonly Entry[] {
    return [...this.#byModel.values()];
  }

  /** Where a request for this model goes; after a new list, where its name and version go. */
  destinationOf(model: ModelDescription): Destination {
    return (this.#byModel.get(model) ?? this.find(model.name, model.version))?.destination;
  }

  #rebuild(): void {
    const served = this.#announced.filter(({ workers }) => workers > 0);
    const missing = this.#remembered.filter((entry) => !served.some((one) => isSameVersion(one, entry)));
    const idle = this.#announced.filter(({ workers }) => workers === 0);
    const entries = [
      ...served,
      ...missing,
      ...idle.filter((entry) => !missing.some((one) => isSameVersion(one, entry))),
    ];
    this.#byName = Map.groupBy(entries, ({ model }) => model.name);
    this.#byModel = new Map(entries.map((entry) => [entry.model, entry]));
  }
}

function isSameVersion(a: Entry, b: Entry): boolean {
  return a.model.name === b.model.name && a.model.version === b.model.version;
}
