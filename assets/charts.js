// What the page's charts share: Plotly, its options, and the colours of regstudio/ui/server/theme.py. Nothing leaves this
// machine: Plotly's own default is a button that uploads the chart.
const CHART_OPTIONS = {
  displaylogo: false, showSendToCloud: false, plotlyServerURL: "", responsive: false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};
const DASHES = ["solid", "dash", "dot", "dashdot"];

const token = (name) => getComputedStyle(element).getPropertyValue(name).trim();

// A colour and a dash for each number from 0 on: once the colours of `kind` are used up, the next dash.
function lineStyle(kind, number) {
  const colours = [];
  for (let colour; (colour = token(`--${kind}-${colours.length + 1}`)); ) colours.push(colour);
  return { color: colours[number % colours.length], dash: DASHES[Math.floor(number / colours.length) % DASHES.length] };
}

const labelStyle = (id) => lineStyle("label", id - 1);  // the colour that images give this label, too
const seriesStyle = (number) => lineStyle("series", number);

// From 0 on, also where all values are 0.
const FROM_ZERO = { rangemode: "tozero", autorangeoptions: { minallowed: 0, include: 0.01 } };

// A curve with a gap wherever the image scale changes.
function cut(x, y, scales) {
  const parts = { x: [], y: [] };
  x.forEach((at, place) => {
    if (place && scales?.[place] !== scales?.[place - 1]) { parts.x.push(at); parts.y.push(null); }
    parts.x.push(at);
    parts.y.push(y[place]);
  });
  return parts;
}

function withPlotly(ready) {
  if (window.Plotly) { ready(); return; }
  const script = document.createElement("script");
  script.src = (window.gradio_config?.root ?? "") + props.plotly;
  script.addEventListener("load", ready);
  document.head.append(script);
}
