/* The navigation, and what carries every page besides Ask: actions, completion, confirmation, running work. */
(() => {
  "use strict";
  const one = (selector, within = document) => within.querySelector(selector);
  const page = window.gardenerPages.find((entry) => entry.path === location.pathname.replace(/\/+$/, "")) ||
    window.gardenerPages[0];
  let ready = false, key = null;

  /* ---- navigation: on every page, Ask included ---- */
  function navigation() {
    const nav = document.createElement("nav");
    nav.id = "rail";
    nav.setAttribute("aria-label", "Pages");
    const skip = document.createElement("a");
    skip.className = "skip"; skip.href = "#content"; skip.textContent = "To the content";
    skip.addEventListener("click", (event) => {
      event.preventDefault();
      const target = one("#question textarea, #page-form input:not([type=hidden]), #page-main a, #page-main button");
      if (target) target.focus();
    });
    nav.append(skip);
    const mark = document.createElement("span");
    mark.className = "mark"; mark.textContent = "Gardener"; mark.setAttribute("aria-hidden", "true");
    nav.append(mark);
    const list = document.createElement("ul");
    for (const entry of window.gardenerPages) {
      const item = document.createElement("li"), link = document.createElement("a");
      link.href = entry.path || "/";
      link.innerHTML = `<svg viewBox="0 0 20 20" aria-hidden="true"><path d="${entry.icon}"/></svg>`;
      link.append(Object.assign(document.createElement("span"), { textContent: entry.name }));
      if (entry === page) link.setAttribute("aria-current", "page");
      item.append(link); list.append(item);
    }
    nav.append(list, themeButton());
    document.body.prepend(nav);
    document.body.dataset.page = page.name.toLowerCase();
    const current = one("[aria-current]", list);
    if (list.scrollWidth > list.clientWidth) list.scrollLeft = current.offsetLeft - 60;
  }
  /* ---- the theme: a button on every page, a field in the settings ---- */
  const THEME_ICON = "M10 2.5a7.5 7.5 0 1 0 0 15zM10 2.5a7.5 7.5 0 0 1 0 15";
  function themeButton() {
    const button = document.createElement("button");
    button.type = "button"; button.id = "theme";
    button.innerHTML = `<svg viewBox="0 0 20 20" aria-hidden="true"><path d="${THEME_ICON}"/></svg>`;
    const said = document.createElement("span");
    said.setAttribute("role", "status");
    button.append(said);
    button.addEventListener("click", () => window.gardener.theme.next());
    showTheme(said);
    document.addEventListener("gardener-theme", () => showTheme(said));
    return button;
  }
  function showTheme(said) {
    const theme = window.gardener.theme.chosen(), field = one("#theme-choice");
    if (said) said.textContent = `Theme: ${theme}`;
    if (field && field.value !== theme) field.value = theme;
  }
  document.addEventListener("change", (event) => {
    if (event.target.id === "theme-choice") window.gardener.theme.choose(event.target.value);
  });

  if (document.body) navigation(); else document.addEventListener("DOMContentLoaded", navigation);

  const title = () => { if (page.path && document.title !== `${page.name} — Gardener`) document.title = `${page.name} — Gardener`; };

  /* ---- actions ---- */
  let acted = null;  /* the name of what was pressed, and a control beside it */
  function send(what, fields, busy) {
    if (!window.gardener || !window.gardener.act) return;
    if (busy) {
      const near = one("[id]", busy.closest(".setting, .card, li, tr") || busy);
      acted = { button: busy, name: nameOf(busy), near: near && near.id };
    }
    if (busy) { busy.setAttribute("aria-busy", "true"); busy.setAttribute("aria-disabled", "true"); }
    window.gardener.act(what, fields);
  }

  const nameOf = (element) => element.getAttribute("aria-label") || element.textContent;

  /* What was pressed is often replaced by the answer: the keyboard goes on where it was, else at what is said. */
  function refocus() {
    const now = document.activeElement;
    /* Gradio changes what is there: what had the focus may be hidden now, or stand for something else. */
    const lost = acted && (now === document.body || !now.checkVisibility() || (now === acted.button && nameOf(now) !== acted.name));
    if (!lost || one("dialog[open]")) return;
    const said = one("#page-notice .notice");
    const seen = (element) => element && element.checkVisibility();
    const same = [...document.querySelectorAll("#page-form .act, #page-main .act")].filter((each) => seen(each) && nameOf(each) === acted.name);
    const near = acted.near && document.getElementById(acted.near);
    const again = same.length === 1 ? same[0] : seen(near) ? near : said;
    if (again === said && said) said.tabIndex = -1;
    if (again) again.focus({ preventScroll: true });
  }
  /* Until the reader goes on: an answer may come in several parts. */
  for (const kind of ["keydown", "pointerdown"]) document.addEventListener(kind, () => { acted = null; }, true);

  function own(element) {
    const fields = {};
    for (const [name, value] of Object.entries(element.dataset)) {
      if (name.startsWith("field")) fields[name.slice(5).replace(/^[A-Z]/, (c) => c.toLowerCase())] = value;
    }
    return fields;
  }

  function ask(question, label, then) {
    const dialog = document.createElement("dialog");
    dialog.className = "confirm";
    dialog.innerHTML = '<form method="dialog"><p id="confirm-text"></p><div class="line"><button value="no" class="act">Cancel</button><button value="yes" class="act danger"></button></div></form>';
    dialog.setAttribute("aria-labelledby", "confirm-text");
    one("p", dialog).textContent = question;
    one("[value=yes]", dialog).textContent = label;
    dialog.addEventListener("close", () => { if (dialog.returnValue === "yes") then(); dialog.remove(); });
    document.body.append(dialog);
    dialog.showModal();
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest && event.target.closest("button[data-do]");
    if (!target || target.type === "submit" || target.getAttribute("aria-busy") === "true") return;
    const act = () => send(target.dataset.do, own(target), target);
    if (target.dataset.confirm) ask(target.dataset.confirm, target.textContent, act); else act();
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset || !form.dataset.do) return;
    event.preventDefault();
    const by = event.submitter || one("[type=submit]", form);
    if (by && by.getAttribute("aria-busy") === "true") return;
    const what = (by && by.dataset.do) || form.dataset.do;
    const fields = Object.fromEntries(new FormData(form));
    if (form.dataset.address !== undefined) {
      const kept = Object.entries(fields).filter(([, value]) => value !== "");
      history.replaceState(history.state, "", `${location.pathname}?${new URLSearchParams(kept)}`);
    }
    send(what, fields, by);
  });

  document.addEventListener("change", (event) => {
    if (event.target.dataset && event.target.dataset.submits !== undefined && event.target.form) event.target.form.requestSubmit();
  });

  /* ---- after the server has spoken: nothing is busy any more, and what asks for the focus gets it ---- */
  function settled() {
    for (const busy of document.querySelectorAll("[aria-busy=true]")) {
      busy.removeAttribute("aria-busy"); busy.removeAttribute("aria-disabled");
    }
    const wanted = one("[data-focus]");
    if (wanted) { wanted.removeAttribute("data-focus"); wanted.focus(); } else refocus();
    const lines = one(".opened .code"), line = one(".opened tr.cited");
    if (lines && line && !lines.dataset.placed) { lines.dataset.placed = "yes"; lines.scrollTop = Math.max(0, line.offsetTop - 60); }
    const follow = one("[data-goto]");
    if (follow) location.assign(follow.dataset.goto);
    showTheme();
    const filtering = one("[data-filters]");
    if (filtering && filtering.value) filter(filtering);
    title();
  }
  function watchParts() {
    for (const name of ["notice", "form", "main"]) {
      const part = one(`#page-${name}`);
      /* Gradio counts the seconds of an action in the same place; that is no answer. */
      const answered = (changes) => changes.some((change) => !one("[data-testid=status-tracker]", part)?.contains(change.target));
      if (part) new MutationObserver((changes) => { if (answered(changes)) settled(); }).observe(part, { childList: true, subtree: true, characterData: true });
    }
  }

  function open() {
    if (ready || !window.gardener || !window.gardener.act) return;
    ready = true;
    title(); watchParts();
    send("open", Object.fromEntries(new URLSearchParams(location.search)));
  }
  document.addEventListener("gardener-page", () => setTimeout(open, 0));

  /* How many issues are open stands beside Health on every page. */
  function badge(issues) {
    const link = one('#rail a[href="/health"]');
    if (!link) return;
    const errors = issues.error || 0, count = errors + (issues.warning || 0);
    let mark = one(".issues", link);
    if (!count) { if (mark) mark.remove(); return; }
    if (!mark) { mark = document.createElement("span"); link.append(mark); }
    mark.className = errors ? "issues bad" : "issues";
    const text = String(count), said = count === 1 ? "1 open issue" : `${count} open issues`;
    if (mark.textContent !== text) mark.textContent = text;
    mark.setAttribute("role", "img"); mark.setAttribute("aria-label", said); mark.title = said;
  }

  /* The heartbeat: work that begins anywhere is followed; another active project is shown. */
  document.addEventListener("gardener-pulse", (event) => {
    badge(event.detail.issues || {});
    if (!ready || !window.gardener.looking()) return;
    const now = event.detail.page + (event.detail.index ? event.detail.index.updated_at : "");
    if (key !== null && key !== now) window.gardener.follow();
    key = now;
  });

  /* ---- a combobox whose options come from the server ---- */
  let asked = 0;
  const listOf = (input) => document.getElementById(input.getAttribute("aria-controls"));
  function close(input) {
    listOf(input).hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }
  async function complete(input) {
    const turn = ++asked;
    const answer = await fetch(`/pages/${input.dataset.complete}?typed=${encodeURIComponent(input.value)}`);
    if (!answer.ok || turn !== asked || document.activeElement !== input) return;
    const { options } = await answer.json();
    const list = listOf(input);
    list.replaceChildren(...options.map((value, index) => {
      const item = document.createElement("li");
      item.id = `${list.id}-${index}`; item.setAttribute("role", "option"); item.textContent = value;
      item.setAttribute("aria-selected", "false");
      item.addEventListener("mousedown", (event) => { event.preventDefault(); pick(input, value); });
      return item;
    }));
    list.hidden = options.length === 0;
    input.setAttribute("aria-expanded", String(options.length > 0));
    input.removeAttribute("aria-activedescendant");
  }
  function pick(input, value) { input.value = value + "/"; close(input); complete(input); }
  document.addEventListener("input", (event) => { if (event.target.dataset.complete) complete(event.target); });
  document.addEventListener("focusout", (event) => { if (event.target.dataset && event.target.dataset.complete) close(event.target); });
  document.addEventListener("keydown", (event) => {
    const input = event.target;
    if (!input.dataset || !input.dataset.complete) return;
    const list = listOf(input), items = [...list.children];
    const at = items.findIndex((item) => item.getAttribute("aria-selected") === "true");
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) { complete(input); return; }
      const next = (at + (event.key === "ArrowDown" ? 1 : at < 0 ? 0 : -1) + items.length) % items.length;
      items.forEach((item, index) => item.setAttribute("aria-selected", String(index === next)));
      input.setAttribute("aria-activedescendant", items[next].id);
      items[next].scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" && at >= 0 && !list.hidden) {
      event.preventDefault(); pick(input, items[at].textContent);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault(); event.stopPropagation(); close(input);
    }
  }, true);

  /* ---- a filter over what the page shows already ---- */
  function filter(input) {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of document.querySelectorAll(input.dataset.filters)) {
      item.hidden = !words.every((word) => item.dataset.words.includes(word));
    }
    for (const group of document.querySelectorAll("#page-main section")) {
      group.hidden = !one(`${input.dataset.filters.split(" ").pop()}:not([hidden])`, group);
    }
    let none = one("#filter-none");
    if (!none) {
      none = Object.assign(document.createElement("p"), { id: "filter-none", className: "quiet" });
      none.setAttribute("role", "status");
      input.closest(".card").after(none);
    }
    const said = one("#page-main section:not([hidden])") ? "" : "Nothing here has these words.";
    if (none.textContent !== said) none.textContent = said;  /* each change is taken for an answer, see watchParts */
  }
  document.addEventListener("input", (event) => { if (event.target.dataset.filters) filter(event.target); });

  /* "/" and Ctrl+K: to the page's search box, else to the question. */
  document.addEventListener("keydown", (event) => {
    if (!page.path) return;
    const command = event.ctrlKey || event.metaKey;
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    const slash = event.key === "/" && !command && !event.altKey && !typing;
    if (!slash && !(command && !event.shiftKey && event.key.toLowerCase() === "k")) return;
    event.preventDefault();
    const box = one("#page-form input[type=search]");
    if (box) box.focus(); else location.assign("/");
  });
})();
