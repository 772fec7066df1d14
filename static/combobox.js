// A search field with a list of suggestions, a group of grades, and buttons that fill a field. Works on fragments too.
//
// data-combobox         the input; its list (aria-controls) is filled by htmx with role="option" elements with data-value.
//                       Arrows, Home and End move, Enter and a click choose, Escape closes. What is chosen is "changed".
// data-says             selector of the place where their number is said; its data-some and data-none hold the words
// data-then             selector of the fieldset that takes the focus once its htmx answer to a choice has come
// data-digits           a fieldset of radio buttons: a digit chooses the button of that value
// data-keeps-focus      a place that htmx fills while one types: neither the focus nor a value is lost by it
// data-without-script   what is there for browsers without scripts only: hidden
// data-fill             a button that writes data-value into the field of that id
(() => {
  "use strict";
  const listOf = (box) => document.getElementById(box.getAttribute("aria-controls"));
  const optionsOf = (box) => [...listOf(box).querySelectorAll('[role="option"]')];
  const boxOf = (list) => document.querySelector(`[data-combobox][aria-controls="${list.id}"]`);
  document.querySelectorAll("[data-without-script]").forEach((one) => (one.hidden = true));
  let waiting = null; // the fieldset that takes the focus after a choice

  const point = (box, option) => {
    optionsOf(box).forEach((one) => one.setAttribute("aria-selected", String(one === option)));
    if (option) {
      box.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else box.removeAttribute("aria-activedescendant");
  };
  const say = (box, text) => {
    const place = document.querySelector(box.dataset.says);
    if (place) place.textContent = text;
  };
  const show = (box, open) => {
    listOf(box).hidden = !open;
    box.setAttribute("aria-expanded", String(open));
    if (open) return;
    point(box, null);
    say(box, "");
  };
  const choose = (box, option) => {
    box.value = option.dataset.value;
    show(box, false);
    waiting = box.dataset.then ?? null;
    box.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const firstStop = (group) => group?.querySelector("input:checked:enabled") ?? group?.querySelector("input:enabled");

  // Caught on the way down: Enter that chooses must not also go to the next field (app.js).
  document.addEventListener("keydown", (e) => {
    const box = e.target.closest?.("[data-combobox]");
    if (!box || e.isComposing || e.altKey || e.ctrlKey || e.metaKey) return;
    const open = box.getAttribute("aria-expanded") === "true";
    const all = optionsOf(box);
    const at = all.findIndex((one) => one.id === box.getAttribute("aria-activedescendant"));
    const to = { ArrowDown: at + 1, ArrowUp: at < 0 ? all.length - 1 : at - 1, Home: 0, End: all.length - 1 }[e.key];
    if (e.key === "Escape" && open) show(box, false);
    else if (e.key === "Enter" && open && all.length) choose(box, all[Math.max(at, 0)]);
    else if (e.key === "Tab") return show(box, false);
    else if (to !== undefined && all.length && (open || e.key.startsWith("Arrow"))) {
      if (!open) show(box, true);
      point(box, all[(to + all.length) % all.length]);
    } else return;
    e.preventDefault();
    e.stopImmediatePropagation();
  }, true);
  document.addEventListener("pointerdown", (e) => {
    const option = e.target.closest?.('[role="listbox"] [role="option"]');
    const box = option && boxOf(option.closest('[role="listbox"]'));
    if (box) {
      e.preventDefault();
      choose(box, option);
    } else document.querySelectorAll('[data-combobox][aria-expanded="true"]').forEach((one) => e.target !== one && show(one, false));
  });

  // What was chosen or typed while the answer was under way is kept: an answer never takes a value away.
  const typedIn = (place) => [...place.querySelectorAll("input")].filter((el) => (el.type === "radio" ? el.checked : el.value));
  document.addEventListener("htmx:beforeSwap", (e) => {
    const place = e.detail.target;
    if (!place.matches("[data-keeps-focus]")) return;
    const kept = typedIn(place).map((el) => [el.name, el.type, el.value]);
    place.addEventListener("htmx:afterSwap", () => kept.forEach(([name, type, value]) => {
      if (type !== "radio") place.querySelectorAll(`input[name="${name}"]`).forEach((el) => (el.value = value));
      else place.querySelectorAll(`input[name="${name}"]:enabled`).forEach((el) => (el.checked ||= el.value === value));
    }), { once: true });
  });
  document.addEventListener("htmx:afterSettle", (e) => {
    const box = e.target.matches?.('[role="listbox"]') && boxOf(e.target);
    if (box) {
      const count = optionsOf(box).length;
      if (document.activeElement === box && box.value.trim() && !optionsOf(box).some((one) => one.dataset.value === box.value)) {
        const words = document.querySelector(box.dataset.says)?.dataset ?? {};
        show(box, count > 0);
        say(box, count ? `${words.some} ${count}` : words.none);
      } else show(box, false);
      return;
    }
    const group = waiting && e.target.querySelector?.(waiting);
    if (group) {
      waiting = null;
      firstStop(group)?.focus();
    } else if (document.activeElement === document.body && e.target.matches?.("[data-keeps-focus]")) {
      firstStop(e.target.querySelector("[data-digits]"))?.focus(); // the button that had the focus is not offered any more
    }
  });

  document.addEventListener("keydown", (e) => {
    const group = e.target.closest?.("[data-digits]");
    if (!group || e.target.type !== "radio" || !/^[0-9]$/.test(e.key) || e.ctrlKey || e.metaKey || e.altKey) return;
    const radio = group.querySelector(`input[type=radio][value="${e.key}"]:enabled`);
    e.preventDefault();
    if (!radio) return;
    radio.checked = true;
    radio.focus();
    radio.dispatchEvent(new Event("change", { bubbles: true }));
  });

  document.addEventListener("click", (e) => {
    const button = e.target.closest?.("[data-fill]");
    const field = button && document.getElementById(button.dataset.fill);
    if (!field) return;
    field.value = button.dataset.value;
    field.focus();
    field.dispatchEvent(new Event("change", { bubbles: true }));
  });
})();
