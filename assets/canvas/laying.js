// A start by hand: the moving image is laid over the fixed one with the mouse or by numbers; all methods start there.
// state.start is null, or { down, right, turn, scale, flipped }: flip it left to right, scale it, turn it clockwise, all
// about its centre, then shift it. Shifts are in pixels of the grid (see regstudio/studio/hand_start.py).

const UNLAID = { down: 0, right: 0, turn: 0, scale: 1, flipped: false };
const LAY_LIMITS = { down: 1e5, right: 1e5, turn: 360 }, LAY_SCALES = [0.05, 20], KNOB = 26, GRIP = 12;
const laidOn = new Map();  // the start of each case by its name
let laid = null;  // what the pointer does: { what, from, start }

const start = () => state.start ?? UNLAID;

function takeStart(payload) {
  state.start = laidOn.has(payload.name) ? laidOn.get(payload.name) : payload.start;
  fillLaying();
}

// Change the start; once it is `done`, the registration follows.
function lay(change, done) {
  const next = change === null ? UNLAID : { ...start(), ...change };
  next.turn = ((next.turn % 360) + 540) % 360 - 180;
  next.scale = Math.max(LAY_SCALES[0], Math.min(LAY_SCALES[1], next.scale));
  state.start = Object.keys(UNLAID).every((name) => next[name] === UNLAID[name]) ? null : next;
  laidOn.set(scene.name, state.start);
  fillLaying();
  redraw();
  if (done) correctSoon();
}

function layNumber(field) {
  const name = field.dataset.lay, value = Number(field.value);
  if (field.value === "" || !Number.isFinite(value)) { fillLaying(); return; }
  if (name === "scale") lay({ scale: value / 100 }, true);
  else lay({ [name]: Math.max(-LAY_LIMITS[name], Math.min(LAY_LIMITS[name], value)) }, true);
}

function fillLaying() {
  if (!one(".lay")) return;
  one(".lay").setAttribute("aria-pressed", state.laying);
  const now = start(), shown = { ...now, scale: 100 * now.scale };
  all(".lay-number").forEach((field) => { field.value = Number(shown[field.dataset.lay].toFixed(1)); });
  one(".lay-flip").checked = now.flipped;
}

function layingPanels() {
  const blends = scene.results.map((result) => ({ title: `${many() ? `${result.title}: ` : ""}${warpedName()}, from there`, kind: "blend", result }));
  return [{ title: "Drag it; a corner scales, the knob turns", kind: "laying", result: scene.results[0] }, ...blends];
}

// From pixels of the moving image to those of the fixed one: [a, b, c, d, e, f] of a canvas.
function laidMatrix() {
  const { down, right, turn, scale, flipped } = start(), { width, height, aspect } = scene, angle = turn * Math.PI / 180;
  const sin = scale * Math.sin(angle), cos = scale * Math.cos(angle), flip = flipped ? -1 : 1;
  const a = flip * cos, b = flip * sin / aspect, c = -sin * aspect, d = cos;
  return [a, b, c, d, width / 2 + right - a * width / 2 - c * height / 2, height / 2 + down - b * width / 2 - d * height / 2];
}

const laidAt = ([x, y]) => {
  const [a, b, c, d, e, f] = laidMatrix();
  return [a * x + c * y + e, b * x + d * y + f];
};

// On the canvas: the corners of the laid image, its centre, and the knob to turn it above its upper edge.
function layingHandles(panel) {
  const { width, height } = scene;
  const seen = ([x, y]) => onCanvas(panel, [y - 0.5, x - 0.5]);
  const corners = [[0, 0], [width, 0], [width, height], [0, height]].map((corner) => seen(laidAt(corner)));
  const centre = seen(laidAt([width / 2, height / 2])), edge = seen(laidAt([width / 2, 0]));
  const long = Math.hypot(edge[0] - centre[0], edge[1] - centre[1]) || 1, reach = Math.max(20, Math.min(long - KNOB, 0.35 * panel.h));
  const knob = [0, 1].map((axis) => centre[axis] + (edge[axis] - centre[axis]) * reach / long);
  return { corners, centre, knob };
}

function drawLaying(panel) {
  put(scene.fixed, "fixed");
  context.save();
  context.transform(...laidMatrix());
  context.globalAlpha = blend[2];
  put(scene.moving, "moving");
  context.globalAlpha = 1;
  if (state.labels.moving) drawLabel(panel, scene.moving.label, false);
  context.restore();
  if (state.labels.fixed) drawLabel(panel, scene.fixed.label, true);
  const { corners, centre, knob } = layingHandles(panel), ratio = pixelRatio(), paths = [new Path2D(), new Path2D()];
  context.save();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  corners.forEach((corner, number) => paths[0][number ? "lineTo" : "moveTo"](...corner));
  paths[0].closePath();
  paths[0].moveTo(...centre);
  paths[0].lineTo(...knob);
  for (const [x, y] of corners) paths[1].rect(x - 5, y - 5, 10, 10);
  paths[1].moveTo(knob[0] + 7, knob[1]);
  paths[1].arc(...knob, 7, 0, 2 * Math.PI);
  for (const [style, thick] of [[token("--canvas-edge"), 4], [token("--canvas-mark"), 2]]) {
    context.strokeStyle = style;
    context.lineWidth = thick;
    paths.forEach((path) => context.stroke(path));
  }
  context.fillStyle = token("--canvas-mark");
  context.fill(paths[1]);
  context.restore();
}

function layingPanelAt(event) {
  const panel = scene && state.laying && arrange().list.find((one) => one.kind === "laying"), box = canvas.getBoundingClientRect();
  const at = [event.clientX - box.left, event.clientY - box.top];
  const inside = panel && at[0] >= panel.x && at[0] < panel.x + panel.w && at[1] >= panel.y && at[1] < panel.y + panel.h;
  return panel && { panel, at, inside };
}

function handleAt({ panel, at }) {
  const { corners, knob } = layingHandles(panel), near = (place) => Math.hypot(place[0] - at[0], place[1] - at[1]) < GRIP;
  return near(knob) ? "turn" : corners.some(near) ? "scale" : "move";
}

// Returns whether the pointer lays the image, and does not pan.
function layingDown(event) {
  const found = layingPanelAt(event);
  if (!found?.inside || event.button !== 0 || fingers.size > 1) return false;
  laid = { what: handleAt(found), from: found.at, start: start(), centre: layingHandles(found.panel).centre };
  return true;
}

function layingMove(event) {
  const found = laid && layingPanelAt(event);
  if (!found) return false;
  const { panel, at } = found, { what, from, start: before, centre } = laid;
  const arm = ([x, y]) => [x - centre[0], y - centre[1]], [x0, y0] = arm(from), [x1, y1] = arm(at);
  const rounded = (value, digits) => Number(value.toFixed(digits));
  if (what === "move") {
    lay({ right: rounded(before.right + (at[0] - from[0]) / panel.scale, 1), down: rounded(before.down + (at[1] - from[1]) / (panel.scale * panel.aspect), 1) }, false);
  } else if (what === "turn") {
    const turned = (Math.atan2(y1, x1) - Math.atan2(y0, x0)) * 180 / Math.PI;
    lay({ turn: event.shiftKey ? 15 * Math.round((before.turn + turned) / 15) : rounded(before.turn + turned, 1) }, false);
  } else lay({ scale: rounded(before.scale * Math.hypot(x1, y1) / (Math.hypot(x0, y0) || 1), 3) }, false);
  return true;
}

function layingUp() {
  if (!laid) return;
  const changed = laid.start !== start();
  laid = null;
  if (changed) correctSoon();
}

function layingCursor(event) {
  const found = laid ?? layingPanelAt(event);
  if (!found || (!laid && !found.inside)) return null;
  return { move: "move", turn: "grab", scale: "nwse-resize" }[laid?.what ?? handleAt(found)];
}
