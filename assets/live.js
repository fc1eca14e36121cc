// Draws the live panel. Runs once the template is on the page, with `element` (its root), `server` and `props`.
const ACTIVE = 500, IDLE = 1000, LOST = 4000;  // milliseconds from one poll to the next
const MOST_POINTS = 2500;  // beyond this the curves are asked for anew, thinned
const MOST_LINES = 200;
// Okabe and Ito's colours: told apart by every kind of colour vision, and legible on light and dark.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c7a00"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const TERMS = { loss: "total", ncc: "NCC", grad: "Grad" };
const PICTURES = {
  before: "before: fixed and moving", after: "after: fixed and warped", grid: "deformed grid",
  labels_before: "moving, with labels", labels_after: "warped, with labels",
};

const root = element.querySelector(".live");
const find = (selector) => root.querySelector(selector);
const say = (selector, text) => { const at = find(selector); if (at.textContent !== text) at.textContent = text; };
const charts = { loss: find("[data-chart=loss]"), dice: find("[data-chart=dice]") };

let data = blank(), last = {}, polling = false, timer = 0, stale = true;
let follow = true, wanted = 0, shown = 0, fetching = false;

function blank() {
  return { version: null, counts: {}, x: [], terms: {}, epochs: [], previews: [], log: [] };
}

// asking

async function tick() {
  clearTimeout(timer);
  if (!element.isConnected) return leave();
  let pause = IDLE;
  if (!document.hidden && root.offsetParent !== null && !polling) {
    polling = true;
    try {
      const answer = await server.poll({ run: null, version: data.version, ...data.counts });
      take(answer);
      if (["running", "paused", "stopping"].includes(answer.state)) pause = ACTIVE;
    } catch (error) {
      show_state("unreachable", "No answer from RegStudio. If it was closed, start it again; this page goes on by itself.");
      console.warn("live panel:", error);
      pause = LOST;
    }
    polling = false;
  }
  timer = setTimeout(tick, pause);
}

function take(answer) {
  if (!answer.run) {
    data = blank();
    last = answer;
    find(".body").hidden = true;
    find(".empty").hidden = false;
    say(".run", ""); say(".device", "");
    show_state(answer.state, "");
    return;
  }
  if (answer.reset) {
    if (answer.run !== last.run) { follow = true; shown = 0; wanted = 0; find(".preview").hidden = true; }
    data = blank();
    stale = true;
  }
  data.version = answer.version;
  data.counts = answer.counts;
  append(answer.steps);
  data.epochs.push(...answer.epochs);
  data.previews.push(...answer.previews);
  if (answer.steps.x.length || answer.epochs.length) stale = true;
  last = answer;
  find(".empty").hidden = true;
  find(".body").hidden = false;
  show_progress(answer);
  show_log(answer.log, answer.reset);
  show_previews();
  draw();
  if (data.x.length > MOST_POINTS) data.version = null;  // the next answer is the whole run, thinned
}

function append(steps) {
  const before = data.x.length;
  data.x.push(...steps.x);
  for (const [name, values] of Object.entries(steps.terms)) {
    data.terms[name] ??= new Array(before).fill(null);
    data.terms[name].push(...values);
  }
}

// words and bars

function show_state(state, message, advice = "") {
  root.dataset.state = state;
  const words = { idle: "Idle", running: "Training", paused: "Paused", stopping: "Stopping", finished: "Finished",
    stopped: "Stopped", failed: "Failed", interrupted: "Interrupted", unreachable: "No connection" };
  say(".state", words[state] ?? state);
  const bad = state === "failed" || state === "unreachable";
  find(".failure").hidden = !bad;
  say(".failure .message", bad ? message : "");
  say(".failure .advice", bad ? advice : "");
}

function show_progress(answer) {
  const { progress, aligning } = answer;
  show_state(answer.state, answer.message, answer.advice);
  say(".run", answer.run);
  say(".device", answer.device ? `on ${answer.device}` : "is starting");
  const checking = progress.pair > 0;
  const done = progress.epochs > 0 && progress.epoch >= progress.epochs;
  const of_epoch = done ? 1 : aligning ? aligning.number / aligning.total : checking ? progress.pair / progress.pairs : progress.steps ? progress.step / progress.steps : 0;
  const of_run = progress.epochs ? (progress.epoch + (progress.steps ? progress.step / progress.steps : 0)) / progress.epochs : 0;
  bar("epoch", of_epoch, done ? "done" : aligning ? `aligning ${aligning.number} of ${aligning.total}` : checking ? `validating ${progress.pair} of ${progress.pairs}`
    : `step ${progress.step} of ${progress.steps}`);
  bar("run", Math.min(1, of_run), `epoch ${Math.min(progress.epoch + (done ? 0 : 1), progress.epochs)} of ${progress.epochs}`);
  find("[data-bar=epoch]").classList.toggle("checking", Boolean(checking || aligning) && !done);
  const facts = {
    speed: answer.steps_per_second ? answer.steps_per_second.toPrecision(3) : "–",
    left: answer.state === "running" && answer.seconds_left != null ? duration(answer.seconds_left) : "–",
    seconds: duration(answer.seconds),
    memory: memory(answer.memory),
    best: answer.best ? `${answer.best.epoch}` + (answer.best.dice == null ? "" : ` (Dice ${answer.best.dice.toFixed(3)})`) : "–",
  };
  for (const [name, text] of Object.entries(facts)) say(`[data-fact=${name}]`, text);
}

function bar(name, part, text) {
  const at = find(`[data-bar=${name}]`), percent = Math.round(1000 * part) / 10;
  at.firstElementChild.style.width = `${percent}%`;
  at.setAttribute("aria-valuenow", percent);
  at.setAttribute("aria-valuetext", text);
  say(`[data-of=${name}]`, text);
}

function duration(seconds) {
  const whole = Math.round(seconds), h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, s = whole % 60;
  return h ? `${h} h ${m} min` : m ? `${m} min ${String(s).padStart(2, "0")} s` : `${s} s`;
}

function memory(bytes) {
  if (!bytes) return "–";
  const gib = (value) => `${(value / 2 ** 30).toFixed(1)} GiB`;
  const parts = bytes.process ? [gib(bytes.process)] : [];
  if (bytes.device != null) parts.push(`GPU ${gib(bytes.device)} of ${gib(bytes.device_total)}`);
  return parts.join(", ") || "–";
}

function show_log(lines, reset) {
  if (!lines.length && !reset) return;
  const at = find(".log"), at_end = at.scrollHeight - at.scrollTop - at.clientHeight < 30;
  data.log = [...data.log, ...lines].slice(-MOST_LINES);
  const text = data.log.join("\n");
  if (at.textContent === text) return;
  at.textContent = text;
  if (at_end || reset) at.scrollTop = at.scrollHeight;
}

// preview

function show_previews() {
  const count = data.previews.length, slider = find(".epoch");
  if (!count) return;
  find(".preview").hidden = false;
  slider.max = count - 1;
  if (follow) slider.value = count - 1;
  ask_preview(data.previews[Number(slider.value)]);
}

async function ask_preview(epoch) {
  wanted = epoch;
  if (fetching || wanted === shown) return;
  fetching = true;
  const run = last.run;
  try {
    while (wanted !== shown) {
      const asked = wanted, answer = await server.preview({ run, epoch: asked });
      if (last.run !== run) break;
      shown = asked;  // also after an error: not asked again until the slider moves
      if (answer.pictures) show_pictures(answer);
    }
  } catch (error) {
    console.warn("preview:", error);
  }
  fetching = false;
}

function show_pictures({ epoch, pictures }) {
  const box = find(".pictures"), before = data.epochs.find((done) => done.epoch === epoch)?.metrics ?? {};
  for (const figure of [...box.children]) if (!(figure.dataset.name in pictures)) figure.remove();
  for (const name of Object.keys(PICTURES)) {
    if (!(name in pictures)) continue;
    let figure = box.querySelector(`[data-name=${name}]`);
    if (!figure) {
      figure = document.createElement("figure");
      figure.dataset.name = name;
      figure.append(document.createElement("img"), document.createElement("figcaption"));
      box.append(figure);
    }
    figure.firstChild.src = pictures[name];
    figure.firstChild.alt = figure.lastChild.textContent = PICTURES[name];
  }
  say(".shown", before.dice == null ? `${epoch}` : `${epoch} (mean Dice of all pairs ${before.dice.toFixed(3)})`);
}

// curves

function draw() {
  if (!stale || !window.Plotly || !charts.loss.clientWidth) return;
  stale = false;
  draw_losses();
  draw_dice();
}

function colours() {
  const style = getComputedStyle(root);
  return { text: style.color, line: style.getPropertyValue("--border-color-primary").trim() || "#ccc" };
}

function layout(view, more) {
  const { text, line } = colours();
  const axis = { gridcolor: line, linecolor: line, zeroline: false, automargin: true };
  const result = {
    uirevision: view, margin: { l: 48, r: 12, t: 8, b: 40 }, autosize: true,
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: { color: text, size: 12, family: "inherit" },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, hovermode: "x unified",
    hoverlabel: { bgcolor: getComputedStyle(document.body).backgroundColor, font: { color: text } },
    ...more,
  };
  for (const name of Object.keys(result)) if (/^[xy]axis/.test(name)) result[name] = { ...axis, ...result[name] };
  return result;
}

const OPTIONS = { displaylogo: false, responsive: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

function losses() {
  if (find(".by").value === "steps") return { x: data.x, terms: data.terms };
  const terms = {};
  for (const [place, epoch] of data.epochs.entries()) {
    for (const [name, value] of Object.entries(epoch.losses)) {
      terms[name] ??= new Array(data.epochs.length).fill(null);
      terms[name][place] = value;
    }
  }
  return { x: data.epochs.map((epoch) => epoch.epoch), terms };
}

// An exponential mean over what lies between two points too, so that thinned and whole curves look alike.
function smoothed(x, y, amount) {
  let mean = null, at = 0;
  return y.map((value, place) => {
    if (value == null) return null;
    const keep = mean == null ? 0 : amount ** Math.min(50, x[place] - at);
    mean = keep * (mean ?? 0) + (1 - keep) * value;
    at = x[place];
    return mean;
  });
}

function draw_losses() {
  const by = find(".by").value, log = find(".log-scale").checked, amount = Number(find(".smoothing").value);
  const { x, terms } = losses(), traces = [];
  Object.entries(terms).forEach(([name, values], place) => {
    const floor = log ? last.floor?.[name] ?? 0 : 0, color = COLOURS[place % COLOURS.length];
    const y = floor ? values.map((value) => (value == null ? null : value - floor)) : values;
    const title = (TERMS[name] ?? name) + (floor ? ` + ${-floor}` : "");
    if (amount > 0 && by === "steps") {
      traces.push({ x, y, name: title, line: { color, width: 1 }, opacity: 0.25, showlegend: false, hoverinfo: "skip", mode: "lines" });
    }
    traces.push({
      x, y: amount > 0 ? smoothed(x, y, by === "steps" ? amount : amount / 2) : y, name: title, mode: by === "epochs" && x.length < 40 ? "lines+markers" : "lines",
      line: { color, width: 2, dash: DASHES[place % DASHES.length] }, hovertemplate: "%{y:.4g}",
    });
  });
  Plotly.react(charts.loss, traces, layout(`${last.run} ${by} ${log}`, {
    xaxis: { title: { text: by === "steps" ? "step" : "epoch" }, rangemode: "tozero" }, yaxis: { type: log ? "log" : "linear" },
  }), OPTIONS);
}

function draw_dice() {
  const { text } = colours(), scored = data.epochs.filter((epoch) => Object.keys(epoch.metrics).length);
  const x = scored.map((epoch) => epoch.epoch), of = (name) => scored.map((epoch) => epoch.metrics[name] ?? null);
  const labels = [...new Set(scored.flatMap((epoch) => Object.keys(epoch.metrics)))].filter((name) => /^dice_\d+$/.test(name));
  labels.sort((one, other) => one.slice(5) - other.slice(5));
  const mode = x.length < 40 ? "lines+markers" : "lines", traces = [];
  labels.forEach((name, place) => traces.push({
    x, y: of(name), name: `label ${name.slice(5)}`, mode, marker: { size: 4 }, hovertemplate: "%{y:.4f}",
    line: { width: 1.5, color: COLOURS[place % COLOURS.length], dash: DASHES[Math.floor(place / COLOURS.length) % DASHES.length] },
  }));
  const dice = of("dice"), folds = of("njd_percent");
  if (dice.some((value) => value != null)) {
    traces.push({ x, y: of("dice_before"), name: "mean before", mode: "lines", line: { width: 1.5, color: text, dash: "dot" }, hovertemplate: "%{y:.4f}" });
    traces.push({ x, y: dice, name: "mean Dice", mode, line: { width: 3, color: text }, hovertemplate: "%{y:.4f}" });
  }
  if (last.best && last.best.dice != null) {
    traces.push({ x: [last.best.epoch], y: [last.best.dice], name: "best", mode: "markers", hovertemplate: "epoch %{x}",
      marker: { symbol: "star", size: 14, color: "#f0e442", line: { color: text, width: 1.5 } } });
  }
  if (folds.some((value) => value != null)) {
    traces.push({ x, y: folds, name: "NJD", mode, yaxis: "y2", showlegend: false, line: { width: 2, color: COLOURS[5] }, hovertemplate: "%{y:.3f} %" });
  }
  const empty = scored.length ? [] : [{ text: validation_hint(), showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5 }];
  Plotly.react(charts.dice, traces, layout(`${last.run}`, {
    xaxis: { title: { text: "epoch" }, anchor: "y2", visible: !empty.length, ...(x.length < 8 ? { dtick: 1 } : {}) },
    yaxis: { title: { text: "Dice" }, domain: [0.34, 1], visible: !empty.length },
    yaxis2: { title: { text: "NJD, %" }, domain: [0, 0.24], rangemode: "tozero", visible: !empty.length },
    annotations: empty,
  }), OPTIONS);
}

function validation_hint() {
  if (last.progress.pairs === 0 && last.device) return "This run does not validate:<br>Dice needs validation images with labels.";
  return "Dice and folds appear here<br>after the first validation.";
}

function redraw() { stale = true; if (last.run) draw(); }

// what the person does, and what the page does

for (const selector of [".by", ".smoothing", ".log-scale"]) find(selector).addEventListener("input", redraw);
find(".epoch").addEventListener("input", (event) => {
  follow = Number(event.target.value) === data.previews.length - 1;
  if (data.previews.length) ask_preview(data.previews[Number(event.target.value)]);
});
document.addEventListener("visibilitychange", tick);
const theme = new MutationObserver(redraw);
theme.observe(document.body, { attributes: true, attributeFilter: ["class"] });
const size = new ResizeObserver(() => {
  if (!window.Plotly || !charts.loss.clientWidth) return;
  if (stale) draw();
  else for (const chart of Object.values(charts)) if (chart.data) Plotly.Plots.resize(chart);
});
size.observe(find(".charts"));

function leave() {
  document.removeEventListener("visibilitychange", tick);
  theme.disconnect();
  size.disconnect();
  for (const chart of Object.values(charts)) if (chart.data) Plotly.purge(chart);
}

if (window.Plotly) {
  redraw();
} else {
  const address = (window.gradio_config?.root ?? "") + props.plotly;
  const script = document.createElement("script");
  script.src = address;
  script.addEventListener("load", redraw);
  document.head.append(script);
}
tick();
