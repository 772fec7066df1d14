// Blocking and tiny: the page is painted once, in the right colours.
(() => {
  const root = document.documentElement;
  const cookie = /(?:^|; )theme=(light|dark)/.exec(document.cookie);
  const chosen = root.dataset.theme || (cookie ? cookie[1] : "auto");
  const device = matchMedia("(prefers-color-scheme: dark)");
  const paint = () => {
    root.dataset.bsTheme = chosen === "auto" ? (device.matches ? "dark" : "light") : chosen;
  };
  paint();
  device.addEventListener("change", paint);
})();
