// The problems of a data folder, alike ones together, each with buttons for what can be done about it. Names are set as
// text, never as markup.
const FEW = 3;  // files that are named at once

function add(parent, tag, className, text) {
  const made = parent.appendChild(document.createElement(tag));
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function listFiles(parent, { files, more }) {
  if (files.length <= FEW) return files.forEach((file) => add(parent, "code", "file", file));
  const fold = add(parent, "details");
  add(fold, "summary", "", `${files.length + more} files`);
  files.forEach((file) => add(fold, "code", "file", file));
  if (more) add(fold, "span", "file", `and ${more} more`);
}

function draw() {
  const root = element.querySelector(".problems");
  const { groups = [], count = 0 } = props.value ?? {};
  if (!root) return;
  root.replaceChildren();
  if (!groups.length) return;
  add(root, "h2", "", `Problems (${count})`);
  const list = add(root, "ul");
  list.tabIndex = 0;  // it may scroll
  list.setAttribute("aria-label", "Problems");
  groups.forEach((group, place) => {
    const item = add(list, "li", group.severity);
    add(item, "span", "severity", group.severity);
    const words = add(item, "div", "words");
    listFiles(add(words, "div", "files"), group);
    add(words, "p", "what", group.what + (group.outcome ? ` (${group.outcome})` : ""));
    add(words, "p", "remedy", group.remedy);
    const buttons = add(item, "div", "deeds");
    group.deeds.forEach(([deed, title]) => {
      const button = add(buttons, "button", "deed", title);
      button.type = "button";
      button.dataset.deed = deed;
      button.setAttribute("aria-label", `${title}: ${group.files.slice(0, FEW).join(", ")}`);
      button.addEventListener("click", () => {
        root.querySelectorAll("button").forEach((each) => { each.disabled = true; });
        trigger("mend", { group: place, what: group.what, deed });
        setTimeout(() => root.querySelectorAll("button").forEach((each) => { each.disabled = false; }), 3000);
      });
    });
  });
}

watch("value", draw);
draw();
