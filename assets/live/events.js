// What the user changes, and what changes on the page: theme, size, visibility. Starts the polling.

for (const selector of [".by", ".smoothing", ".log-scale"]) find(selector).addEventListener("input", redraw);
find(".epoch").addEventListener("input", (event) => {
  follow = Number(event.target.value) === data.previews.length - 1;
  if (data.previews.length) ask_preview(data.previews[Number(event.target.value)]);
});
find(".which").addEventListener("change", (event) => { watched = event.target.value || null; tick(); });
find(".csv").addEventListener("click", () => save_csv());
document.addEventListener("visibilitychange", tick);
const theme = new MutationObserver(redraw);
theme.observe(document.body, { attributes: true, attributeFilter: ["class"] });
const size = new ResizeObserver(() => {
  if (!window.Plotly || !charts.loss.clientWidth) return;
  if (stale) draw();
  else for (const chart of Object.values(charts)) if (chart.data) Plotly.Plots.resize(chart);
});
size.observe(find(".charts"));

// The losses as they are drawn, but not smoothed, as a file.
function save_csv() {
  const { x, scale, terms } = losses(), by = find(".by").value, names = Object.keys(terms);
  const rows = x.map((at, place) => [at, scale[place], ...names.map((name) => terms[name][place] ?? "")].join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([[[by, "scale", ...names].join(","), ...rows, ""].join("\n")], { type: "text/csv" }));
  link.download = `${last.run}_losses.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function leave() {
  document.removeEventListener("visibilitychange", tick);
  theme.disconnect();
  size.disconnect();
  for (const chart of Object.values(charts)) if (chart.data) Plotly.purge(chart);
}

withPlotly(redraw);
tick();
