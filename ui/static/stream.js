/* The stream from the app to the page. Gradio closes it when no event is under way, and what is asked for at that very
   moment is answered into the closed one. So an event is kept open while the page is looked at: `follow`, `rest`. */
(() => {
  "use strict";
  const LEAVE_MS = 3000, APART_MS = 1000; /* a stream that is just being closed takes a new event with it */
  let open = false, leaving = 0, left = 0;
  window.gardener = window.gardener || {};
  window.gardener.looking = () => open && !left;

  /* A tab that nobody looks at gives its stream up: six is all that a browser has for every tab of one server. */
  function leave() {
    clearTimeout(leaving);
    leaving = setTimeout(() => { leaving = 0; left = Date.now(); window.gardener.rest(); }, LEAVE_MS);
  }
  function comeBack() {
    clearTimeout(leaving);
    if (!left) return;
    leaving = setTimeout(() => { left = 0; window.gardener.follow(true); }, Math.max(0, left + APART_MS - Date.now()));
  }
  document.addEventListener("gardener-page", () => setTimeout(() => {
    if (open) return;
    open = true;
    window.gardener.follow();
    if (document.hidden) leave();
  }, 0));
  document.addEventListener("visibilitychange", () => {
    if (open) { if (document.hidden) leave(); else comeBack(); }
  });
})();
