/* Light, dark or as the system has it: this browser's choice. Runs before anything is painted. */
(() => {
  "use strict";
  const KEY = "gardener.theme", CHOICES = ["system", "light", "dark"], system = matchMedia("(prefers-color-scheme: dark)");
  let unkept = "system"; /* where the browser stores nothing: until the page is left */

  function chosen() {
    let kept = null;
    try { kept = localStorage.getItem(KEY); } catch { /* as above */ }
    return CHOICES.includes(kept) ? kept : unkept;
  }

  function apply() {
    const theme = chosen(), dark = theme === "system" ? system.matches : theme === "dark";
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    if (document.body && document.body.classList.contains("dark") !== dark) document.body.classList.toggle("dark", dark);
  }

  window.gardener = window.gardener || {};
  window.gardener.theme = {
    chosen,
    choose(theme) {
      unkept = CHOICES.includes(theme) ? theme : "system";
      try {
        if (unkept === "system") localStorage.removeItem(KEY); else localStorage.setItem(KEY, unkept);
      } catch { /* as above */ }
      apply();
      document.dispatchEvent(new Event("gardener-theme"));
    },
    next() { this.choose(CHOICES[(CHOICES.indexOf(chosen()) + 1) % CHOICES.length]); },
  };

  apply();
  new MutationObserver((_, whole) => {
    if (!document.body) return;
    whole.disconnect();
    apply();
    /* Gradio sets the class by the system's scheme; this puts it right before the next picture. */
    new MutationObserver(apply).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  }).observe(document.documentElement, { childList: true });
  system.addEventListener("change", apply);
  window.addEventListener("storage", () => { apply(); document.dispatchEvent(new Event("gardener-theme")); });
})();
