// The verdict on a data folder, its counts and the legend of its labels. Names are set as text, never as markup.
const SIGNS = { ready: "✓", blocked: "✕", empty: "○", looking: "…" };
const COLUMNS = ["", "images", "usable", "labels", "sizes (height x width)", "formats"];

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function row(cells, tag) {
  const made = make("tr");
  cells.forEach((cell, place) => {
    const kind = place ? tag : cell ? "th" : "td";  // the empty corner is no heading
    const one = made.appendChild(make(kind, "", cell));
    if (kind === "th") one.scope = tag === "th" ? "col" : "row";
  });
  return made;
}

let progressTimer, asking = false;

// While files are being opened: poll a progress bar and a count, until the verdict replaces them.
async function follow(words) {
  if (!words.isConnected) return clearInterval(progressTimer);
  if (document.hidden || asking) return;  // a busy server is asked no faster than it answers
  asking = true;
  const { share, text } = (await server.opened({ tab: window.regstudioTab })) ?? {};  // Gradio returns undefined where no answer came
  asking = false;
  if (share === undefined) return;
  const bar = words.querySelector("progress") ?? words.appendChild(make("progress"));
  const count = words.querySelector(".count") ?? words.appendChild(make("span", "count"));
  bar.value = share;
  bar.setAttribute("aria-label", "files opened");
  count.textContent = text;
}

function draw() {
  const root = element.querySelector(".data-overview");
  const shown = props.value;
  if (!root || !shown || !shown.state) return;
  const verdict = make("div", "verdict " + shown.state);
  verdict.setAttribute("role", "status");
  const sign = verdict.appendChild(make("span", "sign", SIGNS[shown.state] ?? ""));
  sign.setAttribute("aria-hidden", "true");
  const words = verdict.appendChild(make("div"));
  words.append(make("strong", "", shown.title), make("p", "", shown.text));
  root.replaceChildren(verdict);
  clearInterval(progressTimer);
  if (shown.state === "looking") progressTimer = setInterval(() => follow(words), 300);
  if (shown.sets.length) {
    const scrolled = root.appendChild(make("div", "scroll"));
    Object.assign(scrolled, { tabIndex: 0, role: "region", ariaLabel: "What is in the folder" });
    const table = scrolled.appendChild(make("table"));
    table.appendChild(make("thead")).appendChild(row(COLUMNS, "th"));
    const body = table.appendChild(make("tbody"));
    shown.sets.forEach((cells) => body.appendChild(row(cells, "td")));
  }
  if (shown.labels.length) {
    const legend = root.appendChild(make("ul", "legend"));
    shown.labels.forEach(({ name, colour }) => {
      const item = legend.appendChild(make("li"));
      item.appendChild(make("span", "chip")).style.background = colour;
      item.append(name);
    });
  }
}

watch("value", draw);
draw();
