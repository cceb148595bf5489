/* Keys, filters that apply themselves, copying, confirming, zooming into the histogram. Pages work without it. */
"use strict";

(() => {
  const typing = (target) => target.closest("input, textarea, select, [contenteditable]") !== null;

  // Keys: / search, ? help, g and a letter to go somewhere, j and k through a list, Enter to open.
  let going = false;

  const step = (by) => {
    const rows = [...document.querySelectorAll("[data-list] tbody tr")];
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.classList.contains("here"));
    rows.forEach((row) => row.classList.remove("here"));
    const next = rows[Math.min(Math.max(at + by, 0), rows.length - 1)];
    next.classList.add("here");
    next.querySelector("[data-open]")?.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (going) {
      going = false;
      const target = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
      if (target) { event.preventDefault(); target.click(); }
      return;
    }
    if (event.key === "/") { event.preventDefault(); document.getElementById("search")?.focus(); }
    else if (event.key === "?") document.getElementById("keys")?.showModal();
    else if (event.key === "g") { going = true; setTimeout(() => { going = false; }, 1500); }
    else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
  });

  // A filter form applies itself when a choice changes; fields without a value stay out of the URL.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.confirm && !window.confirm(form.dataset.confirm)) { event.preventDefault(); return; }
    if (form.method !== "get") return;
    for (const field of form.elements) if (field.name && field.value === "") field.disabled = true;
  });
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-auto]");
    if (form && event.target.matches("select, [type=checkbox]")) form.requestSubmit();
  });
  window.addEventListener("pageshow", () => {
    document.querySelectorAll("form[data-auto] :disabled").forEach((field) => { field.disabled = false; });
  });

  // The word of the query that is being typed, completed: names of fields, then their values. A list as ARIA has it.
  const query = document.getElementById("query");
  if (query?.list) {
    const options = [...query.list.options].map(({ value, label, dataset }) => ({ value, label, values: dataset.values }));
    const list = document.createElement("ul");
    Object.assign(list, { className: "suggest", id: "query-suggest", hidden: true, role: "listbox" });
    query.removeAttribute("list");
    query.after(list);
    const attributes = { role: "combobox", "aria-autocomplete": "list", "aria-controls": list.id, "aria-expanded": "false" };
    Object.entries(attributes).forEach(([name, value]) => query.setAttribute(name, value));
    let chosen = -1;
    const word = () => query.value.slice(0, query.selectionStart).match(/[^\s()"[\]{}]*$/)[0];
    const hide = () => { list.hidden = true; chosen = -1; query.setAttribute("aria-expanded", "false"); query.removeAttribute("aria-activedescendant"); };
    const found = (typed) => {
      const [name, value] = typed.split(":");
      if (value !== undefined) {
        const field = options.find((option) => option.value === `${name}:`);
        return (field?.values ?? "").split(" ").filter((v) => v && v.startsWith(value) && v !== value).map((v) => ({ value: `${name}:${v}`, label: "" }));
      }
      if (name.length < 2) return [];
      const score = ({ value: v }) => (v.startsWith(name) ? 0 : v.includes(`.${name}`) ? 1 : 2);
      return options.filter(({ value: v }) => v.includes(name)).sort((a, b) => score(a) - score(b)).slice(0, 12);
    };
    const choose = (item) => {
      const typed = word().replace(/^[-!+]+/, ""), at = query.selectionStart;
      query.setRangeText(item.dataset.value, at - typed.length, at, "end");
      query.focus();
      query.dispatchEvent(new Event("input"));
    };
    const mark = (number) => {
      chosen = number;
      [...list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === number)));
      query.setAttribute("aria-activedescendant", list.children[number].id);
      list.children[number].scrollIntoView({ block: "nearest" });
    };
    query.addEventListener("input", () => {
      hide();
      const items = found(word().replace(/^[-!+]+/, "").toLowerCase()).map(({ value, label }, i) => {
        const item = document.createElement("li"), name = document.createElement("span"), meaning = document.createElement("span");
        Object.assign(item, { id: `query-suggest-${i}`, role: "option" });
        item.dataset.value = value;
        name.textContent = value; name.className = "mono";
        meaning.textContent = label; meaning.className = "dim";
        item.append(name, meaning);
        return item;
      });
      list.replaceChildren(...items);
      list.hidden = !items.length;
      query.setAttribute("aria-expanded", String(items.length > 0));
    });
    query.addEventListener("keydown", (event) => {
      if (list.hidden) return;
      const last = list.children.length - 1;
      if (event.key === "ArrowDown") mark(chosen < last ? chosen + 1 : 0);
      else if (event.key === "ArrowUp") mark(chosen > 0 ? chosen - 1 : last);
      else if (event.key === "Escape") hide();
      else if ((event.key === "Enter" || event.key === "Tab") && chosen >= 0) choose(list.children[chosen]);
      else return;
      event.preventDefault();
    });
    list.addEventListener("mousedown", (event) => { event.preventDefault(); const item = event.target.closest("li"); if (item) choose(item); });
    query.addEventListener("blur", hide);
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.classList.add("primary");
    } catch {
      window.getSelection().selectAllChildren(source);
    }
  });

  // Dragging over the bars shows their findings.
  let from = null;
  const bar = (event) => document.elementFromPoint(event.clientX, event.clientY)?.closest(".histogram a");
  const between = (a, b) => {
    const all = [...a.parentNode.querySelectorAll("a")];
    const [low, high] = [all.indexOf(a), all.indexOf(b)].sort((x, y) => x - y);
    return all.slice(low, high + 1);
  };
  const clear = () => document.querySelectorAll(".histogram .chosen").forEach((a) => a.classList.remove("chosen"));
  document.addEventListener("pointerdown", (event) => {
    if (event.button === 0) from = event.target.closest?.(".histogram a") ?? null;
  });
  document.addEventListener("dragstart", (event) => { if (from) event.preventDefault(); });
  document.addEventListener("pointermove", (event) => {
    const to = from && bar(event);
    if (!to || to.parentNode !== from.parentNode) return;
    clear();
    between(from, to).forEach((a) => a.classList.add("chosen"));
  });
  document.addEventListener("pointerup", (event) => {
    const first = from;
    from = null;
    const to = first && bar(event);
    if (!to || to === first || to.parentNode !== first.parentNode) { clear(); return; }
    const chosen = between(first, to);
    const url = new URL(first.closest("[data-zoom]").dataset.zoom, location.href);
    url.searchParams.set("from", chosen[0].dataset.since);
    url.searchParams.set("to", chosen.at(-1).dataset.until);
    location.href = url;
  });

  // What is being read or typed into is not replaced under the reader's eyes.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const target = event.detail.target;
    if (target.querySelector("details[open], :focus, .chosen")) event.detail.shouldSwap = false;
  });
})();
