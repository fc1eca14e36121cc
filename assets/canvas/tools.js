// What dragging does beside moving the view, and the displacement without its affine part.

const SLOWNESS = 300;  // pixels of the screen for the whole range of intensities

// An image in its window: `low` is drawn black and `high` white. Pixels are made anew where the window has changed.
function windowed(image, side) {
  const { low, high } = state.windows[side];
  if (low === 0 && high === 1) return image.surface;
  const key = `${low} ${high}`;
  if (image.windowed?.key !== key) {
    const { width, height } = image.surface, surface = new OffscreenCanvas(width, height), into = surface.getContext("2d");
    const table = Uint8ClampedArray.from({ length: 256 }, (_, value) => 255 * (value / 255 - low) / (high - low));
    const data = image.surface.getContext("2d").getImageData(0, 0, width, height);
    for (let i = 0; i < data.data.length; i++) if (i % 4 !== 3) data.data[i] = table[data.data[i]];
    into.putImageData(data, 0, 0);
    image.windowed = { key, surface };
  }
  return image.windowed.surface;
}

// Right: a wider window; down: a higher level, which is darker.
function dragWindow(panel, dx, dy) {
  for (const side of panel.kind === FIXED ? ["fixed"] : panel.kind === "blend" ? ["fixed", "moving"] : ["moving"]) {
    const { low, high } = state.windows[side], width = Math.max(0.02, Math.min(4, high - low + dx / SLOWNESS));
    const level = Math.max(0, Math.min(1, (low + high) / 2 + dy / SLOWNESS));
    state.windows[side] = { low: level - width / 2, high: level + width / 2 };
  }
}

const windowSaid = () => ["fixed", "moving"].filter((side) => state.windows[side] !== IDENTITY)
  .map((side) => `window of ${side} ${state.windows[side].low.toFixed(2)} to ${state.windows[side].high.toFixed(2)}`);

// A ruler lies on the panel that it was drawn on; its length is in mm where the file of that image knows its spacing.
function rulerLength() {
  const { from, to, moving } = state.ruler, scale = moving ? scene.distance : scene.fixed_distance;
  return Math.hypot((to[0] - from[0]) * scale[0], (to[1] - from[1]) * scale[1]);
}

// The outline that was drawn, as what it encloses (Gauss's formula); places are [y, x] in pixels.
function outlinedArea() {
  const { places, moving } = state.ruler, scale = moving ? scene.distance : scene.fixed_distance;
  const twice = places.reduce((sum, [y, x], at) => {
    const [nextY, nextX] = places[(at + 1) % places.length];
    return sum + x * nextY - nextX * y;
  }, 0);
  return Math.abs(twice / 2) * scale[0] * scale[1];
}

const measured = () => (state.ruler.places ? areaSaid(outlinedArea()) : `${rulerLength().toFixed(1)} ${scene.unit === "mm" ? "mm" : "px"}`);

const areaSaid = (area) => `${area < 100 ? area.toFixed(1) : Math.round(area).toLocaleString("en")} ${scene.unit === "mm" ? "mm²" : "px²"}`;

// The area of each label of an image, by its place in the list of ids.
function labelArea(image, place) {
  if (!image.label.counts) {
    image.label.counts = new Map();
    for (const at of image.label.map) image.label.counts.set(at, (image.label.counts.get(at) ?? 0) + 1);
  }
  const scale = image === scene.moving ? scene.distance : scene.fixed_distance;
  return (image.label.counts.get(place) ?? 0) * scale[0] * scale[1];
}

function drawRuler(panel) {
  if (!state.ruler || state.ruler.moving !== (panel.kind === "moving")) return;
  const drawnPlaces = (state.ruler.places ?? [state.ruler.from, state.ruler.to]).map((place) => onCanvas(panel, place));
  const to = drawnPlaces[drawnPlaces.length - 1], ratio = pixelRatio();
  context.save();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.lineCap = "round";
  for (const [style, thick] of [[token("--canvas-edge"), 4], [token("--canvas-cursor"), 2]]) {
    context.strokeStyle = context.fillStyle = style;
    context.lineWidth = thick;
    context.beginPath();
    drawnPlaces.forEach((place, at) => context[at ? "lineTo" : "moveTo"](...place));
    if (state.ruler.places) context.closePath();
    context.stroke();
  }
  const text = measured();
  context.font = `bold 12px ${getComputedStyle(canvas).fontFamily}`;
  context.lineWidth = 3;
  context.strokeStyle = token("--canvas-edge");
  context.strokeText(text, to[0] + 8, to[1] - 6);
  context.fillText(text, to[0] + 8, to[1] - 6);
  context.restore();
}

// The displacement as it is drawn: all of it, or without the affine map that is nearest to it (least squares).
function displacement(result) {
  if (!state.noAffine) return { flow: result.flow, magnitude: result.places.magnitude, largest: scene.largest };
  return (result.local ??= local(result.flow));
}

function local(flow) {
  const { width, height } = scene, size = width * height, left = new Float32Array(flow.length);
  const cy = (height - 1) / 2, cx = (width - 1) / 2;
  // On a whole grid y, x and 1 are orthogonal once y and x are centred: each is fitted by itself.
  for (const channel of [0, 1]) {
    let mean = 0, byY = 0, byX = 0, yy = 0, xx = 0;
    for (let y = 0, i = channel * size; y < height; y++) for (let x = 0; x < width; x++, i++) {
      mean += flow[i];
      byY += flow[i] * (y - cy);
      byX += flow[i] * (x - cx);
      yy += (y - cy) ** 2;
      xx += (x - cx) ** 2;
    }
    for (let y = 0, i = channel * size; y < height; y++) for (let x = 0; x < width; x++, i++) {
      left[i] = flow[i] - mean / size - (byY / yy) * (y - cy) - (byX / xx) * (x - cx);
    }
  }
  const lengths = Float32Array.from({ length: size }, (_, i) => Math.hypot(left[i], left[i + size]));
  const largest = lengths.reduce((most, length) => Math.max(most, length), 0);
  return { flow: left, largest, magnitude: Uint8Array.from(lengths, (length) => Math.round(255 * length / (largest || 1))) };
}
