// The canvas viewer: draws one registered case (see regstudio/viewer/layers.py) without asking the server anything.
// Gradio runs this with element, props, watch and trigger. All panels share one view, in pixels of the images.

const one = (selector) => element.querySelector(selector);
const all = (selector) => [...element.querySelectorAll(selector)];
const canvas = one("canvas"), context = canvas.getContext("2d");
const GAP = 8, TITLE = 20, FIXED = "fixed", SIDE_BY_SIDE = "1";
const BLEND = {
  2: { name: "Opacity", min: 0, max: 1, step: 0.01, value: 0.5 },
  3: { name: "Position", min: 0, max: 1, step: 0.005, value: 0.5 },
  4: { name: "Tile, pixels", min: 4, max: 64, step: 1, value: 16 },
  5: { name: "Gain", min: 1, max: 8, step: 0.1, value: 2 },
};
const blend = Object.fromEntries(Object.entries(BLEND).map(([mode, { value }]) => [mode, value]));
const state = {
  mode: SIDE_BY_SIDE, before: false, zoom: 1, x: 0, y: 0, style: "outlines", flow: "none", jacobian: false,
  strength: 0.6, labels: { fixed: true, moving: true, warped: true }, hidden: new Set(), cursor: null,
};
let scene = null, opening = 0, waiting = false;

// ---- reading a payload

async function unpack(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Kind(await new Response(stream).arrayBuffer());
}

async function picture(uri, width, height) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  const surface = new OffscreenCanvas(width, height), into = surface.getContext("2d", { willReadFrequently: true });
  into.drawImage(image, 0, 0);
  const grey = into.getImageData(0, 0, width, height).data.filter((_, place) => place % 4 === 0);
  return { surface, grey };
}

async function labelled(text, width, height) {
  if (!text) return null;
  const map = await unpack(text, Uint16Array);
  return { map, outlines: trace(map, width, height), fills: new Map() };
}

async function read(payload) {
  const { width, height } = payload;
  const read_picture = (uri) => picture(uri, width, height), read_label = (text) => labelled(text, width, height);
  const [fixed, moving, fixedLabel, movingLabel] = await Promise.all([
    read_picture(payload.fixed), read_picture(payload.moving),
    read_label(payload.fixed_label), read_label(payload.moving_label)]);
  const results = await Promise.all(payload.results.map(async (result) => {
    const [warped, label, steps, magnitude, jacobian] = await Promise.all([
      read_picture(result.warped), read_label(result.warped_label), unpack(result.flow, Int16Array),
      unpack(result.magnitude, Uint8Array), unpack(result.jacobian, Uint8Array)]);
    for (let i = 0; i < steps.length; i++) if (i % width) steps[i] += steps[i - 1];
    const flow = Float32Array.from(steps, (step) => step * result.flow_step);
    const folds = trace(jacobian.map((place) => (place === 0 ? 1 : 0)), width, height).get(1);
    return {
      ...result, warped: { ...warped, label }, flow, folds, cache: new Map(), places: { magnitude, jacobian },
    };
  }));
  return { ...payload, fixed: { ...fixed, label: fixedLabel }, moving: { ...moving, label: movingLabel }, results };
}

// The border of every number but 0 as closed lines along the edges of pixels.
function trace(map, width, height) {
  const edges = new Map(), at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : map[y * width + x]);
  const add = (number, from, to) => {
    if (!edges.has(number)) edges.set(number, new Map());
    const own = edges.get(number);
    if (own.has(from)) own.get(from).push(to); else own.set(from, [to]);
  };
  const corner = (x, y) => y * (width + 1) + x;
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const number = map[y * width + x];
    if (!number) continue;
    if (at(x, y - 1) !== number) add(number, corner(x, y), corner(x + 1, y));
    if (at(x + 1, y) !== number) add(number, corner(x + 1, y), corner(x + 1, y + 1));
    if (at(x, y + 1) !== number) add(number, corner(x + 1, y + 1), corner(x, y + 1));
    if (at(x - 1, y) !== number) add(number, corner(x, y + 1), corner(x, y));
  }
  const paths = new Map();
  for (const [number, own] of edges) {
    const path = new Path2D();
    for (const start of own.keys()) while (own.get(start).length) {
      let point = start;
      path.moveTo(point % (width + 1), Math.floor(point / (width + 1)));
      while (own.get(point)?.length) {
        point = own.get(point).pop();
        path.lineTo(point % (width + 1), Math.floor(point / (width + 1)));
      }
    }
    paths.set(number, path);
  }
  return paths;
}

const rgb = (hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));

function painted(paint) {
  const surface = new OffscreenCanvas(scene.width, scene.height), into = surface.getContext("2d");
  const data = into.createImageData(scene.width, scene.height);
  for (let i = 0; i < scene.width * scene.height; i++) data.data.set(paint(i), 4 * i);
  into.putImageData(data, 0, 0);
  return surface;
}

function kept(result, name, paint) {
  if (!result.cache.has(name)) result.cache.set(name, painted(paint));
  return result.cache.get(name);
}

// ---- drawing

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

function panels() {
  if (state.mode !== SIDE_BY_SIDE) {
    return scene.results.map((result) => ({
      title: `${state.before ? "moving (before)" : "warped (after)"} on atlas${many() ? `: ${result.title}` : ""}`,
      kind: "blend", result }));
  }
  return [
    { title: "atlas (fixed)", kind: FIXED, result: scene.results[0] },
    { title: "moving (before)", kind: "moving", result: scene.results[0] },
    ...scene.results.map((result) => (
      { title: `${state.before ? "moving (before)" : "warped (after)"}${many() ? `: ${result.title}` : ""}`,
        kind: "warped", result })),
  ];
}

const many = () => scene.results.length > 1;

function arrange() {
  const list = panels(), width = canvas.clientWidth;
  const room = innerWidth < 760 ? 1.15 * innerHeight : Math.max(260, Math.min(0.58 * innerHeight, 760));
  let best = null;
  for (let columns = 1; columns <= list.length; columns++) {
    const rows = Math.ceil(list.length / columns), w = (width - GAP * (columns - 1)) / columns;
    const h = Math.min(w * scene.height / scene.width, room / rows - TITLE);
    const scale = Math.min(w / scene.width, h / scene.height);
    if (!best || scale > best.scale) best = { columns, rows, w, h, scale };
  }
  list.forEach((panel, place) => {
    panel.x = (place % best.columns) * (best.w + GAP);
    panel.y = Math.floor(place / best.columns) * (best.h + TITLE + GAP) + TITLE;
    Object.assign(panel, { w: best.w, h: best.h, scale: best.scale * state.zoom });
  });
  return { list, height: best.rows * (best.h + TITLE + GAP) };
}

function draw() {
  if (!scene || !canvas.clientWidth) return;
  const { list, height } = arrange(), ratio = devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  const size = [Math.round(canvas.clientWidth * ratio), Math.round(height * ratio)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, height);
  for (const panel of list) drawPanel(panel);
}

function drawPanel(panel) {
  const style = getComputedStyle(canvas);
  context.save();
  context.fillStyle = style.color;
  context.font = `13px ${style.fontFamily}`;
  context.fillText(panel.title, panel.x, panel.y - 6, panel.w);
  context.beginPath();
  context.rect(panel.x, panel.y, panel.w, panel.h);
  context.clip();
  context.fillStyle = "#111";
  context.fillRect(panel.x, panel.y, panel.w, panel.h);
  context.translate(panel.x + panel.w / 2, panel.y + panel.h / 2);
  context.scale(panel.scale, panel.scale);
  context.translate(-scene.width / 2 - state.x, -scene.height / 2 - state.y);
  context.imageSmoothingEnabled = false;
  drawImages(panel);
  drawMaps(panel);
  drawLabels(panel);
  drawFlow(panel);
  drawCursor(panel);
  context.restore();
}

const other = (panel) => (state.before ? scene.moving : panel.result.warped);

function drawImages(panel) {
  const second = other(panel), { width, height } = scene;
  const put = (surface) => context.drawImage(surface, 0, 0);
  if (panel.kind !== "blend") { put({ fixed: scene.fixed, moving: scene.moving, warped: second }[panel.kind].surface); return; }
  const f = scene.fixed.grey, o = second.grey, when = state.before;
  if (state.mode === "5") {
    const gain = blend[5];
    panel.result.cache.forEach((_, name) => name.startsWith("difference") && !name.endsWith(`${when}${gain}`)
      && panel.result.cache.delete(name));
    put(kept(panel.result, `difference${when}${gain}`, (i) => {
      const value = gain * Math.abs(f[i] - o[i]);
      return [value, value, value, 255];
    }));
    return;
  }
  if (state.mode === "6") { put(kept(panel.result, `pair${when}`, (i) => [f[i], o[i], f[i], 255])); return; }
  put(scene.fixed.surface);
  context.save();
  if (state.mode === "2") context.globalAlpha = blend[2];
  if (state.mode === "3") {
    const edge = width / 2 + state.x + (blend[3] - 0.5) * panel.w / panel.scale;
    context.beginPath();
    context.rect(edge, 0, width - edge, height);
    context.clip();
  }
  if (state.mode === "4") {
    context.beginPath();
    for (let y = 0; y * blend[4] < height; y++) for (let x = y % 2 ? 0 : 1; x * blend[4] < width; x += 2) {
      context.rect(x * blend[4], y * blend[4], blend[4], blend[4]);
    }
    context.clip();
  }
  put(second.surface);
  context.restore();
  if (state.mode === "3") {
    const edge = width / 2 + state.x + (blend[3] - 0.5) * panel.w / panel.scale;
    line(panel, "#fff", 1.5, (path) => { path.moveTo(edge, 0); path.lineTo(edge, height); });
  }
}

// Displacement and Jacobian belong to the fixed image's grid, and so to every panel but the moving image's.
function drawMaps(panel) {
  if (panel.kind === "moving" || panel.kind === FIXED) return;
  const map = (name, colours) => {
    const table = colours.map(rgb), places = panel.result.places[name];
    const surface = kept(panel.result, name, (i) => [...table[places[i]], 255]);
    context.globalAlpha = state.strength;
    context.drawImage(surface, 0, 0);
    context.globalAlpha = 1;
  };
  if (state.flow === "magnitude") map("magnitude", scene.magnitude_colours);
  if (!state.jacobian) return;
  map("jacobian", scene.jacobian_colours);
  if (panel.result.folds) {
    context.fillStyle = "#000";
    context.fill(panel.result.folds);
    strokePath(panel, panel.result.folds, "#ffe600", 2);
  }
}

function drawLabels(panel) {
  const shown = panel.kind === "moving" || state.before ? "moving" : "warped";
  if (panel.kind !== FIXED && state.labels[shown]) {
    drawLabel(panel, (shown === "moving" ? scene.moving : panel.result.warped).label, false);
  }
  if (state.labels.fixed) drawLabel(panel, scene.fixed.label, true);
}

function drawLabel(panel, label, isFixed) {
  if (!label) return;
  // Two fills on top of each other could not be told apart: the atlas is filled where it is alone.
  if (state.style === "fills" && !(isFixed && panel.kind !== FIXED)) {
    const key = [...state.hidden].sort().join();
    if (!label.fills.has(key)) {
      const table = scene.colours.map(rgb);
      label.fills.clear();
      label.fills.set(key, painted((i) => {
        const place = label.map[i];
        return place && !state.hidden.has(place) ? [...table[place - 1], 255] : [0, 0, 0, 0];
      }));
    }
    context.globalAlpha = state.strength;
    context.drawImage(label.fills.get(key), 0, 0);
    context.globalAlpha = 1;
    return;
  }
  // The atlas's outline is dashed, so that it can be told from the other's where both are drawn.
  for (const [place, path] of label.outlines) {
    if (!state.hidden.has(place)) strokePath(panel, path, scene.colours[place - 1], 1.5, isFixed ? [4, 3] : []);
  }
}

function strokePath(panel, path, colour, width, dash = []) {
  context.lineJoin = "round";
  context.setLineDash([]);
  context.strokeStyle = "rgba(0, 0, 0, 0.55)";  // so that it can be seen on bright pixels
  context.lineWidth = (width + 1) / panel.scale;
  if (!dash.length) context.stroke(path);
  context.setLineDash(dash.map((length) => length / panel.scale));
  context.strokeStyle = colour;
  context.lineWidth = width / panel.scale;
  context.stroke(path);
  context.setLineDash([]);
}

function line(panel, colour, width, build) {
  const path = new Path2D();
  build(path);
  strokePath(panel, path, colour, width);
}

function drawFlow(panel) {
  const { width, height } = scene, flow = panel.result.flow, size = width * height;
  const arrows = state.flow === "arrows" && (panel.kind === "warped" || panel.kind === "blend");
  // A line of the grid lies where its points are found in the moving image.
  const grid = state.flow === "grid" && (panel.kind === "moving" || panel.kind === "blend");
  if (arrows) {
    const step = Math.max(1, Math.round(16 / panel.scale)), head = 5 / panel.scale;
    line(panel, "#ffe600", 1.2, (path) => {
      for (let y = step >> 1; y < height; y += step) for (let x = step >> 1; x < width; x += step) {
        const i = y * width + x, dy = flow[i], dx = flow[i + size], length = Math.hypot(dx, dy);
        if (length * panel.scale < 1.5) continue;
        const tx = x + 0.5 + dx, ty = y + 0.5 + dy, tip = Math.min(head, length / 2) / length;
        path.moveTo(x + 0.5, y + 0.5);
        path.lineTo(tx, ty);
        path.moveTo(tx - tip * (dx + 0.6 * dy), ty - tip * (dy - 0.6 * dx));
        path.lineTo(tx, ty);
        path.lineTo(tx - tip * (dx - 0.6 * dy), ty - tip * (dy + 0.6 * dx));
      }
    });
  }
  if (grid) {
    const step = Math.max(1, Math.round(14 / panel.scale)), at = (path, x, y, first) => {
      const i = y * width + x;
      path[first ? "moveTo" : "lineTo"](x + 0.5 + flow[i + size], y + 0.5 + flow[i]);
    };
    line(panel, "#ffe600", 1, (path) => {
      for (let y = step >> 1; y < height; y += step) for (let x = 0; x < width; x++) at(path, x, y, x === 0);
      for (let x = step >> 1; x < width; x += step) for (let y = 0; y < height; y++) at(path, x, y, y === 0);
    });
  }
}

function drawCursor(panel) {
  if (!state.cursor) return;
  let { x, y } = state.cursor;
  if (state.cursor.moving !== (panel.kind === "moving")) {
    if (state.cursor.moving) return;
    const i = y * scene.width + x;
    [x, y] = [x + panel.result.flow[i + scene.width * scene.height], y + panel.result.flow[i]];
  }
  const arm = 7 / panel.scale;
  line(panel, "#fff", 1, (path) => {
    path.moveTo(x + 0.5 - arm, y + 0.5); path.lineTo(x + 0.5 + arm, y + 0.5);
    path.moveTo(x + 0.5, y + 0.5 - arm); path.lineTo(x + 0.5, y + 0.5 + arm);
  });
}

// ---- numbers and words

function cells(row, texts, tag = "td") {
  for (const text of texts) {
    const cell = document.createElement(tag);
    if (text instanceof Node) cell.append(text); else cell.textContent = text;
    row.append(cell);
  }
}

const figure = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));

function fillNumbers() {
  const head = one(".numbers thead"), body = one(".numbers tbody"), add = (texts) => cells(body.insertRow(), texts);
  head.replaceChildren();
  body.replaceChildren();
  const titles = many() ? scene.results.map((result) => result.title) : ["after"];
  cells(head.insertRow(), ["", "before", ...titles], "th");
  const row = (name, before, after, digits) => add(
    [name, before ? figure(scene.results[0].metrics[before], digits) : "",
      ...scene.results.map((result) => figure(result.metrics[after], digits))]);
  if (scene.results[0].metrics.dice !== undefined) row("Dice, mean", "dice_before", "dice");
  scene.ids.forEach((id, place) => {
    const entry = document.createElement("label"), box = document.createElement("input"), swatch = document.createElement("i");
    box.type = "checkbox";
    box.checked = !state.hidden.has(place + 1);
    box.dataset.place = place + 1;
    swatch.style.background = scene.colours[place];
    entry.append(box, swatch, scene.names[place]);
    row(entry, `dice_before_${id}`, `dice_${id}`);
  });
  row("NCC", "ncc_before", "ncc");
  row("Folds (NJD), pixels", "", "njd", 0);
  row("Folds (NJD), %", "", "njd_percent");
}

function fillScale() {
  const magnitude = state.flow === "magnitude", shown = magnitude || state.jacobian;
  const colours = magnitude && !state.jacobian ? scene.magnitude_colours : scene.jacobian_colours.slice(1);
  const ends = magnitude && !state.jacobian ? ["0", `${scene.largest.toFixed(1)} px`]
    : [`1/${2 ** scene.jacobian_range}`, `${2 ** scene.jacobian_range}`];
  one(".scale").hidden = !shown;
  one(".scale .low").textContent = ends[0];
  one(".scale .high").textContent = ends[1];
  one(".scale .ramp").style.background = `linear-gradient(to right, ${colours.filter((_, i) => i % 16 === 0).join()})`;
  one(".scale .what").textContent = state.jacobian
    ? "Jacobian determinant: change of area; folds are black, ringed in yellow" : "displacement";
}

function fillControls() {
  const setting = BLEND[state.mode], slider = one(".blend-value");
  all(".mode").forEach((button) => button.setAttribute("aria-pressed", button.dataset.mode === state.mode));
  one(".blend").hidden = !setting;
  if (setting) {
    one(".blend-name").textContent = setting.name;
    Object.assign(slider, { min: setting.min, max: setting.max, step: setting.step });
    slider.value = blend[state.mode];
  }
  one(".flicker").setAttribute("aria-pressed", state.before);
  canvas.setAttribute("aria-label", `${scene.name}: ${panels().map((panel) => panel.title).join(", ")}`);
  fillScale();
  redraw();
}

function tell() {
  const { cursor } = state, { width, height } = scene, readout = one(".readout");
  if (!cursor) { readout.textContent = "Point at a pixel to read its displacement, intensities and labels."; return; }
  const { x, y, moving, result } = cursor, i = y * width + x;
  const say = (name, image) => {
    const place = image.label?.map[i];
    return `${name} ${(image.grey[i] / 255).toFixed(2)}${image.label ? ` (${place ? scene.names[place - 1] : "no label"})` : ""}`;
  };
  const words = [`row ${y}, column ${x}`];
  if (moving) words.push(say("moving", scene.moving));
  else {
    const dy = result.flow[i], dx = result.flow[i + width * height], sign = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
    words.push(say("atlas", scene.fixed), say("moving", scene.moving), say("warped", result.warped),
      `displacement dy ${sign(dy)}, dx ${sign(dx)}, ${Math.hypot(dx, dy).toFixed(2)} px`,
      `Jacobian ${determinant(result.flow, x, y).toFixed(2)}`);
  }
  readout.textContent = words.join(" · ");
}

function determinant(flow, x, y) {
  const { width, height } = scene, size = width * height;
  const slope = (channel, [x0, y0], [x1, y1]) =>
    (flow[channel * size + y1 * width + x1] - flow[channel * size + y0 * width + x0]) / (x1 - x0 + y1 - y0);
  const across = [[Math.max(0, x - 1), y], [Math.min(width - 1, x + 1), y]];
  const down = [[x, Math.max(0, y - 1)], [x, Math.min(height - 1, y + 1)]];
  return (1 + slope(0, ...down)) * (1 + slope(1, ...across)) - slope(0, ...across) * slope(1, ...down);
}

// ---- what the user does

function pixel(event) {
  const box = canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
  const panel = arrange().list.find((p) => px >= p.x && px < p.x + p.w && py >= p.y && py < p.y + p.h);
  if (!panel) return null;
  const x = scene.width / 2 + state.x + (px - panel.x - panel.w / 2) / panel.scale;
  const y = scene.height / 2 + state.y + (py - panel.y - panel.h / 2) / panel.scale;
  return { panel, x, y };
}

function point(event) {
  const at = scene && pixel(event), x = Math.floor(at?.x), y = Math.floor(at?.y);
  const inside = at && x >= 0 && y >= 0 && x < scene.width && y < scene.height;
  state.cursor = inside ? { x, y, moving: at.panel.kind === "moving", result: at.panel.result } : null;
  tell();
  redraw();
}

function zoomAt(event, factor) {
  const before = pixel(event);
  if (!before) return;
  const zoom = Math.min(40, Math.max(1, state.zoom * factor)), ratio = state.zoom / zoom;
  const centre = [scene.width / 2 + state.x, scene.height / 2 + state.y];
  state.x = before.x + (centre[0] - before.x) * ratio - scene.width / 2;
  state.y = before.y + (centre[1] - before.y) * ratio - scene.height / 2;
  state.zoom = zoom;
  moved();
}

function moved() {
  const reach = (size) => size / 2 * (1 - 1 / state.zoom);
  state.x = Math.max(-reach(scene.width), Math.min(reach(scene.width), state.x));
  state.y = Math.max(-reach(scene.height), Math.min(reach(scene.height), state.y));
  // A finger on the whole image scrolls the page; on a part of it, it moves the image.
  canvas.style.touchAction = state.zoom > 1 ? "none" : "pan-y";
  redraw();
}

function reset() {
  Object.assign(state, { zoom: 1, x: 0, y: 0 });
  moved();
}

const fingers = new Map();
canvas.addEventListener("pointerdown", (event) => {
  fingers.set(event.pointerId, event);
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (!scene) return;
  const last = fingers.get(event.pointerId);
  if (last && fingers.size === 2) {
    const still = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
    const reach = (finger) => Math.hypot(finger.clientX - still.clientX, finger.clientY - still.clientY);
    zoomAt(still, reach(event) / Math.max(1, reach(last)));
  } else if (last) {
    const { scale } = arrange().list[0];
    state.x -= (event.clientX - last.clientX) / scale;
    state.y -= (event.clientY - last.clientY) / scale;
    moved();
  }
  if (last) fingers.set(event.pointerId, event);
  point(event);
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
}
canvas.addEventListener("pointerleave", () => { if (scene) { state.cursor = null; tell(); redraw(); } });
canvas.addEventListener("dblclick", () => scene && reset());
canvas.addEventListener("wheel", (event) => {
  if (!scene) return;
  event.preventDefault();
  zoomAt(event, Math.exp(-event.deltaY / 400));
}, { passive: false });

function flicker() {
  state.before = !state.before;
  fillControls();
}

function key(event) {
  if (!element.isConnected) { document.removeEventListener("keydown", key); return; }
  // What is typed elsewhere, or moves a slider, is no order to the viewer; right after its tab is opened, keys are.
  const target = event.target, is = (selector) => target.matches?.(selector);
  const elsewhere = target !== document.body && !element.contains(target) && !is("[role=tab]");
  const typing = is("input:not([type=checkbox]), select, textarea");
  if (!scene || !canvas.offsetParent || elsewhere || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowLeft") trigger("previous");
  else if (event.key === "ArrowRight") trigger("next");
  else if (event.key >= "1" && event.key <= "6") { state.mode = event.key; fillControls(); }
  else if (event.key === " " && (is("[role=tab]") || !is("button, input"))) flicker();
  else return;
  event.preventDefault();
}
document.addEventListener("keydown", key);

const on = (selector, kind, act) => one(selector).addEventListener(kind, act);
on(".previous", "click", () => trigger("previous"));
on(".next", "click", () => trigger("next"));
on(".flicker", "click", flicker);
on(".reset", "click", reset);
on(".blend-value", "input", (event) => { blend[state.mode] = Number(event.target.value); redraw(); });
on(".style", "change", (event) => { state.style = event.target.value; redraw(); });
on(".flow", "change", (event) => { state.flow = event.target.value; fillScale(); redraw(); });
on(".jacobian", "change", (event) => { state.jacobian = event.target.checked; fillScale(); redraw(); });
on(".strength", "input", (event) => { state.strength = Number(event.target.value); redraw(); });
all(".mode").forEach((button) => button.addEventListener("click", () => {
  state.mode = button.dataset.mode;
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
new ResizeObserver(redraw).observe(canvas);

async function open() {
  const turn = ++opening, payload = JSON.parse(props.value || '{"empty": ""}');
  const viewer = one(".viewer");
  if (payload.empty !== undefined) {
    scene = null;
    one(".empty").textContent = payload.empty;
    viewer.dataset.state = "empty";
    return;
  }
  try {
    const next = await read(payload);
    if (turn !== opening) return;  // another case was opened meanwhile
    const same = scene && scene.ids.join() === next.ids.join();
    const fits = scene && scene.width === next.width && scene.height === next.height;
    scene = next;
    if (!same) state.hidden.clear();
    if (!fits) Object.assign(state, { zoom: 1, x: 0, y: 0 });
    state.cursor = null;
    viewer.dataset.state = "open";
    viewer.dataset.case = scene.name;
    one(".name").textContent = scene.name;
    one(".networks").textContent = scene.results.map((result) => result.title).join("  |  ");
    fillNumbers();
    fillControls();
    tell();
    moved();
  } catch (error) {
    one(".empty").textContent = `This browser cannot draw the case (${error}).`;
    viewer.dataset.state = "empty";
  }
}

watch("value", open);
open();
