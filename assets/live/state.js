// The live panel shows the run in training. Its files share one scope, in the order of regstudio/ui/widgets/live.py, after
// charts.js; Gradio runs them once the template is on the page, with `element` (its root), `server` and `props`.
// Here: constants, and what the page knows of the run.
const POLL_ACTIVE = 500, POLL_IDLE = 1000, POLL_LOST = 4000;  // milliseconds from one poll to the next
const POLL_LIST = 4000;
const MAX_POINTS = 2500;  // with more, the page asks for the whole run again, thinned
const MAX_LINES = 200;
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
let watched = null, listed = 0;  // the run to watch, null for the one in training; when the list of runs was asked for
let follow = true, wanted = 0, shown = 0, fetching = false;

function blank() {
  return { version: null, counts: {}, x: [], seconds: [], scale: [], terms: {}, epochs: [], previews: [], log: [] };
}
