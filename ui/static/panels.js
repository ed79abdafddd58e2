/* The page "Ask": the list of conversations and the sources fold away, which this browser remembers. */
(() => {
  "use strict";
  const one = (selector) => document.querySelector(selector);
  const COLUMN = matchMedia("(min-width: 1101px)"); /* narrower, the list lies over the page; see ask.css */
  const ROOMY = matchMedia("(min-width: 1400px)");  /* from here on the list leaves enough for reading */
  const NAMES = ["list", "sources"];
  const chosen = {}; /* on this page; stored is what the next one begins with */

  function kept(name) {
    try { return chosen[name] || localStorage.getItem(`gardener.${name}`); } catch { return chosen[name]; }
  }
  function isOpen(name) {
    if (name === "list" && !COLUMN.matches) return document.body.classList.contains("list-open");
    return (kept(name) || (name === "sources" || ROOMY.matches ? "open" : "folded")) === "open";
  }

  function show() {
    if (!document.body) return;
    for (const name of NAMES) {
      const state = isOpen(name) ? "open" : "folded", toggle = one(`#${name}-toggle`);
      if (document.body.dataset[name] !== state) document.body.dataset[name] = state;
      if (toggle) toggle.setAttribute("aria-expanded", String(state === "open"));
    }
  }

  function fold(name, open, remember = true) {
    if (remember) hold(); /* else a citation opens the sources, and its own place is held */
    if (name === "list" && !COLUMN.matches) document.body.classList.toggle("list-open", open);
    else {
      chosen[name] = open ? "open" : "folded";
      if (remember) try { localStorage.setItem(`gardener.${name}`, chosen[name]); } catch { /* until the page is left */ }
    }
    show();
    const inside = { list: "#past", sources: "#reading" }[name];
    if (!open && document.activeElement && document.activeElement.closest(inside)) one(`#${name}-toggle`).focus();
    if (open && name === "list" && one("#find :is(input, textarea)")) one("#find :is(input, textarea)").focus();
  }

  /* ---- the text that is read stays where it is when a panel makes its column wider or narrower ---- */
  const HOLD_MS = 5000; /* an opened file comes from the server */
  let held = null, width = 0;
  function hold(element) {
    const wrap = one("#chat .bubble-wrap");
    if (!wrap) return;
    const box = wrap.getBoundingClientRect();
    const at = element && wrap.contains(element) ? element : document.elementFromPoint(box.left + box.width / 2, box.top + 60);
    if (!at || !wrap.contains(at)) return;
    held = { at, top: at.getBoundingClientRect().top, until: Date.now() + HOLD_MS };
    watcher.observe(wrap);
  }
  const watcher = new ResizeObserver(([seen]) => {
    if (seen.contentRect.width === width) return;
    width = seen.contentRect.width;
    if (held && held.at.isConnected && Date.now() < held.until) seen.target.scrollTop += held.at.getBoundingClientRect().top - held.top;
  });

  window.gardener = window.gardener || {};
  window.gardener.panels = {
    fold, hold, toggle: (name) => fold(name, !isOpen(name)),
    /* Closes the list where it lies over the page; whether it did. */
    leave() {
      if (!document.body.classList.contains("list-open")) return false;
      document.body.classList.remove("list-open");
      show();
      return true;
    },
  };

  for (const media of [COLUMN, ROOMY]) media.addEventListener("change", show);
  document.addEventListener("gardener-turned", (event) => {
    document.body.dataset.asked = event.detail.conversation || event.detail.path ? "yes" : "no";
  });
  /* The buttons come with Gradio's first picture. */
  const first = new MutationObserver(() => {
    show();
    if (NAMES.every((name) => one(`#${name}-toggle`))) first.disconnect();
  });
  first.observe(document.documentElement, { childList: true, subtree: true });
  show();
})();
