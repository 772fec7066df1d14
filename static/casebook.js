// The casebook's own keys. Every page works without this file.
//
// data-digits           a radio group: 1, 2, 3 ... choose, and the next question has the focus
// data-stages           a group of stages of one digit: a digit fills its field, and the next one has the focus
// data-put, data-value  a button that puts its value into the field of that id (a date with two readings)
(() => {
  "use strict";
  document.addEventListener("keydown", (e) => {
    const group = e.target.type === "radio" && e.target.closest("[data-digits]");
    if (!group || e.ctrlKey || e.metaKey || e.altKey || !/^[1-9]$/.test(e.key)) return;
    const wanted = group.querySelectorAll("input[type=radio]")[Number(e.key) - 1];
    if (!wanted) return;
    e.preventDefault();
    wanted.click();
    const groups = [...document.querySelectorAll("[data-digits]")];
    const next = groups[groups.indexOf(group) + 1];
    const first = next?.querySelector("input[type=radio]:checked") ?? next?.querySelector("input[type=radio]");
    (first ?? wanted).focus();
  });
  document.addEventListener("input", (e) => {
    const group = e.target.closest("[data-stages]");
    if (!group || !/^[0-9]$/.test(e.target.value) || e.inputType?.startsWith("delete")) return;
    const fields = [...group.querySelectorAll("input")];
    const next = fields[fields.indexOf(e.target) + 1] ?? e.target.form.querySelector("[data-complete]");
    next?.focus();
    next?.select?.();
  });
  document.addEventListener("click", (e) => {
    const button = e.target.closest("[data-put]");
    const field = button && document.getElementById(button.dataset.put);
    if (!field) return;
    field.value = button.dataset.value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new Event("change", { bubbles: true }));
    field.focus();
  });
})();
