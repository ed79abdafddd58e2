/* The page "Ask": which model answers, and choosing another for the project. */
(() => {
  "use strict";
  const one = (selector, within = document) => within.querySelector(selector);
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const project = () => { const page = one("#page-key"); return page ? page.dataset.projectId : ""; };

  document.addEventListener("gardener-pulse", (event) => {
    const button = one("#model-choice"), now = event.detail.answers;
    if (!button) return;
    button.hidden = !now;
    if (!now) return;
    const name = now.backend === "extractive" ? "no model, the code is quoted" : [now.model, now.backend].filter(Boolean).join(" · ");
    if (button.dataset.said === name) return;
    button.dataset.said = name;
    button.textContent = `Answered by: ${name}`;
  });

  async function api(method, path, body) {
    const sent = body ? { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : { method };
    const answer = await fetch(path, sent), found = await answer.json().catch(() => ({}));
    if (answer.ok) return found;
    const error = found.error || {};
    throw Object.assign(new Error(error.message || `The app answered ${answer.status}.`), { step: error.next_step });
  }

  const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.max(1, Math.round(bytes / 1e6))} MB`);

  function row(choice, number) {
    const radio = make("input", { type: "radio", name: "choice", value: String(number), checked: choice.chosen,
      disabled: Boolean(choice.problem) && !choice.chosen });
    const facts = [choice.title === choice.backend || ["auto", "extractive"].includes(choice.backend) ? "" : choice.backend,
      choice.bytes ? size(choice.bytes) : "", choice.problem].filter(Boolean).join(" · ");
    return make("label", { className: "choice" }, radio, make("span", {}, make("span", { textContent: choice.title }),
      ...(facts ? [make("span", { className: "quiet", textContent: facts })] : [])));
  }

  async function open() {
    const of = project(), before = document.activeElement;
    if (!of || one("dialog[open]")) return;
    const heading = make("h2", { id: "choose-heading", textContent: "What answers" });
    const list = make("fieldset", {}, make("p", { className: "quiet", textContent: "Asking which models there are…" }));
    const said = make("p", { className: "warning", hidden: true });
    said.setAttribute("role", "alert");
    const cancel = make("button", { type: "button", textContent: "Cancel" });
    const use = make("button", { className: "chosen", textContent: "Use it", disabled: true });
    const form = make("form", {}, heading,
      make("p", { className: "quiet", textContent: "Kept with the project, from the next question on. It is loaded then; switching projects loads nothing." }),
      list, said, make("div", { className: "line" }, make("a", { href: "/models", textContent: "All about models" }), cancel, use));
    const dialog = make("dialog", { className: "typed models" }, form);
    dialog.setAttribute("aria-labelledby", heading.id);
    const tell = (text, step) => {
      said.replaceChildren(...(step ? [`${text} `, make("code", { textContent: step })] : [text]));
      said.hidden = !text;
    };
    let rows = [];
    cancel.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => { dialog.remove(); if (before && before.isConnected) before.focus(); });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const picked = rows[Number(new FormData(form).get("choice"))];
      if (!picked || use.disabled) return;
      use.disabled = true;
      tell("");
      try {
        await api("POST", "/api/models/choose", { project: of, backend: picked.backend, model: picked.model });
        dialog.close();
      } catch (error) {
        tell(error.message, error.step);
        use.disabled = false;
      }
    });
    document.body.append(dialog);
    dialog.showModal();
    cancel.focus();
    try {
      const found = await api("GET", `/api/models/choices?project=${encodeURIComponent(of)}`);
      rows = found.choices;
      heading.textContent = `What answers ${found.project}`;
      list.setAttribute("aria-labelledby", heading.id);
      list.replaceChildren(...rows.map(row), ...Object.entries(found.problems).map(([name, why]) =>
        make("p", { className: "quiet", textContent: `${name}: ${why}` })));
      use.disabled = false;
      const chosen = one("input:checked", list);
      if (chosen && dialog.open) chosen.focus();
    } catch (error) {
      list.replaceChildren();
      tell(error.message, error.step);
    }
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest && event.target.closest("#model-choice")) open();
  });
})();
