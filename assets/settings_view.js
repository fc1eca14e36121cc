// The switch between the simple view of the settings and all of them, and the search among these. Fields that do not match
// are hidden by a style sheet, as folded ones are not on the page yet.
const KEY = "regstudio-settings-view", catalogue = props.catalogue;
const box = element.querySelector("input"), found = element.querySelector(".found"), buttons = element.querySelectorAll("button");
const sheet = document.createElement("style");
document.head.append(sheet);

function show(view) {
  for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.view === view);
  box.hidden = view !== "all";
  found.hidden = box.hidden;
  localStorage.setItem(KEY, view);
  search();
}

function search() {
  const all = !box.hidden, words = all ? box.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
  const names = Object.keys(catalogue), hits = names.filter((name) => words.every((word) => catalogue[name].text.toLowerCase().includes(word)));
  const rules = [`#settings-${all ? "simple" : "all"} { display: none !important; }`];
  if (words.length) {
    const misses = names.filter((name) => !hits.includes(name)), sections = new Set(hits.map((name) => catalogue[name].section));
    if (misses.length) rules.push(`${misses.map((name) => `#setting-${name}`).join(", ")} { display: none !important; }`);
    for (const fold of document.querySelectorAll("#settings-all [id^=settings-]:has(> button.label-wrap, .label-wrap)")) {
      const section = fold.id.slice("settings-".length), label = fold.querySelector(".label-wrap");
      if (!sections.has(section)) rules.push(`#${fold.id} { display: none !important; }`);
      else if (!label.classList.contains("open")) label.click();
    }
  }
  found.textContent = words.length ? `${hits.length} found` : "";
  sheet.textContent = rules.join("\n");
}

for (const button of buttons) button.addEventListener("click", () => show(button.dataset.view));
box.addEventListener("input", search);
show(localStorage.getItem(KEY) ?? "simple");
