/* What Gradio has no event for: the heartbeat, the keyboard, citations in text, links that leave the machine. */
(() => {
  "use strict";
  const BEAT_MS = 500;      /* a switch made in a terminal shows within a second */
  const PATIENCE_MS = 2000; /* a server that is silent for this long, twice, is lost: the banner is up within 5 s */
  const one = (selector) => document.querySelector(selector);
  let started = null, lost = 0, told = "", toldAt = 0;

  /* ---- heartbeat ---- */
  function banner(text) {
    let element = one("#lost");
    if (!text) { if (element) element.remove(); return; }
    if (!element) {
      element = document.createElement("div");
      element.id = "lost";
      element.setAttribute("role", "alert");
      document.body.prepend(element);
    }
    if (element.textContent !== text) element.textContent = text;
  }

  function seconds(value) {
    return value == null ? "" : value < 90 ? ` · ${Math.ceil(value)} s left` : ` · ${Math.ceil(value / 60)} min left`;
  }

  function chip(pulse) {
    const element = one("#index-chip");
    if (!element) return;
    let text = "";
    const count = (number) => Number(number || 0).toLocaleString("en-US");
    const last = pulse.work && pulse.work.last;
    if (pulse.work && last && last.event === "progress") {
      const rate = last.rate ? ` · ${count(Math.round(last.rate))}/s` : "";
      const what = pulse.work.kind === "embed" ? "Making vectors" : `Indexing (${last.phase})`;
      text = `${what}: ${count(last.done)} of ${count(last.total)}${rate}${seconds(last.eta_s)}`;
      if (last.paused) text += ` · paused: ${last.paused}`;
    } else if (pulse.work) {
      text = pulse.work.kind === "embed" ? "Making vectors…" : "Comparing with the disk…";
    } else if (pulse.index && pulse.index.updated_at) {
      const vectors = Math.floor((pulse.index.embedded_fraction || 0) * 100);
      text = `${count(pulse.index.files)} files · ${count(pulse.index.chunks)} chunks` +
        (vectors < 100 ? ` · ${vectors} % with vectors` : "");
    }
    if (element.textContent !== text) element.textContent = text;
  }

  function follow(pulse) {
    const holder = one("#page-key");
    if (!holder || !window.gardener || !window.gardener.tell) return;
    const shown = holder.dataset.key;
    /* Hidden at once: nothing of one project stays on screen while another is active. */
    document.body.classList.toggle("moving", shown !== "" && shown !== pulse.page);
    if (shown === "" || shown === pulse.page) return;
    const now = Date.now();
    if (told === pulse.page && now - toldAt < 3000) return;
    told = pulse.page; toldAt = now;
    window.gardener.tell("moved", {});
  }

  async function beat() {
    try {
      const answer = await fetch("/api/pulse", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      if (answer.status === 401) {
        banner("This page's session has ended. In a terminal: gardener ui");
      } else if (answer.ok) {
        const pulse = await answer.json();
        if (started !== null && started !== pulse.started) { location.reload(); return; }
        started = pulse.started;
        lost = 0;
        banner("");
        chip(pulse);
        follow(pulse);
        document.dispatchEvent(new CustomEvent("gardener-pulse", { detail: pulse }));
      }
    } catch {
      if (++lost >= 2) banner("Gardener is not running. It will be back here by itself once you start it: gardener serve");
    }
    setTimeout(beat, document.hidden ? 4 * BEAT_MS : BEAT_MS);
  }

  /* ---- citations: in the panel (buttons) and in the text (links) ---- */
  function chosen(target) {
    const button = target.closest && target.closest("[data-cite]");
    if (button) return { turn: Number(button.dataset.turn), n: Number(button.dataset.cite) };
    const link = target.closest && target.closest("#chat a[href*='#cite-']");
    const match = link && /#cite-(\d+)-(\d+)$/.exec(link.getAttribute("href"));
    return match ? { turn: Number(match[1]), n: Number(match[2]) } : null;
  }

  function onClick(event) {
    const citation = chosen(event.target);
    if (citation) {
      event.preventDefault();
      event.stopPropagation();
      window.gardener.opened = true;
      window.gardener.tell("cite", citation);
      return;
    }
    const link = event.target.closest && event.target.closest("a[href]");
    if (link && link.getAttribute("href").endsWith("#ask")) {
      event.preventDefault();
      event.stopPropagation();
      propose(link.textContent);
      return;
    }
    if (!link || new URL(link.href, location.href).origin === location.origin) return;
    /* Text of a model or a repository wrote this link; following it is the reader's decision, with the address seen. */
    if (!window.confirm(`This link leaves Gardener:\n\n${link.href}\n\nOpen it?`)) {
      event.preventDefault();
      event.stopPropagation();
    }
  }

  function propose(text) {
    const question = one("#question textarea");
    if (!question) return;
    Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(question, text);
    question.dispatchEvent(new Event("input", { bubbles: true }));
    question.focus();
  }

  /* ---- keyboard ---- */
  function typing(element) {
    return element && (element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName));
  }

  function onKey(event) {
    const command = event.ctrlKey || event.metaKey;
    const question = one("#question textarea, #question input");
    if ((event.key === "/" && !command && !event.altKey && !typing(event.target)) ||
        (command && !event.shiftKey && event.key.toLowerCase() === "k")) {
      event.preventDefault();
      if (question) question.focus();
    } else if (command && !event.shiftKey && event.key.toLowerCase() === "p") {
      event.preventDefault();
      const project = one("#project input");
      if (project) project.focus();
    } else if (event.key === "Escape") {
      const stop = one("#stop");
      if (stop && stop.offsetParent) stop.click();
    }
  }

  /* ---- the source that was just opened: to its lines, and to the reader on a narrow screen ---- */
  function onSource() {
    if (!window.gardener || !window.gardener.opened) return;
    const heading = one("#source h3");
    if (!heading) return;
    window.gardener.opened = false;
    const code = one("#source .code"), line = one("#source tr.cited");
    if (code && line) code.scrollTop = Math.max(0, line.offsetTop - 60);
    heading.focus({ preventScroll: true });
    const box = one("#source").getBoundingClientRect();
    if (box.top > window.innerHeight - 120 || box.top < 0) {
      one("#reading").scrollIntoView({ block: "start" });
    }
  }

  document.documentElement.lang = "en";
  document.addEventListener("click", onClick, true);
  document.addEventListener("auxclick", onClick, true);
  document.addEventListener("keydown", onKey, true);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) lost = 0; });
  new MutationObserver(onSource).observe(document.documentElement, { childList: true, subtree: true });
  beat();
})();
