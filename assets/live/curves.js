// The curves of losses, Dice and folds, drawn by Plotly.

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
