/* The page "Ask": what is shown against what the app says, the address, drafts, buttons, citations, the keyboard. */
(() => {
  "use strict";
  const one = (selector) => document.querySelector(selector);
  const shown = () => { const element = one("#page-key"); return element && element.dataset.key ? element.dataset : null; };
  const tell = (name, data) => { if (window.gardener && window.gardener.tell) window.gardener.tell(name, data); };
  window.gardener = window.gardener || {};
  const panels = window.gardener.panels;

  /* A reload must not undo a switch that was made elsewhere in the meantime: the project becomes what it was. */
  const entry = performance.getEntriesByType("navigation")[0];
  if (location.pathname === "/" && entry && entry.type !== "navigate") {
    const kept = new URLSearchParams(location.search);
    if (kept.has("project")) {
      kept.set("was", kept.get("project"));
      kept.delete("project");
      history.replaceState(history.state, "", `/?${kept}`);
    }
  }

  /* ---- the pulse: a switch, another page's question, a new title ---- */
  let told = "", toldAt = 0;
  window.gardener.pulseQuery = () => {
    const page = shown();
    return page && page.project ? `?conversation=${encodeURIComponent(page.conversation)}` : "";
  };

  document.addEventListener("gardener-pulse", (event) => {
    const page = shown(), pulse = event.detail;
    if (!page) return;
    const switched = page.key !== pulse.page;
    /* Hidden at once: nothing of one project stays on screen while another is active. */
    document.body.classList.toggle("moving", switched);
    /* A pulse that was asked for before the page turned to another conversation says nothing about this one. */
    const known = pulse.conversation !== undefined && pulse.asked === page.conversation;
    const changed = known && (pulse.conversation !== page.conversationKey || pulse.conversations !== page.listKey);
    if (!switched && !changed) return;
    const news = [pulse.page, pulse.conversation, pulse.conversations].join("|"), now = Date.now();
    if (told === news && now - toldAt < 3000) return;
    told = news; toldAt = now;
    tell("moved", {});
  });

  /* ---- who answers now, while that is not what was wanted ---- */
  document.addEventListener("gardener-pulse", (event) => {
    const line = one("#model-line"), now = event.detail.answers;
    if (!line) return;
    let text = "", step = "";
    if (now && now.level === "search only" && now.level_reason) {
      text = `No model can answer now: ${now.level_reason} Until one can, answers quote the index.`;
      step = now.level_next_step || "";
    } else if (now && now.level === "small or cached") {
      text = `${now.model || now.backend} stands in: ${now.level_reason}`;
      step = now.level_next_step || "";
    }
    text = text.replaceAll("`", "");  /* written for terminals and Markdown; this is neither */
    if (text.includes(step)) step = "";
    if (line.dataset.said === text + step) return;
    line.dataset.said = text + step;
    line.textContent = text ? `${text} ` : "";
    if (step) line.append(Object.assign(document.createElement("code"), { textContent: step }));
  });

  /* ---- what is shown: the address bar and the draft follow it ---- */
  let draftOf = null, lastPage = "";
  function turned() {
    const page = shown();
    if (!page) return;
    const link = new URLSearchParams();
    if (page.project) link.set("project", page.project);
    if (page.conversation) link.set("conversation", page.conversation);
    if (page.path) { link.set("path", page.path); link.set("lines", page.lines); }
    const address = link.size ? `/?${link}` : "/";
    if (location.pathname + location.search !== address) history.replaceState(history.state, "", address);
    if (draftOf !== page.projectId) {
      keepDraft();
      draftOf = page.projectId;
      const saved = read(draftOf);
      if (saved || lastPage) write(saved);
    }
    const now = `${page.projectId} ${page.conversation}`;
    if (now !== lastPage) { lastPage = now; panels.leave(); }
    document.dispatchEvent(new CustomEvent("gardener-turned", { detail: page }));
    keepPlace();
  }

  /* ---- the draft of a question, for each project; nothing that the app said is ever stored ---- */
  const DRAFT = "gardener.draft.";
  const box = () => one("#question textarea");
  function read(project) {
    try { return (project && localStorage.getItem(DRAFT + project)) || ""; } catch { return ""; }
  }
  function keepDraft() {
    const question = box();
    if (!draftOf || !question) return;
    try {
      if (!question.value) localStorage.removeItem(DRAFT + draftOf);
      else if (question.value !== read(draftOf)) localStorage.setItem(DRAFT + draftOf, question.value);
    } catch { /* a browser that stores nothing: the question is still in the box */ }
  }
  function write(text) {
    const question = box();
    if (!question || question.value === text) return;
    Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(question, text);
    question.dispatchEvent(new Event("input", { bubbles: true }));
  }
  document.addEventListener("input", (event) => { if (event.target === box()) keepDraft(); });
  document.addEventListener("gardener-pulse", keepDraft);
  window.addEventListener("pagehide", keepDraft);

  /* ---- buttons ---- */
  const CHIPS = { good: ["Right", "Found the place", "Clear"],
    bad: ["Wrong", "Wrong place cited", "Did not answer", "Too long", "Out of date"] };

  function act(what, argument, text) { tell("act", { what, argument: String(argument || ""), text: text || "" }); }

  let next = "";  /* what gets the focus when it is there: the button that was pressed is gone then */
  async function begin(what, argument) {
    if (what === "rename") {
      const title = one("#head h2");
      const name = await typed("Rename this conversation", "Title", title ? title.textContent : "", { save: "Rename" });
      if (name && name.trim()) act(what, argument, name);
    } else if (what === "good" || what === "bad") {
      const head = what === "good" ? "Helpful" : "Not helpful";
      const why = await typed(head, "Why? (optional)", "", { lines: 3, chips: CHIPS[what], save: "Save" });
      if (why !== null) act(what, argument, why);
    } else {
      if (what === "earlier") rememberPlace();
      if (what === "delete") next = ".undo button";
      if (what === "undelete") next = "#question textarea";
      if (what === "shut") next = "#sources [data-cite], #question textarea";
      if (what === "more") { next = "#source .code"; rememberLine(); }
      act(what, argument);
    }
  }

  /* Something came back that only the browser can do. */
  let lastParcel = 0;
  window.gardener.take = async (parcel) => {
    if (!parcel || parcel.number === lastParcel) return;
    lastParcel = parcel.number;
    if (parcel.copy !== undefined) copy(parcel.copy);
    if (parcel.save) {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([parcel.text], { type: parcel.type }));
      link.download = parcel.save;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }
    if (parcel.edit) {
      const text = await typed("Ask it in other words", "Question", parcel.text,
        { lines: 6, save: "Ask", note: "The earlier question and its answer stay; you can go back to them." });
      if (text && text.trim()) act("edit", parcel.edit, text);
    }
  };

  async function copy(text) {
    try { await navigator.clipboard.writeText(text); say("Copied."); }
    catch { say("The browser did not allow copying."); }
  }

  function say(text) {
    let line = one("#said");
    if (!line) {
      line = document.createElement("div");
      line.id = "said";
      line.setAttribute("role", "status");
      document.body.append(line);
    }
    line.textContent = text;
    clearTimeout(line.timer);
    line.timer = setTimeout(() => { line.textContent = ""; }, 2500);
  }

  /* A dialog with one field; resolves to its text, or null when it was left. */
  function typed(heading, label, value, { lines = 1, chips = [], save = "Save", note = "" } = {}) {
    const dialog = document.createElement("dialog"), form = document.createElement("form");
    dialog.className = "typed";
    form.method = "dialog";
    dialog.append(form);
    const add = (tag, properties, parent = form) => {
      const element = Object.assign(document.createElement(tag), properties);
      parent.append(element);
      return element;
    };
    dialog.setAttribute("aria-labelledby", add("h2", { id: "typed-heading", textContent: heading }).id);
    if (note) add("p", { className: "quiet", textContent: note });
    add("label", { htmlFor: "typed-field", textContent: label });
    const field = add(lines > 1 ? "textarea" : "input", { id: "typed-field", value, rows: lines, maxLength: lines > 3 ? 20000 : 2000 });
    if (chips.length) {
      const row = add("div", { className: "chips" });
      for (const text of chips) {
        const chip = add("button", { type: "button", textContent: text }, row);
        chip.addEventListener("click", () => {
          field.value = field.value ? `${field.value.trim()}, ${text.toLowerCase()}` : text;
          field.focus();
        });
      }
    }
    const line = add("div", { className: "line" });
    add("button", { value: "no", textContent: "Cancel", formNoValidate: true, type: "button" }, line)
      .addEventListener("click", () => dialog.close("no"));
    add("button", { value: "yes", textContent: save, className: "chosen" }, line);
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); dialog.close("yes"); }
    });
    document.body.append(dialog);
    const before = document.activeElement;
    dialog.showModal();
    field.focus();
    return new Promise((resolve) => dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes" ? field.value : null);
      dialog.remove();
      if (before && before.isConnected) before.focus();
    }));
  }

  /* ---- where the reader was, when earlier messages come before it ---- */
  let place = null;
  const scroller = () => one("#chat .bubble-wrap");
  function rememberPlace() {
    const wrap = scroller();
    if (wrap) place = wrap.scrollHeight - wrap.scrollTop;
  }
  function keepPlace() {
    const wrap = scroller();
    if (place === null || !wrap) return;
    const back = place;
    place = null;
    let tries = 0;
    const settle = () => {
      wrap.scrollTop = wrap.scrollHeight - back;
      if (++tries < 20) requestAnimationFrame(settle);
    };
    settle();
  }

  /* ---- clicks: buttons, links in messages, citations ---- */
  function onClick(event) {
    const target = event.target.closest && event.target.closest("a[href], button");
    if (!target) return;
    const href = target.getAttribute("href") || "";
    const cited = /#cite-(\d+)-(\d+)$/.exec(href), done = /#do-([a-z]+)-([0-9a-f]+)$/.exec(href);
    const inChat = target.closest("#chat");
    if (inChat || target.closest("#reading")) panels.hold(target);
    if (target.dataset.cite) cite(Number(target.dataset.turn), Number(target.dataset.cite));
    else if (inChat && cited) cite(Number(cited[1]), Number(cited[2]));
    else if (inChat && href.startsWith("#")) {
      /* Only our own buttons act: an answer can hold such links too, under any words. Those would leave the page. */
      if (done && target.closest("#chat .acts")) begin(done[1], done[2]);
      else if (href === "#ask" && !target.closest("#chat .message")) { write(target.textContent); box().focus(); }
    } else if (target.dataset.act) begin(target.dataset.act, target.dataset.argument);
    else if (target.dataset.copy) copy(target.dataset.copy);
    else if (target.id === "list-toggle") panels.toggle("list");
    else if (target.id === "sources-toggle") panels.toggle("sources");
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function cite(turn, n) {
    line0 = null;
    window.gardener.opened = true;
    panels.fold("sources", true, false);
    tell("cite", { turn, n });
  }

  /* ---- the source that was just opened: to its lines, and to the reader on a narrow screen ---- */
  let placed = null, pressed = null, line0 = null;
  /* The line at the top of the view, which stays there when there is more above or below. */
  function rememberLine() {
    const code = one("#source .code"), top = code ? code.getBoundingClientRect().top : 0;
    const row = code && [...code.querySelectorAll("tr")].find((one) => one.getBoundingClientRect().bottom > top + 40);
    line0 = row ? { number: row.cells[0].textContent, away: row.getBoundingClientRect().top - top,
      rows: code.querySelectorAll("tr").length } : null;
  }
  function lineAgain(code) {
    if (code.querySelectorAll("tr").length === line0.rows) return;
    const row = [...code.querySelectorAll("tr")].find((one) => one.cells[0].textContent === line0.number);
    if (row) code.scrollTop += row.getBoundingClientRect().top - code.getBoundingClientRect().top - line0.away;
    line0 = null;
  }
  function onSource() {
    const list = one("#sources"), chosen = one("#sources [aria-pressed=true]");
    if (list && chosen && pressed !== chosen) {
      pressed = chosen;
      /* Only the list moves: scrollIntoView would move the page as well. */
      const at = chosen.getBoundingClientRect(), seen = list.getBoundingClientRect();
      if (at.top < seen.top) list.scrollTop -= seen.top - at.top + 4;
      else if (at.bottom > seen.bottom) list.scrollTop += at.bottom - seen.bottom + 4;
    }
    const code = one("#source .code"), line = one("#source tr.cited");
    if (code && line0) lineAgain(code);
    else if (code && line && placed !== code) { placed = code; code.scrollTop = Math.max(0, line.offsetTop - 60); }
    if (!window.gardener.opened) return;
    const heading = one("#source h3");
    if (!heading) return;
    window.gardener.opened = false;
    if (code && line) code.scrollTop = Math.max(0, line.offsetTop - 60);
    heading.focus({ preventScroll: true });
    const box = one("#source").getBoundingClientRect();
    if (box.top > window.innerHeight - 120 || box.top < 0) one("#reading").scrollIntoView({ block: "start" });
  }

  /* ---- keyboard ---- */
  function typing(element) {
    return element && (element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName));
  }

  const KEYS = [["/ or Ctrl+K", "to the question"], ["Ctrl+P", "to the projects"], ["Ctrl+Shift+O", "new conversation"],
    ["Ctrl+Shift+S", "show or hide the conversations"], ["Ctrl+.", "show or hide the sources"],
    ["\u2191 in an empty question", "edit the last question"], ["Enter", "ask"], ["Shift+Enter", "new line"],
    ["Esc", "stop the answer"], ["?", "this list"]];

  function showKeys() {
    const dialog = document.createElement("dialog"), list = document.createElement("dl"), close = document.createElement("button");
    dialog.className = "typed keys";
    dialog.setAttribute("aria-label", "Keys");
    for (const [key, what] of KEYS) {
      const row = document.createElement("div"), name = document.createElement("dt");
      name.append(Object.assign(document.createElement("kbd"), { textContent: key }));
      row.append(name, Object.assign(document.createElement("dd"), { textContent: what }));
      list.append(row);
    }
    close.textContent = "Close";
    close.addEventListener("click", () => dialog.close());
    dialog.append(Object.assign(document.createElement("h2"), { textContent: "Keys" }), list, close);
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  function onKey(event) {
    if (location.pathname !== "/" || one("dialog[open]")) return;
    const command = event.ctrlKey || event.metaKey, key = event.key.toLowerCase();
    if ((event.key === "/" && !command && !event.altKey && !typing(event.target)) ||
        (command && !event.shiftKey && key === "k")) {
      event.preventDefault();
      if (box()) box().focus();
    } else if (command && !event.shiftKey && key === "p") {
      event.preventDefault();
      const project = one("#project input");
      if (project) { project.focus(); project.select(); }
    } else if (command && event.shiftKey && key === "o") {
      event.preventDefault();
      const anew = one("#anew");
      if (anew) { anew.click(); if (box()) box().focus(); }
    } else if (command && event.shiftKey && key === "s") {
      event.preventDefault();
      panels.toggle("list");
    } else if (command && key === ".") {
      event.preventDefault();
      panels.toggle("sources");
    } else if (event.key === "ArrowUp" && event.target === box() && !box().value && !command) {
      const edits = document.querySelectorAll("#chat .acts a[href*='#do-edit']");
      if (edits.length) { event.preventDefault(); edits[edits.length - 1].click(); }
    } else if (event.key === "?" && !command && !typing(event.target)) {
      event.preventDefault();
      showKeys();
    } else if (event.key === "Escape") {
      if (panels.leave()) return;
      const stop = one("#stop");
      if (stop && stop.offsetParent) stop.click();
    } else if (event.key === " " && event.target.matches && event.target.matches("#chat .acts a")) {
      event.preventDefault(); /* they are links to the renderer and buttons to the reader */
      event.target.click();
    }
  }

  document.addEventListener("click", onClick, true);
  document.addEventListener("keydown", onKey, true);
  let last = "";
  new MutationObserver(() => {
    const page = shown(), now = page ? JSON.stringify(page) : "";
    if (now && now !== last) { last = now; turned(); }
    if (one("#source")) onSource();
    if (next && document.activeElement === document.body && one(next)) { one(next).focus(); next = ""; }
  }).observe(document.documentElement, { childList: true, subtree: true, attributes: true,
    attributeFilter: ["data-key", "data-conversation", "data-conversation-key", "data-path", "data-lines", "data-list-key"] });
})();
