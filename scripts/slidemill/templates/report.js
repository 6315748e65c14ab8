// Headings sort their tables, long tables filter as one types, pictures open large. Without this the page shows all the same.
"use strict";
const order = new Intl.Collator("en", { numeric: true }).compare;
const made = (tag, values) => Object.assign(document.createElement(tag), values);

function compared(column, numbers, sign) {
  const value = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  // What has no value comes last, either way.
  return (one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (numbers ? a - b || 0 : order(a, b));
  };
}

for (const table of document.querySelectorAll("table.sortable")) {
  const [body] = table.tBodies, rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = made("button", { type: "button", title: "Sort" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      body.append(...rows.sort(compared(column, head.classList.contains("n"), sign)));
    });
  });
  if (!("filter" in table.dataset)) continue;
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const input = made("input", { type: "search", placeholder: "Filter rows", ariaLabel: `Filter: ${table.parentElement.ariaLabel}` });
  const told = made("span", { className: "quiet", role: "status", textContent: `${rows.length} rows` });
  const box = made("div", { className: "filter" });
  box.append(input, told);
  table.parentElement.before(box);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    rows.forEach((row) => { row.hidden = !words.every((word) => texts.get(row).includes(word)); });
    told.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  });
}

const dialog = document.querySelector("dialog"), [title, close] = dialog.querySelector("p").children;
const large = dialog.appendChild(new Image());
close.addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
document.addEventListener("click", (event) => {
  const link = event.target.closest(".zoom");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const own = link.querySelector("img");
  title.textContent = large.alt = own.alt;
  large.onerror = () => { large.onerror = null; large.src = own.src; title.textContent += ` (small: ${link.pathname} is not there)`; };
  large.src = link.getAttribute("href").startsWith("#") ? own.src : link.href;
  dialog.showModal();
});

const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver((entries) => entries.filter((one) => one.isIntersecting).forEach((one) => {
  links.forEach((link) => link.removeAttribute("aria-current"));
  links.get(one.target.firstElementChild.id)?.setAttribute("aria-current", "true");
}), { rootMargin: "-15% 0px -80% 0px" });
document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
