// Loss, Dice, landmarks and folds by epoch of the selected runs, one colour for each run. The value is the JSON of
// run_actions.curves. The plots are redrawn only when the selection or a run changes.
const NO_RUNS = "Select runs, in the table or above, to compare their curves.";
const by = element.querySelector(".by");
const NO_EPOCHS = "The selected runs have no whole epoch yet: their curves begin with the first.";

// Curves of other data say nothing about each other, and the loss on smaller images nothing about that on large ones.
function explain(runs) {
  const say = (part, text) => { const at = element.querySelector(part); at.textContent = text; at.hidden = !text; };
  const data = new Map();
  for (const run of runs) data.set(run.data_key, [...(data.get(run.data_key) ?? []), run]);
  const groups = [...data.values()].map((group) => `${group.map((run) => run.name).join(", ")} on ${group[0].data}`);
  say(".different", groups.length > 1
    ? `These runs were trained on different data (${groups.join("; ")}): their curves do not compare.` : "");
  const coarse = runs.filter((run) => new Set(run.scale).size > 1).map((run) => run.name);
  say(".scales", coarse.length
    ? `Where the loss of ${coarse.join(", ")} is cut, the training went on to larger images, on which it is another number.` : "");
  return groups.length > 1;
}

function layout(title, more) {
  const axis = { gridcolor: token("--border-color-primary"), zeroline: false, automargin: true };
  return {
    title: { text: title, font: { size: 13 }, x: 0.02 },
    font: { color: token("--body-text-color"), family: "system-ui, sans-serif", size: 12 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 48, r: 12, t: 36, b: 40 },
    height: 320,
    showlegend: true,
    legend: { orientation: "h", y: -0.28 },
    xaxis: { ...axis, title: { text: by.value === "minutes" ? "minutes of training" : "epoch", standoff: 8, font: { size: 12 } }, rangemode: "tozero" },
    yaxis: { ...axis, ...more },
    uirevision: by.value,  // a zoom means nothing on another axis
  };
}

function draw() {
  if (!element.isConnected || !window.Plotly) return;
  const runs = JSON.parse(props.value || "[]");
  const empty = element.querySelector(".empty"), drawn = runs.some((run) => run.epoch.length > 0);
  empty.textContent = runs.length ? NO_EPOCHS : NO_RUNS;
  empty.hidden = drawn;
  const axis = by.value;
  by.parentElement.hidden = !drawn;
  const different = explain(drawn ? runs : []);
  for (const [name, title] of [["loss", "Loss"], ["dice", "Validation Dice"], ["tre", "Landmarks (TRE), pixels"], ["njd", "Folded pixels (NJD), %"]]) {
    const chart = element.querySelector(`.chart[data-of="${name}"]`);
    chart.hidden = !drawn || (name === "tre" && !runs.some((run) => run.tre.some((value) => value != null)));
    if (chart.hidden) {
      Plotly.purge(chart);
      continue;
    }
    const traces = runs.map((run, number) => ({
      ...(name === "loss" ? cut(run[axis], run[name], run.scale) : { x: run[axis], y: run[name] }),
      name: (run.name + (different ? ` (${run.data})` : "")).replace(/[<>&]/g, "_"), // Plotly reads tags in names
      mode: run.epoch.length > 60 ? "lines" : "lines+markers",
      line: { ...seriesStyle(number), width: 2 },
      marker: { size: 5 },
    }));
    Plotly.react(chart, traces, layout(title, name === "njd" || name === "tre" ? FROM_ZERO : {}), CHART_OPTIONS);
  }
}

new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ["class"] });
new ResizeObserver(() => {
  for (const chart of element.querySelectorAll(".chart")) if (chart.data && chart.clientWidth) Plotly.Plots.resize(chart);
}).observe(element);
by.addEventListener("change", draw);
watch("value", draw);

withPlotly(draw);
