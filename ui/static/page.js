/* What every page needs and Gradio has no event for: the heartbeat, links that leave the machine. */
(() => {
  "use strict";
  const BEAT_MS = 500;      /* a switch made in a terminal shows within a second */
  const PATIENCE_MS = 2000; /* a server that is silent for this long, twice, is lost: the banner is up within 5 s */
  const UPGRADE_MS = 180000; /* an app that said it was to be upgraded is missed after this long */
  const one = (selector) => document.querySelector(selector);
  let started = null, lost = 0, leaving = 0;

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

  async function beat() {
    try {
      const query = window.gardener && window.gardener.pulseQuery ? window.gardener.pulseQuery() : "";
      const answer = await fetch("/api/pulse" + query, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      if (answer.status === 401) {
        banner("This page's session has ended. In a terminal: gardener ui");
      } else if (answer.ok) {
        const pulse = await answer.json();
        pulse.asked = new URLSearchParams(query).get("conversation");
        if (started !== null && started !== pulse.started) { location.reload(); return; }
        started = pulse.started;
        lost = 0;
        leaving = pulse.upgrading ? Date.now() : 0;
        banner("");
        chip(pulse);
        document.dispatchEvent(new CustomEvent("gardener-pulse", { detail: pulse }));
      }
    } catch {
      if (++lost >= 2 && Date.now() - leaving < UPGRADE_MS) banner("Gardener is being upgraded, and will be back here in a moment.");
      else if (lost >= 2) banner("Gardener is not running. It will be back here by itself once you start it: gardener serve");
    }
    setTimeout(beat, document.hidden ? 4 * BEAT_MS : BEAT_MS);
  }

  function onClick(event) {
    const link = event.target.closest && event.target.closest("a[href]");
    if (!link) return;
    const inChat = link.closest("#chat"), here = new URL(link.href, location.href).origin === location.origin;
    /* An address of our own can switch the project: in an answer it asks, too, unless it only names a place on the page. */
    if (here ? !inChat || link.getAttribute("href").startsWith("#") : link.classList.contains("editor") && !inChat) return;
    /* Text of a model or a repository wrote this link; following it is the reader's decision, with the address seen. */
    const where = here ? "This link was written in the answer" : "This link leaves Gardener";
    if (!window.confirm(`${where}:\n\n${link.href}\n\nOpen it?`)) {
      event.preventDefault();
      event.stopPropagation();
    }
  }

  document.documentElement.lang = "en";
  document.addEventListener("click", onClick, true);
  document.addEventListener("auxclick", onClick, true);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) lost = 0; });
  beat();
})();
