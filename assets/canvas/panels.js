// The panels: which there are, their layout, and drawing them. All share one view, in pixels of the images.

function redraw() {
  if (redrawPending) return;
  redrawPending = true;
  requestAnimationFrame(() => { redrawPending = false; draw(); });
}

// The title of a panel in each mode that lays one image over the other.
const WORDS = {
  2: (fixed, other) => `${other} over ${fixed}`,
  3: (fixed, other) => `left: ${fixed}, right: ${other}`,
  4: (fixed, other) => `tiles of ${fixed} and ${other}`,
  5: (fixed, other) => `difference of ${fixed} and ${other}: black where they agree`,
  6: (fixed, other) => `${fixed} magenta, ${other} green: grey where they agree`,
};

// What the images are called: own images and those of pairs by their files' names.
const fixedName = () => scene.own?.fixed ?? scene.fixed_name ?? "atlas";
const movingName = () => (scene.own ? `${scene.own.moving} (moving, before)` : "moving (before)");
const warpedName = () => (scene.own ? `${scene.own.moving} (warped, after)` : "warped (after)");

function panels() {
  const other = state.before ? movingName() : warpedName();
  if (state.laying) return layingPanels();
  const named = (title, result) => (many() ? `${result.title}: ${title}` : title);
  if (state.mode !== SIDE_BY_SIDE) {
    return scene.results.map((result) => ({ title: named(WORDS[state.mode](fixedName(), other), result), kind: "blend", result }));
  }
  return [
    { title: `${fixedName()} (fixed)`, kind: FIXED, result: scene.results[0] },
    { title: movingName(), kind: "moving", result: scene.results[0] },
    ...scene.results.map((result) => ({ title: named(other, result), kind: "warped", result })),
  ];
}

const many = () => scene.results.length > 1;

function arrange() {
  const list = panels(), width = canvas.clientWidth;
  // It fits into the window, with what lies below it, or is as high as the controls beside it; on a phone it scrolls.
  const top = canvas.getBoundingClientRect().top + scrollY, below = 64, around = 130;
  const beside = Math.min(one(".side").offsetHeight - below, innerHeight - around);
  const room = innerWidth < 760 ? 1.15 * innerHeight : Math.max(320, beside, innerHeight - top - below);
  // A pixel is as high and as wide as it is on the body, in each panel.
  for (const panel of list) panel.aspect = panel.kind === "moving" ? scene.moving_aspect : scene.aspect;
  const tallest = scene.height * Math.max(...list.map((panel) => panel.aspect));
  let best = null;
  for (let columns = 1; columns <= list.length; columns++) {
    const rows = Math.ceil(list.length / columns), w = (width - GAP * (columns - 1)) / columns;
    const h = Math.min(w * tallest / scene.width, room / rows - TITLE);
    const scale = Math.min(w / scene.width, h / tallest);
    const worth = rows > 1 ? 0.75 * scale : scale;  // side by side is easier to compare
    if (!best || worth > best.worth) best = { columns, rows, w, h, worth };
  }
  list.forEach((panel, place) => {
    panel.x = (place % best.columns) * (best.w + GAP);
    panel.y = Math.floor(place / best.columns) * (best.h + TITLE + GAP) + TITLE;
    const scale = Math.min(best.w / scene.width, best.h / (scene.height * panel.aspect));
    Object.assign(panel, { w: best.w, h: best.h, scale: scale * state.zoom });
  });
  return { list, height: best.rows * (best.h + TITLE + GAP) };
}

function draw() {
  if (!scene || !canvas.clientWidth) return;
  const { list, height } = arrange(), ratio = pixelRatio();
  canvas.style.height = `${height}px`;
  const size = [Math.round(canvas.clientWidth * ratio), Math.round(height * ratio)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, height);
  for (const panel of list) drawPanel(panel);
  one(".zoom").textContent = zoomSaid();
  if (!sheet) sharpenSoon();
}

function drawPanel(panel) {
  const style = getComputedStyle(canvas);
  context.save();
  context.fillStyle = sheet ? INK : style.color;
  context.font = `13px ${style.fontFamily}`;
  if (sheet?.vector) sheet.words.push({ x: panel.x, y: panel.y - 6, text: panel.title });
  else context.fillText(panel.title, panel.x, panel.y - 6, panel.w);
  if (sheet) sheet.panel = panel;
  context.beginPath();
  context.rect(panel.x, panel.y, panel.w, panel.h);
  context.clip();
  context.fillStyle = token("--canvas-ground");
  context.fillRect(panel.x, panel.y, panel.w, panel.h);
  context.translate(panel.x + panel.w / 2, panel.y + panel.h / 2);
  context.scale(panel.scale, panel.scale * panel.aspect);
  context.translate(-scene.width / 2 - state.x, -scene.height / 2 - state.y);
  context.imageSmoothingEnabled = false;
  if (panel.kind === "laying") { drawLaying(panel); context.restore(); return; }
  drawImages(panel);
  drawMaps(panel);
  drawLabels(panel);
  drawMasks(panel);
  drawFlow(panel);
  drawMarks(panel);
  drawRuler(panel);
  drawCursor(panel);
  context.restore();
}
