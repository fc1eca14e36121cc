// Placing landmarks: click, drag, delete, undo; what is placed on a case is kept while the page is open.

const CORRECT_AFTER = 150;  // milliseconds without another change
const placedOn = new Map();  // the marks of each case by its name
let dragged = null, touched = null, history = [], correcting = 0;

const copied = (marks) => marks.map(({ fixed, moving }) => ({ fixed: fixed && [...fixed], moving: moving && [...moving] }));

// Called when a case was loaded: its own landmarks, or those that were placed on it before.
function takeMarks(payload) {
  if (payload.corrected) { sayMarks(); return; }
  takeStart(payload);
  history = [];
  touched = dragged = null;
  const before = placedOn.get(payload.name);
  state.marks = before ? copied(before) : payload.points.map(([y, x, my, mx]) => ({ fixed: [y, x], moving: [my, mx] }));
  const marked = before?.some(complete) && state.steer;
  if (one(".place-marks") && (marked || (laidOn.has(payload.name) && (state.start || payload.start)))) correctSoon();
  sayMarks();
}

function sayMarks() {
  const said = one(".marks-said"), whole = state.marks.filter(complete).length;
  if (said) said.textContent = !state.marks.length ? "" : whole === state.marks.length ? `${whole} pair${whole === 1 ? "" : "s"}`
    : `${whole} complete; place ${state.marks.findIndex((mark) => !complete(mark)) + 1} on the other image`;
}

function correctSoon() {
  clearTimeout(correcting);
  correcting = setTimeout(() => {
    const pairs = state.steer ? state.marks.filter(complete).map((mark) => [...mark.fixed, ...mark.moving]) : [];
    trigger("correct", { pairs, start: state.start });
  }, CORRECT_AFTER);
}

// After each change: keep it, show it, and let the registration follow.
function changed(steer = true) {
  placedOn.set(scene.name, copied(state.marks));
  sayMarks();
  fillNumbers();
  redraw();
  if (steer && state.steer) correctSoon();
}

function remember() {
  history.push(copied(state.marks));
  if (history.length > 200) history.shift();
}

const sideOf = (panel) => (panel.kind === FIXED ? "fixed" : panel.kind === "blend" ? null : "moving");

// A place under the pointer, on the side that the panel shows; on the warped image it is the moving image's place there.
function placeAt(at) {
  const y = Math.max(-0.49, Math.min(scene.height - 0.51, at.y - 0.5)), x = Math.max(-0.49, Math.min(scene.width - 0.51, at.x - 0.5));
  const place = at.panel.kind === "warped" && !state.before ? mapped(at.panel.result, [y, x]) : [y, x];
  return [Math.max(-0.49, Math.min(scene.height - 0.51, place[0])), Math.max(-0.49, Math.min(scene.width - 0.51, place[1]))];
}

function markAt(event, panel) {
  const box = canvas.getBoundingClientRect(), side = sideOf(panel);
  let best = null;
  state.marks.forEach((mark, number) => placesOn(panel, mark).forEach(([own, place]) => {
    if (own !== side) return;
    const [x, y] = onCanvas(panel, place), away = Math.hypot(event.clientX - box.left - x, event.clientY - box.top - y);
    if (away < 10 && (!best || away < best.away)) best = { number, away };
  }));
  return best?.number ?? null;
}

// Returns whether the pointer places or moves a landmark, and does not pan.
function placingDown(event) {
  const at = scene && state.placing && event.button === 0 && fingers.size < 2 && pixel(event);
  if (!at || !sideOf(at.panel) || at.x < 0 || at.y < 0 || at.x >= scene.width || at.y >= scene.height) return false;
  const side = sideOf(at.panel), hit = markAt(event, at.panel);
  remember();
  if (hit !== null) dragged = { number: hit, side };
  else {
    const open = state.marks.findIndex((mark) => !complete(mark));
    const number = open >= 0 ? open : state.marks.push({ fixed: null, moving: null }) - 1;
    state.marks[number][side] = placeAt(at);
    dragged = { number, side };
  }
  touched = dragged.number;
  changed(false);
  return true;
}

function placingMove(event) {
  if (!dragged) return false;
  const at = pixel(event);
  if (at && sideOf(at.panel) === dragged.side) {
    state.marks[dragged.number][dragged.side] = placeAt(at);
    changed(false);
  }
  return true;
}

function placingUp() {
  if (!dragged) return;
  const done = complete(state.marks[dragged.number]);
  dragged = null;
  changed(Boolean(done));
}

function deleteMark(number) {
  if (number === null || !state.marks[number]) return;
  remember();
  state.marks.splice(number, 1);
  touched = null;
  changed();
}

function undoMarks() {
  if (!history.length) return;
  state.marks = history.pop();
  changed();
}
