// Mouse and touch on the canvas: point, pan, zoom.

function pixel(event) {
  const box = canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
  const panel = arrange().list.find((p) => px >= p.x && px < p.x + p.w && py >= p.y && py < p.y + p.h);
  if (!panel) return null;
  const x = scene.width / 2 + state.x + (px - panel.x - panel.w / 2) / panel.scale;
  const y = scene.height / 2 + state.y + (py - panel.y - panel.h / 2) / (panel.scale * panel.aspect);
  return { panel, x, y };
}

function point(event) {
  const at = scene && pixel(event), x = Math.floor(at?.x), y = Math.floor(at?.y);
  const inside = at && x >= 0 && y >= 0 && x < scene.width && y < scene.height;
  state.cursor = inside && at.panel.kind !== "laying" ? { x, y, moving: at.panel.kind === "moving", result: at.panel.result } : null;
  fillReadout();
  redraw();
}

function zoomAt(event, factor) {
  const before = pixel(event);
  if (!before) return;
  const zoom = Math.min(maxZoom(), Math.max(1, state.zoom * factor)), ratio = state.zoom / zoom;
  const centre = [scene.width / 2 + state.x, scene.height / 2 + state.y];
  state.x = before.x + (centre[0] - before.x) * ratio - scene.width / 2;
  state.y = before.y + (centre[1] - before.y) * ratio - scene.height / 2;
  state.zoom = zoom;
  clampView();
}

function clampView() {
  const reach = (size) => size / 2 * (1 - 1 / state.zoom);
  state.x = Math.max(-reach(scene.width), Math.min(reach(scene.width), state.x));
  state.y = Math.max(-reach(scene.height), Math.min(reach(scene.height), state.y));
  // A finger scrolls the page if the whole image is shown; it pans a zoomed image.
  canvas.style.touchAction = state.zoom > 1 ? "none" : "pan-y";
  redraw();
}

function reset() {
  Object.assign(state, { zoom: 1, x: 0, y: 0, ruler: null, windows: { fixed: IDENTITY, moving: IDENTITY } });
  clampView();
}

// The panel whose swipe edge is under the pointer.
function swipeAt(event) {
  const at = scene && state.mode === "3" && pixel(event);
  return at && Math.abs(onPanel(event, at.panel) - blend[3]) * at.panel.w < 12 ? at.panel : null;
}

const onPanel = (event, panel) => (event.clientX - canvas.getBoundingClientRect().left - panel.x) / panel.w;

const fingers = new Map();
let swiped = null;
canvas.addEventListener("pointerdown", (event) => {
  fingers.set(event.pointerId, event);
  swiped = layingDown(event) || placingDown(event) ? null : swipeAt(event);
  const at = scene && ["measure", "outline"].includes(state.tool) && !state.placing && !state.laying && pixel(event);
  const from = at && [at.y - 0.5, at.x - 0.5], moving = at && at.panel.kind === "moving";
  if (at) state.ruler = state.tool === "outline" ? { places: [from], moving } : { from, to: from, moving };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (!scene) return;
  const last = fingers.get(event.pointerId);
  if (last && fingers.size === 2) {
    const still = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
    const reach = (finger) => Math.hypot(finger.clientX - still.clientX, finger.clientY - still.clientY);
    zoomAt(still, reach(event) / Math.max(1, reach(last)));
  } else if (last && (layingMove(event) || placingMove(event))) {
    // the image, or the landmark, follows
  } else if (last && swiped) {
    blend[3] = Math.max(0, Math.min(1, onPanel(event, swiped)));
    one(".blend-value").value = blend[3];
  } else if (last && state.tool === "window" && pixel(last)) {
    dragWindow(pixel(last).panel, event.clientX - last.clientX, event.clientY - last.clientY);
  } else if (last && ["measure", "outline"].includes(state.tool)) {
    const at = pixel(event), place = at && [at.y - 0.5, at.x - 0.5];
    if (at && state.ruler && (at.panel.kind === "moving") === state.ruler.moving) {
      if (state.tool === "outline") state.ruler.places?.push(place); else state.ruler.to = place;
    }
  } else if (last) {
    const { scale, aspect } = arrange().list[0];
    state.x -= (event.clientX - last.clientX) / scale;
    state.y -= (event.clientY - last.clientY) / (scale * aspect);
    clampView();
  }
  if (last) fingers.set(event.pointerId, event);
  canvas.style.cursor = layingCursor(event) ?? (swiped || swipeAt(event) ? "ew-resize" : "");
  point(event);
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => {
    fingers.delete(event.pointerId);
    swiped = null;
    layingUp();
    placingUp();
  });
}
canvas.addEventListener("pointerleave", () => { if (scene) { state.cursor = null; fillReadout(); redraw(); } });
canvas.addEventListener("dblclick", () => scene && !state.placing && reset());
canvas.addEventListener("contextmenu", (event) => {
  const at = scene && state.placing && pixel(event);
  if (!at || !sideOf(at.panel)) return;
  event.preventDefault();
  deleteMark(markAt(event, at.panel));
});
canvas.addEventListener("wheel", (event) => {
  if (!scene) return;
  event.preventDefault();
  zoomAt(event, Math.exp(-event.deltaY / 400));
}, { passive: false });
