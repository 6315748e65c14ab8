// Headings sort their tables, long tables are filtered, pictures open large. Without it the page shows the same.
const order = new Intl.Collator("en", { numeric: true }).compare;
const made = (tag, values) => Object.assign(document.createElement(tag), values);

function sorted(rows, column, numbers, sign) {
  const keys = new Map(rows.map((row) => [row, row.cells[column].dataset.sort ?? row.cells[column].textContent.trim()]));
  return rows.sort((one, other) => {
    const [a, b] = [keys.get(one), keys.get(other)];
    // What has no value comes last, either way.
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (numbers ? a - b || 0 : order(a, b));
  });
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
      body.replaceChildren(...sorted(rows, column, head.classList.contains("n"), sign));
    });
  });
  if (!("filter" in table.dataset)) continue;
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const label = `Filter: ${table.parentElement.ariaLabel}`;
  const input = made("input", { type: "search", placeholder: "Filter rows", ariaLabel: label });
  const shown = made("span", { className: "quiet", role: "status", textContent: `${rows.length} rows` });
  table.parentElement.before(made("div", { className: "filter" }));
  table.parentElement.previousElementSibling.append(input, shown);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    rows.forEach((row) => { row.hidden = !words.every((word) => texts.get(row).includes(word)); });
    shown.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  });
}

const dialog = document.querySelector("dialog"), large = dialog.appendChild(new Image());
const [title, close] = dialog.querySelector("p").children;
dialog.addEventListener("click", (event) => { if ([dialog, close].includes(event.target)) dialog.close(); });
document.addEventListener("click", (event) => {
  const link = event.target.closest(".zoom");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const own = link.querySelector("img"), href = link.getAttribute("href");
  title.textContent = large.alt = own.alt;
  large.onerror = () => {
    large.onerror = null;
    large.src = own.src;
    title.textContent += `, small: ${href} is not there`;
  };
  large.src = href.startsWith("#") ? own.src : href;
  dialog.showModal();
});

const seen = new IntersectionObserver((entries) => entries.filter((one) => one.isIntersecting).forEach((one) => {
  document.querySelector("nav [aria-current]")?.removeAttribute("aria-current");
  document.querySelector(`nav [href="#${one.target.firstElementChild.id}"]`).setAttribute("aria-current", "true");
}), { rootMargin: "-15% 0px -80% 0px" });
document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
