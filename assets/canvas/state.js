// The canvas viewer draws one registered case (see regstudio/drawing/canvas_payload.py) without asking the server.
// Its files share one scope, in the order of regstudio/ui/widgets/canvas.py; Gradio runs them with `element`, `props`,
// `watch` and `trigger`. Here: what is shown, and how.

const one = (selector) => element.querySelector(selector);
const all = (selector) => [...element.querySelectorAll(selector)];
const canvas = one("canvas"), context = canvas.getContext("2d");
const token = (name) => getComputedStyle(element).getPropertyValue(name).trim();
const GAP = 8, TITLE = 20, FIXED = "fixed", SIDE_BY_SIDE = "1";
const BLEND = {
  2: { name: "Opacity", min: 0, max: 1, step: 0.01, value: 0.5 },
  3: { name: "Position", min: 0, max: 1, step: 0.005, value: 0.5 },
  4: { name: "Tile, pixels", min: 4, max: 64, step: 1, value: 16 },
  5: { name: "Gain", min: 1, max: 8, step: 0.1, value: 2 },
};
const blend = Object.fromEntries(Object.entries(BLEND).map(([mode, { value }]) => [mode, value]));
const IDENTITY = { low: 0, high: 1 };  // the window of intensities as the image has them
const state = {
  mode: SIDE_BY_SIDE, before: false, zoom: 1, x: 0, y: 0, style: "outlines", flow: "none", jacobian: false,
  strength: 0.6, labels: { fixed: true, moving: true, warped: true, masks: true }, hidden: new Set(), cursor: null,
  marks: [], showMarks: true, tool: "move", ruler: null, noAffine: false, windows: { fixed: IDENTITY, moving: IDENTITY }, placing: false, steer: true,
  laying: false, start: null,
};
// A figure that is being made: drawn with more pixels, and its lines and words collected where it is to be vectors.
let sheet = null;
const pixelRatio = () => sheet?.ratio ?? (devicePixelRatio || 1);
let scene = null, loads = 0, redrawPending = false;  // the case as `read` returns it; loads begun
