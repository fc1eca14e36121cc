// The curves of losses, Dice, landmarks and folds, drawn by Plotly.

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

// Seconds, minutes or hours, whichever the run has some of.
function time_unit() {
  const last = data.seconds[data.seconds.length - 1] ?? 0;
  return last > 7200 ? { seconds: 3600, name: "hours" } : last > 120 ? { seconds: 60, name: "minutes" } : { seconds: 1, name: "seconds" };
}

function losses() {
  if (find(".by").value === "steps") return { x: data.x, scale: data.scale, terms: data.terms };
  if (find(".by").value === "seconds") return { x: data.seconds.map((at) => at / time_unit().seconds), scale: data.scale, terms: data.terms };
  const terms = {};
  for (const [place, epoch] of data.epochs.entries()) {
    for (const [name, value] of Object.entries(epoch.losses)) {
      terms[name] ??= new Array(data.epochs.length).fill(null);
      terms[name][place] = value;
    }
  }
  return { x: data.epochs.map((epoch) => epoch.epoch), scale: data.epochs.map((epoch) => epoch.scale), terms };
}

// An exponential mean over what lies between two points too, so that thinned and whole curves look alike. It begins anew
// with each image scale.
function smoothed(x, y, amount, scale) {
  let mean = null, at = 0;
  return y.map((value, place) => {
    if (place && scale[place] !== scale[place - 1]) mean = null;
    if (value == null) return null;
    const keep = mean == null ? 0 : amount ** Math.min(50, x[place] - at);
    mean = keep * (mean ?? 0) + (1 - keep) * value;
    at = x[place];
    return mean;
  });
}

// The range of a logarithmic axis, or null where a curve goes below 0. A few tiny values, as the first of Grad are, do not
// make the rest flat: each curve's axis begins near its twentieth part.
function logRange(curves) {
  let low = Infinity, high = 0;
  for (const curve of curves) {
    const values = curve.filter((value) => value != null).sort((one, other) => one - other);
    if (values[0] < 0) return null;
    const above = values.filter((value) => value > 0);
    if (!above.length) continue;
    low = Math.min(low, above[Math.floor(above.length / 20)]);
    high = Math.max(high, above[above.length - 1]);
  }
  return high ? [Math.log10(low / 1.5), Math.log10(high * 1.5)] : [-1, 1];
}

function draw_losses() {
  const by = find(".by").value, wanted = find(".log-scale").checked, amount = Number(find(".smoothing").value);
  const { x, scale, terms } = losses(), traces = [];
  const above = (name, values) => {
    const floor = last.floor?.[name] ?? 0;
    return values.map((value) => (value == null ? null : value - floor));
  };
  const range = wanted ? logRange(Object.entries(terms).map(([name, values]) => above(name, values))) : null;
  const log = range !== null, bottom = log ? 10 ** range[0] : 0;
  Object.entries(terms).forEach(([name, values], place) => {
    const floor = log ? last.floor?.[name] ?? 0 : 0, line = seriesStyle(place);
    const y = log ? above(name, values).map((value) => (value === 0 ? bottom : value)) : values;  // 0 lies at the bottom
    const title = (TERMS[name] ?? name) + (floor ? ` + ${-floor}` : "");
    if (amount > 0 && by !== "epochs") {
      traces.push({
        ...cut(x, y, scale), name: title, line: { color: line.color, width: 1 }, opacity: 0.25, mode: "lines", hoverinfo: "skip",
        legendgroup: name, showlegend: false,  // a click in the legend hides both lines
      });
    }
    traces.push({
      ...cut(x, amount > 0 ? smoothed(by === "seconds" ? data.x : x, y, by === "epochs" ? amount / 2 : amount, scale) : y, scale), name: title, mode: by === "epochs" && x.length < 40 ? "lines+markers" : "lines",
      line: { ...line, width: 2 }, hovertemplate: "%{y:.4g}", legendgroup: name,
    });
  });
  Plotly.react(charts.loss, traces, layout(`${last.run} ${by} ${log}`, {
    xaxis: { title: { text: { steps: "step", epochs: "epoch", seconds: `time of the steps, ${time_unit().name}` }[by] }, rangemode: "tozero" }, ...scaleLines(x, scale),
    yaxis: log ? { type: "log", range } : { type: "linear", ...(wanted ? { title: { text: "not logarithmic: below 0" } } : {}) },
  }), CHART_OPTIONS);
}

// A line and a word where the image size changes: the loss jumps there, as it is a mean over other pixels.
function scaleLines(x, scale) {
  const { text } = colours(), shapes = [], annotations = [];
  x.forEach((at, place) => {
    if (place ? scale[place] === scale[place - 1] : scale[place] === 1) return;
    const words = scale[place] > 1 ? `images at 1/${scale[place]} size` : "images at full size";
    if (place) shapes.push({ type: "line", x0: at, x1: at, yref: "paper", y0: 0, y1: 1, line: { color: text, width: 1, dash: "dot" } });
    annotations.push({ x: at, y: 1, yref: "paper", text: words, showarrow: false, xanchor: "left", yanchor: "top", textangle: 90, font: { size: 11, color: text } });
  });
  return { shapes, annotations };
}

function draw_dice() {
  const { text } = colours(), scored = data.epochs.filter((epoch) => Object.keys(epoch.metrics).length);
  const x = scored.map((epoch) => epoch.epoch), of = (name) => scored.map((epoch) => epoch.metrics[name] ?? null);
  const labels = [...new Set(scored.flatMap((epoch) => Object.keys(epoch.metrics)))].filter((name) => /^dice_\d+$/.test(name));
  labels.sort((one, other) => one.slice(5) - other.slice(5));
  const mode = x.length < 40 ? "lines+markers" : "lines", traces = [];
  for (const name of labels) {
    const line = labelStyle(Number(name.slice(5))), both = { x, y: of(name), legendgroup: name };
    // A darker edge, because yellow alone cannot be seen on white.
    traces.push({ ...both, mode: "lines", line: { ...line, width: 3, color: text }, opacity: 0.45, hoverinfo: "skip", showlegend: false });
    traces.push({
      ...both, name: `label ${name.slice(5)}`, mode, marker: { size: 5, line: { width: 0.5, color: text } },
      line: { ...line, width: 2 }, hovertemplate: "%{y:.4f}",
    });
  }
  const dice = of("dice"), folds = of("njd_percent");
  if (dice.some((value) => value != null)) {
    const before = of("dice_before");  // from epoch 0 on: one validation makes a line, too
    traces.push({
      x: [0, ...x], y: [before.find((value) => value != null), ...before], name: "mean before", mode: "lines",
      line: { width: 1.5, color: text, dash: "dot" }, hovertemplate: "%{y:.4f}",
    });
    traces.push({ x, y: dice, name: "mean Dice", mode, line: { width: 3, color: text }, hovertemplate: "%{y:.4f}" });
  }
  const tre = of("tre"), by_dice = dice.some((value) => value != null), by_tre = tre.some((value) => value != null);
  if (by_tre) {
    const before = of("tre_before"), line = { width: 3, color: text }, axis = { yaxis: "y3", hovertemplate: "%{y:.2f} pixels" };
    traces.push({ ...axis, x: [0, ...x], y: [before.find((value) => value != null), ...before], name: "TRE before", mode: "lines",
      line: { width: 1.5, color: text, dash: "dot" }, showlegend: !by_dice });
    traces.push({ ...axis, x, y: tre, name: "mean TRE", mode, line, showlegend: !by_dice });
  }
  if ((last.best?.dice ?? last.best?.tre) != null && !worse_than_before()) {
    const at = last.best.dice != null ? { y: [last.best.dice] } : { y: [last.best.tre], yaxis: "y3" };
    traces.push({ x: [last.best.epoch], ...at, name: "best", mode: "markers", hovertemplate: "epoch %{x}",
      marker: { symbol: "star", size: 14, color: text } });
  }
  if (folds.some((value) => value != null)) {
    traces.push({ x, y: folds, name: "NJD", mode, yaxis: "y2", showlegend: false, line: { width: 2, color: text }, hovertemplate: "%{y:.3f} %" });
  }
  const empty = scored.length ? [] : [{ text: validation_hint(), showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5 }];
  Plotly.react(charts.dice, traces, layout(`${last.run}`, {
    xaxis: { title: { text: "epoch" }, anchor: "y2", rangemode: "tozero", visible: !empty.length, ...(x.length < 8 ? { dtick: 1 } : {}) },
    yaxis: { title: { text: "Dice" }, domain: by_dice && by_tre ? [0.62, 1] : [0.34, 1], visible: !empty.length && (by_dice || !by_tre) },
    yaxis3: { title: { text: "TRE, pixels" }, domain: by_dice && by_tre ? [0.3, 0.54] : [0.34, 1], ...FROM_ZERO, visible: by_tre },
    yaxis2: { title: { text: "NJD, %" }, domain: [0, 0.24], ...FROM_ZERO, visible: !empty.length },
    annotations: empty,
  }), CHART_OPTIONS);
}

// Whether even the best epoch's network makes the overlap or the landmarks worse than they were without one.
function worse_than_before() {
  const before = data.epochs.find((done) => done.epoch === last.best?.epoch)?.metrics;
  if (last.best?.dice != null) return last.best.dice < before?.dice_before;
  return last.best?.tre != null && last.best.tre > before?.tre_before;
}

function validation_hint() {
  if (last.progress.pairs === 0 && last.device) return "This run does not validate:<br>put images into validation_moving/,<br>or set some apart.";
  return "Dice, landmarks and folds appear here<br>after the first validation.";
}

function redraw() { stale = true; if (last.run) draw(); }
