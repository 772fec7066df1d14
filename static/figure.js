// One tab stop for each figure; arrows go from linked mark to linked mark; what the mark says stands below the figure.
// Without this file every linked mark is a tab stop and the table under the figure says the same.
(() => {
  "use strict";
  const marks = (figure) => [...figure.querySelectorAll("svg a[href], svg a[*|href]")];
  const words = (el) => el.closest("[aria-label]")?.getAttribute("aria-label") ?? el.querySelector?.("[aria-label]")?.getAttribute("aria-label");
  const say = (figure, el) => {
    const readout = figure.querySelector("[data-readout]");
    const text = el && words(el);
    if (readout && text && text !== figure.querySelector("svg")?.getAttribute("aria-label")) readout.textContent = text;
  };
  const prepare = (root) => root.querySelectorAll("figure[data-figure]").forEach((figure) => {
    marks(figure).forEach((mark, i) => mark.setAttribute("tabindex", i ? "-1" : "0"));
  });
  document.addEventListener("keydown", (e) => {
    const figure = e.target.closest?.("figure[data-figure]");
    const all = figure && e.target.closest("svg") ? marks(figure) : [];
    const at = all.indexOf(e.target);
    if (at < 0) return;
    const to = {
      ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: all.length - 1,
    }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    const mark = all[Math.max(0, Math.min(to, all.length - 1))];
    all.forEach((other) => other.setAttribute("tabindex", other === mark ? "0" : "-1"));
    mark.focus();
  });
  for (const kind of ["focusin", "pointerover"]) {
    document.addEventListener(kind, (e) => {
      const figure = e.target.closest?.("figure[data-figure]");
      if (figure && e.target.closest("svg")) say(figure, e.target);
    });
  }
  prepare(document);
  document.addEventListener("htmx:afterSettle", () => prepare(document));
})();
