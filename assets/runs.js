// Loss, Dice and folds by epoch of the selected runs, one colour for each run. The value is the JSON of
// run_actions.curves. The plots are redrawn only when the selection or a run changes.
const COLOURS = ["#0072B2", "#E69F00", "#CC79A7", "#009E73", "#56B4E9", "#D55E00", "#F0E442", "#999999"];
const DASHES = ["solid", "dot", "dash"];
const NO_RUNS = "Select runs, in the table or above, to compare their curves.";
const NO_EPOCHS = "The selected runs have no whole epoch yet: their curves begin with the first.";

function style(name) {
  return getComputedStyle(element).getPropertyValue(name).trim();
}

function layout(title) {
  const axis = { gridcolor: style("--border-color-primary"), zeroline: false, automargin: true };
  return {
    title: { text: title, font: { size: 13 }, x: 0.02 },
    font: { color: style("--body-text-color"), family: "system-ui, sans-serif", size: 12 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 48, r: 12, t: 36, b: 40 },
    height: 320,
    showlegend: true,
    legend: { orientation: "h", y: -0.28 },
    xaxis: { ...axis, title: { text: "epoch", standoff: 8, font: { size: 12 } }, rangemode: "tozero" },
    yaxis: axis,
    uirevision: "keep",
  };
}

function draw() {
  if (!element.isConnected || !window.Plotly) return;
  const runs = JSON.parse(props.value || "[]");
  const empty = element.querySelector(".empty"), drawn = runs.some((run) => run.epoch.length > 0);
  empty.textContent = runs.length ? NO_EPOCHS : NO_RUNS;
  empty.hidden = drawn;
  for (const [name, title] of [["loss", "Loss"], ["dice", "Validation Dice"], ["njd", "Folded pixels (NJD), %"]]) {
    const chart = element.querySelector(`.chart[data-of="${name}"]`);
    chart.hidden = !drawn;
    if (chart.hidden) {
      Plotly.purge(chart);
      continue;
    }
    const traces = runs.map((run, number) => ({
      x: run.epoch,
      y: run[name],
      name: run.name.replace(/[<>&]/g, "_"), // Plotly reads tags in names
      mode: run.epoch.length > 60 ? "lines" : "lines+markers",
      line: { color: COLOURS[number % COLOURS.length], dash: DASHES[Math.floor(number / COLOURS.length) % 3], width: 2 },
      marker: { size: 5 },
    }));
    Plotly.react(chart, traces, layout(title), { displaylogo: false });
  }
}

new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ["class"] });
new ResizeObserver(() => {
  for (const chart of element.querySelectorAll(".chart")) if (chart.data && chart.clientWidth) Plotly.Plots.resize(chart);
}).observe(element);
watch("value", draw);

if (window.Plotly) {
  draw();
} else {
  const script = document.createElement("script");
  script.src = (window.gradio_config?.root ?? "") + props.plotly;
  script.addEventListener("load", draw);
  document.head.append(script);
}
