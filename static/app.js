// Keyboard, paste, unsaved work and session time. Every page works without this file; with it, without a mouse.
//
// data-entry            a form: Enter and Down go to the next field, Shift+Enter and Up back, Ctrl+Enter completes
// data-grid             a table of inputs: the same, down the column; a TSV block is pasted cell by cell
// data-aside            in a grid: a field beside the value, which Tab reaches; Enter goes down past it, or down its own column
// data-complete         the button that Ctrl+Enter presses (without it: the form's first submit button)
// data-download         a form that answers a file: its buttons stay usable
// data-autosave         a form whose fields save themselves by htmx: its fields do not count as unsaved work
// data-roving           a table or list of links with one tab stop: arrows, Home and End move among them
// data-code-form        six digits send the form by themselves
// data-fill-login       a button that fills the login form
// data-error-summary    takes the focus when it appears
(() => {
  "use strict";
  const FIELDS = "input:not([type=hidden]):not([type=submit]):not([type=button]), select, textarea";
  const usable = (el) => !el.disabled && !el.readOnly && el.tabIndex >= 0 && el.offsetParent !== null;
  const withCtrl = (e) => e.ctrlKey || e.metaKey;
  const focusOn = (el) => {
    el.focus();
    if (el.select && el.type !== "checkbox" && el.type !== "radio") el.select();
  };

  // --- Fields -------------------------------------------------------------------------------------------------
  const stops = (home) => {
    const fields = [...home.querySelectorAll(FIELDS)].filter(usable);
    // One stop for each group of radio buttons: the chosen one, else the first.
    const groups = new Map();
    fields.forEach((el) => {
      if (el.type !== "radio") return;
      const known = groups.get(el.name);
      if (!known || el.checked) groups.set(el.name, el);
    });
    return fields.filter((el) => el.type !== "radio" || groups.get(el.name) === el);
  };
  const downTheColumns = (grid, aside) => {
    const columns = [];
    for (const row of grid.rows) [...row.cells].forEach((cell, i) => (columns[i] ??= []).push(...cell.querySelectorAll(FIELDS)));
    return columns.flat().filter((el) => usable(el) && el.matches("[data-aside]") === aside);
  };
  const completeButton = (form) => form?.querySelector("[data-complete]") ?? form?.querySelector("button[type=submit], button:not([type])");
  const move = (field, step) => {
    const grid = field.closest("table[data-grid]");
    const home = field.closest("[data-entry]") ?? field.closest("[data-grid]");
    const list = grid ? downTheColumns(grid, field.matches("[data-aside]")) : stops(home);
    let at = list.indexOf(field);
    if (at < 0 && field.type === "radio") at = list.findIndex((el) => el.name === field.name);
    const next = list[at + step];
    if (next) focusOn(next);
    else if (step > 0) completeButton(field.form ?? home.closest("form"))?.focus();
  };

  document.addEventListener("keydown", (e) => {
    if (withCtrl(e) && !e.shiftKey && !e.altKey && e.key.toLowerCase() === "k") {
      const box = document.querySelector("[data-go]");
      if (box) {
        e.preventDefault();
        focusOn(box);
      }
      return;
    }
    const field = e.target.closest?.(FIELDS);
    if (!field || !field.closest("[data-entry], [data-grid]") || e.isComposing || e.altKey) return;
    if (e.key === "Enter" && withCtrl(e)) {
      e.preventDefault();
      // The value typed last must be sent too: leaving the field makes it "changed".
      field.blur();
      completeButton(field.form ?? field.closest("form"))?.click();
    } else if (e.key === "Enter" && field.tagName !== "TEXTAREA") {
      e.preventDefault();
      move(field, e.shiftKey ? -1 : 1);
    } else if ((e.key === "ArrowDown" || e.key === "ArrowUp") && !e.shiftKey && !withCtrl(e)) {
      // Lists, radio groups and texts have their own use for the arrows; so has an open suggestion list.
      if (field.tagName === "SELECT" || field.tagName === "TEXTAREA" || field.type === "radio") return;
      if (field.getAttribute("role") === "combobox") return;
      e.preventDefault();
      move(field, e.key === "ArrowDown" ? 1 : -1);
    }
  });

  // --- Pasting a block of cells -------------------------------------------------------------------------------
  document.addEventListener("paste", (e) => {
    const field = e.target.closest?.("table[data-grid] input");
    const text = e.clipboardData?.getData("text/plain").replace(/\r\n?/g, "\n").replace(/\n$/, "") ?? "";
    if (!field || !/[\t\n]/.test(text)) return;
    e.preventDefault();
    const grid = field.closest("table[data-grid]");
    const block = text.split("\n").map((line) => line.split("\t"));
    const rows = [...grid.rows].filter((row) => [...row.querySelectorAll(FIELDS)].some(usable));
    const top = rows.indexOf(field.closest("tr"));
    const left = [...rows[top].querySelectorAll(FIELDS)].filter(usable).indexOf(field);
    const cells = block.map((line, i) => {
      const inputs = rows[top + i] ? [...rows[top + i].querySelectorAll(FIELDS)].filter(usable) : [];
      return line.map((_, j) => inputs[left + j]);
    });
    // Whole or not at all: a block that hangs over the edge would lose values without a word.
    if (cells.flat().some((cell) => !cell)) {
      say(`The block has ${block.length} rows and ${Math.max(...block.map((l) => l.length))} columns and does not fit here. Nothing was pasted.`, true);
      return;
    }
    block.forEach((line, i) => line.forEach((value, j) => {
      const cell = cells[i][j];
      cell.value = value.trim();
      cell.dispatchEvent(new Event("input", { bubbles: true }));
      cell.dispatchEvent(new Event("change", { bubbles: true }));
    }));
    focusOn(cells.at(-1).at(-1));
    say(`${block.length} rows pasted. Check them before you complete the form.`);
  });

  const say = (text, wrong = false) => {
    const place = document.getElementById("messages");
    if (!place) return;
    const note = document.createElement("div");
    note.className = wrong ? "banner error" : "banner info";
    note.textContent = text;
    place.replaceChildren(note);
  };

  // --- Unsaved work, double sending ---------------------------------------------------------------------------
  const unsaved = new Set();
  const guarded = (form) => form && form.method === "post" && form.matches("[data-entry], [data-guard]") && !form.matches("[data-autosave]");
  document.addEventListener("input", (e) => {
    if (guarded(e.target.form)) unsaved.add(e.target.form);
  });
  addEventListener("beforeunload", (e) => {
    if ([...unsaved].some((form) => form.isConnected) || document.querySelector(".not-saved")) e.preventDefault();
  });
  document.addEventListener("submit", (e) => {
    const form = e.target;
    if (form.dataset.sending) {
      e.preventDefault();
      return;
    }
    unsaved.delete(form);
    // htmx sends these itself, serially; the guard is for whole pages.
    if (form.closest("[hx-post], [hx-put], [hx-patch]") || form.method !== "post" || form.target === "_blank" || form.matches("[data-download]")) return;
    form.dataset.sending = "1";
    // After the event: a button that is disabled now would not be sent along.
    setTimeout(() => form.querySelectorAll("button").forEach((b) => (b.disabled = true)));
  });
  // Back brings a page out of the browser's memory as it was left: sent, with its buttons off.
  addEventListener("pageshow", (e) => {
    if (!e.persisted) return;
    document.querySelectorAll("form[data-sending]").forEach((form) => {
      delete form.dataset.sending;
      form.querySelectorAll("button").forEach((b) => (b.disabled = false));
    });
  });

  // --- One tab stop for many links ----------------------------------------------------------------------------
  const links = (home) => [...home.querySelectorAll("a[href], button")];
  const tame = () => document.querySelectorAll("[data-roving]").forEach((home) => {
    const all = links(home);
    const here = all.find((a) => a.tabIndex === 0 && a.dataset.here) ?? all[0];
    all.forEach((a) => (a.tabIndex = a === here ? 0 : -1));
  });
  document.addEventListener("keydown", (e) => {
    const home = e.target.closest?.("[data-roving]");
    if (!home || withCtrl(e) || e.altKey || e.target.matches(FIELDS)) return;
    const all = links(home);
    const at = all.indexOf(e.target);
    const row = e.target.closest("tr");
    let to = null;
    if (e.key === "ArrowRight") to = all[at + 1];
    else if (e.key === "ArrowLeft") to = all[at - 1];
    else if (e.key === "Home") to = all[0];
    else if (e.key === "End") to = all.at(-1);
    else if ((e.key === "ArrowDown" || e.key === "ArrowUp") && row) {
      const i = e.target.closest("td, th").cellIndex;
      let other = row;
      do other = e.key === "ArrowDown" ? other.nextElementSibling : other.previousElementSibling;
      while (other && !other.cells[i]?.querySelector("a[href], button"));
      to = other?.cells[i].querySelector("a[href], button");
    } else if (e.key === "ArrowDown") to = all[at + 1];
    else if (e.key === "ArrowUp") to = all[at - 1];
    else return;
    e.preventDefault();
    if (!to) return;
    all.forEach((a) => {
      a.tabIndex = a === to ? 0 : -1;
      delete a.dataset.here;
    });
    to.dataset.here = "1";
    to.focus();
  });

  // --- Menus --------------------------------------------------------------------------------------------------
  document.addEventListener("keydown", (e) => {
    const menu = e.key === "Escape" && document.querySelector("details[data-menu][open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
  document.addEventListener("click", (e) => {
    document.querySelectorAll("details[data-menu][open]").forEach((menu) => {
      if (!menu.contains(e.target)) menu.open = false;
    });
  });

  // --- Login --------------------------------------------------------------------------------------------------
  document.addEventListener("click", (e) => {
    const button = e.target.closest("[data-fill-login]");
    const form = button && document.querySelector("[data-login-form]");
    if (!form) return;
    form.elements.login.value = button.dataset.fillLogin;
    form.elements.password.value = button.dataset.fillPassword;
    form.querySelector("button[type=submit]").focus();
  });
  document.addEventListener("input", (e) => {
    const form = e.target.closest("[data-code-form]");
    if (form && /^\d{6}$/.test(e.target.value.trim())) form.requestSubmit();
  });

  // --- Session time -------------------------------------------------------------------------------------------
  const { sessionLeft, sessionUrl } = document.body.dataset;
  const dialog = document.getElementById("session-dialog");
  if (sessionLeft && dialog) {
    const WARN_MS = 120_000;
    const text = document.getElementById("session-text");
    const stay = dialog.querySelector("[data-session-stay]");
    const login = dialog.querySelector("[data-session-login]");
    let endsAt = Date.now() + Number(sessionLeft) * 1000;
    let timer;
    const show = (ended) => {
      text.textContent = ended ? text.dataset.ended : text.dataset.warning;
      stay.hidden = ended;
      login.hidden = !ended;
      if (!dialog.open) dialog.showModal();
      (ended ? login : stay).focus();
    };
    const plan = () => {
      clearTimeout(timer);
      const left = endsAt - Date.now();
      if (left <= 0) return show(true);
      if (left <= WARN_MS) {
        show(false);
        timer = setTimeout(plan, left + 250);
      } else {
        if (dialog.open) dialog.close();
        timer = setTimeout(plan, Math.min(left - WARN_MS, 600_000));
      }
    };
    // Asking does not keep the session alive; only a person's "Stay" does.
    const ask = async (alive) => {
      const headers = alive ? { "X-CSRFToken": csrf() } : { "Canopy-Passive": "1" };
      const answer = await fetch(sessionUrl, { method: alive ? "POST" : "GET", headers }).catch(() => null);
      if (!answer) return;
      const isJson = answer.headers.get("content-type")?.includes("json");
      const state = answer.ok && isJson ? await answer.json() : { left_s: 0 };
      endsAt = Date.now() + state.left_s * 1000;
      if (state.csrf) renew(state.csrf);
      plan();
    };
    const csrf = () => JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
    // After logging in again in another tab the old tokens are void: put the new one in, and the typed text can be sent.
    const renew = (token) => {
      document.body.setAttribute("hx-headers", JSON.stringify({ "X-CSRFToken": token }));
      document.querySelectorAll("input[name=csrfmiddlewaretoken]").forEach((input) => (input.value = token));
    };
    stay.addEventListener("click", () => ask(true));
    dialog.addEventListener("cancel", (e) => {
      e.preventDefault();
      ask(login.hidden);
    });
    addEventListener("focus", () => dialog.open && ask(false));
    document.addEventListener("visibilitychange", () => !document.hidden && ask(false));
    document.addEventListener("htmx:afterRequest", (e) => {
      if (e.detail.xhr?.status === 401) {
        endsAt = Date.now();
        plan();
      } else if (e.detail.successful && !e.detail.requestConfig?.headers?.["Canopy-Passive"]) {
        endsAt = Math.max(endsAt, Date.now() + Number(sessionLeft) * 1000);
        plan();
      }
    });
    plan();
  }

  const settle = () => {
    tame();
    document.querySelector("[data-error-summary]")?.focus();
  };
  settle();
  document.addEventListener("htmx:afterSettle", tame);
})();
