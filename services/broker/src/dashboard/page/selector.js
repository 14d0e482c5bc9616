import { make } from "./dom.js";

/** What is looked at stands in the address of the page, so that a view can be shared: the name of a model, or nothing for all. */

/** @returns {string | undefined} */
function readSelection() {
  return new URLSearchParams(location.search).get("model") ?? undefined;
}

/** @param {string | undefined} model */
export function queryOf(model) {
  return model === undefined ? "" : `?${new URLSearchParams({ model })}`;
}

/** The list of models. */
export class Selector {
  #select;
  #selection = readSelection();
  /** @type {(string | undefined)[]} */
  #choices = [];
  #shown = "";

  /**
   * @param {HTMLSelectElement} select
   * @param {(model: string | undefined) => void} onChange
   */
  constructor(select, onChange) {
    this.#select = select;
    select.addEventListener("change", () => {
      this.#selection = this.#choices[select.selectedIndex];
      history.replaceState(undefined, "", `${location.pathname}${queryOf(this.#selection)}`);
      onChange(this.#selection);
    });
  }

  /** The model that is looked at; undefined: all. */
  get selection() {
    return this.#selection;
  }

  /** @param {import("../frames.ts").Now} now */
  show({ models, moreModels }) {
    /** @type {[choice: string | undefined, text: string][]} */
    const options = [[undefined, moreModels > 0 ? `All (${moreModels} not listed)` : "All"]];
    for (const { name, workers } of models) options.push([name, workers === 0 ? `${name} (no worker)` : name]);
    const selection = this.#selection;
    if (!options.some(([choice]) => choice === selection)) options.push([selection, `${selection} (not here)`]);
    const shown = JSON.stringify(options);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#choices = options.map(([choice]) => choice);
    this.#select.replaceChildren(...options.map(([, text]) => make("option", {}, text)));
    this.#select.selectedIndex = this.#choices.indexOf(selection);
  }
}
