// Buttons, checkboxes, sliders and keys.

function flicker() {
  state.before = !state.before;
  fillControls();
}

function key(event) {
  if (!element.isConnected) { document.removeEventListener("keydown", key); return; }
  // Ignore keys that are typed elsewhere or move a slider; right after its tab is opened, the viewer takes keys.
  const target = event.target, is = (selector) => target.matches?.(selector);
  const elsewhere = target !== document.body && !element.contains(target) && !is("[role=tab]");
  const typing = is("input:not([type=checkbox]), select, textarea");
  if (!scene || !canvas.offsetParent || elsewhere || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else if (event.key >= "1" && event.key <= "6") { state.mode = event.key; state.laying = false; fillControls(); }
  else if (event.key === "Delete" && state.placing) deleteMark(touched);
  else if (event.key === " " && (is("[role=tab]") || !is("button, input"))) flicker();
  else return;
  event.preventDefault();
}
document.addEventListener("keydown", key);

const on = (selector, kind, act) => one(selector).addEventListener(kind, act);
on(".previous", "click", () => step(-1));
on(".next", "click", () => step(1));
on(".flicker", "click", flicker);
on(".reset", "click", reset);
on(".save", "click", () => saveFigure("png"));
on(".save-svg", "click", () => saveFigure("svg"));
on(".blend-value", "input", (event) => { blend[state.mode] = Number(event.target.value); redraw(); });
on(".style", "change", (event) => { state.style = event.target.value; redraw(); });
on(".flow", "change", (event) => { state.flow = event.target.value; fillScale(); redraw(); });
on(".jacobian", "change", (event) => { state.jacobian = event.target.checked; fillScale(); redraw(); });
on(".strength", "input", (event) => { state.strength = Number(event.target.value); redraw(); });
all(".mode").forEach((button) => button.addEventListener("click", () => {
  Object.assign(state, { mode: button.dataset.mode, laying: false });
  fillControls();
}));
all("[data-label]").forEach((box) => box.addEventListener("change", () => {
  state.labels[box.dataset.label] = box.checked;
  redraw();
}));
on(".numbers", "change", (event) => {
  const place = Number(event.target.dataset.place);
  if (event.target.checked) state.hidden.delete(place); else state.hidden.add(place);
  redraw();
});
all("[data-tool]").forEach((button) => button.addEventListener("click", () => {
  state.tool = button.dataset.tool;
  all("[data-tool]").forEach((other) => other.setAttribute("aria-pressed", other === button));
}));
on(".no-affine", "change", (event) => { state.noAffine = event.target.checked; fillScale(); redraw(); });
on(".full", "click", () => (document.fullscreenElement ? document.exitFullscreen() : one(".viewer").requestFullscreen()));
document.addEventListener("fullscreenchange", () => {
  if (!element.isConnected) return;
  one(".full").title = one(".full").ariaLabel = document.fullscreenElement ? "Leave full screen" : "Full screen";
  redraw();
});
on(".show-marks", "change", (event) => { state.showMarks = event.target.checked; redraw(); });
if (one(".place-marks")) {
  on(".place-marks", "click", () => {
    state.placing = !state.placing;
    if (state.placing) Object.assign(state, { mode: SIDE_BY_SIDE, showMarks: true, laying: false });
    one(".place-marks").setAttribute("aria-pressed", state.placing);
    one(".show-marks").checked = state.showMarks;
    fillControls();
  });
  on(".lay", "click", () => {
    state.laying = !state.laying;
    if (state.laying) Object.assign(state, { mode: "2", placing: false });
    fillControls();
  });
  all(".lay-number").forEach((field) => field.addEventListener("change", () => layNumber(field)));
  on(".lay-flip", "change", (event) => lay({ flipped: event.target.checked }, true));
  on(".lay-quarter", "click", () => lay({ turn: (state.start?.turn ?? 0) + 90 }, true));
  on(".lay-reset", "click", () => lay(null, true));
  on(".undo-marks", "click", undoMarks);
  on(".clear-marks", "click", () => { if (state.marks.length) { remember(); state.marks = []; changed(); } });
  on(".steer", "change", (event) => { state.steer = event.target.checked; correctSoon(); });
}
const resized = new ResizeObserver(redraw);
for (const part of [canvas, document.body]) resized.observe(part);  // what folds above the canvas leaves it more room
