const KEY = "millrace-theme";

/** What the button goes through. `auto`: as the system has it. */
const CHOICES = /** @type {const} */ (["auto", "light", "dark"]);

/**
 * Lets the reader choose the theme, remembers it, and tells when colours have changed.
 *
 * @param {HTMLElement} button
 * @param {() => void} onChange
 */
export function setUpTheme(button, onChange) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let choice = CHOICES.find((known) => known === localStorage.getItem(KEY)) ?? "auto";

  const apply = () => {
    const theme = choice === "auto" ? (system.matches ? "dark" : "light") : choice;
    document.documentElement.dataset["theme"] = theme;
    const label = `Theme: ${choice}`;
    button.textContent = { auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[choice];
    button.setAttribute("aria-label", label);
    button.title = `${label}. Click to change.`;
  };
  button.addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length] ?? "auto";
    localStorage.setItem(KEY, choice);
    apply();
    onChange();
  });
  system.addEventListener("change", () => {
    apply();
    onChange();
  });
  apply();
}
