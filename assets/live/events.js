// What the user changes, and what changes on the page: theme, size, visibility. Starts the polling.

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

withPlotly(redraw);
tick();
