// The layers of a panel, from the bottom: images, maps, labels, displacement, cursor.

const rgb = (hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));

function painted(paint, width = scene.width, height = scene.height) {
  const surface = new OffscreenCanvas(width, height), into = surface.getContext("2d");
  const image = into.createImageData(width, height), { data } = image;
  for (let i = 0, at = 0; i < width * height; i++) [data[at++], data[at++], data[at++], data[at++]] = paint(i);
  into.putImageData(image, 0, 0);
  return surface;
}

function cached(result, name, paint) {
  if (!result.cache.has(name)) result.cache.set(name, painted(paint));
  return result.cache.get(name);
}

const other = (panel) => (state.before ? scene.moving : panel.result.warped);

function drawImages(panel) {
  const second = other(panel), { width, height } = scene;
  if (panel.kind !== "blend") { put({ fixed: scene.fixed, moving: scene.moving, warped: second }[panel.kind], panel.kind === FIXED ? "fixed" : "moving"); return; }
  if (state.mode === "5") {
    const gain = blend[5], name = `difference${state.before}${gain}`;
    panel.result.cache.forEach((_, other) => other.startsWith("difference") && other !== name && panel.result.cache.delete(other));
    putPair(panel.result, second, name, (f, o) => {
      const value = gain * Math.abs(f - o);
      return [value, value, value, 255];
    });
    return;
  }
  if (state.mode === "6") { putPair(panel.result, second, `pair${state.before}`, (f, o) => [f, o, f, 255]); return; }
  put(scene.fixed, "fixed");
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
    const across = blend[4], down = blend[4] / panel.aspect;
    for (let y = 0; y * down < height; y++) for (let x = y % 2 ? 0 : 1; x * across < width; x += 2) {
      context.rect(x * across, y * down, across, down);
    }
    context.clip();
  }
  put(second, "moving");
  context.restore();
  if (state.mode === "3") {
    const edge = width / 2 + state.x + (blend[3] - 0.5) * panel.w / panel.scale;
    const middle = height / 2 + state.y, grip = 9 / panel.scale, half = 0.6 * grip / panel.aspect;
    line(token("--canvas-mark"), 1.5, (path) => { path.moveTo(edge, 0); path.lineTo(edge, height); });
    line(token("--canvas-mark"), 2, (path) => {  // a handle to drag
      for (const side of [-1, 1]) {
        path.moveTo(edge + 0.5 * side * grip, middle - half);
        path.lineTo(edge + 1.1 * side * grip, middle);
        path.lineTo(edge + 0.5 * side * grip, middle + half);
      }
    });
  }
}

// Displacement and Jacobian lie on the fixed image's grid: every panel shows them but the moving image's and the atlas's.
function drawMaps(panel) {
  if (panel.kind === "moving" || panel.kind === FIXED) return;
  const map = (name, colours) => {
    const table = colours.map(rgb), isLocal = name === "magnitude" && state.noAffine;
    const places = isLocal ? displacement(panel.result).magnitude : panel.result.places[name];
    const surface = cached(panel.result, isLocal ? "local" : name, (i) => [...table[places[i]], 255]);
    context.globalAlpha = state.strength;
    context.drawImage(surface, 0, 0);
    context.globalAlpha = 1;
  };
  if (state.flow === "magnitude") map("magnitude", scene.magnitude_colours);
  if (!state.jacobian) return;
  map("jacobian", scene.jacobian_colours);
  if (panel.result.folds) {
    context.fillStyle = scene.jacobian_colours[0];
    context.fill(panel.result.folds);
    strokePath(panel.result.folds, token("--canvas-mark"), 2);
  }
}

function drawLabels(panel) {
  const shown = panel.kind === "moving" || state.before ? "moving" : "warped";
  if (panel.kind !== FIXED && state.labels[shown]) {
    drawLabel(panel, (shown === "moving" ? scene.moving : panel.result.warped).label, false);
  }
  if (state.labels.fixed) drawLabel(panel, scene.fixed.label, true);
}

// What does not count is outside of a dotted line.
function drawMasks(panel) {
  if (!state.labels.masks) return;
  const dotted = (image) => image.mask?.outlines.forEach((path) => strokePath(path, token("--canvas-mark"), 1.5, [2, 3]));
  if (panel.kind === FIXED || panel.kind === "blend") dotted(scene.fixed);
  if (panel.kind === FIXED) return;
  dotted(panel.kind === "moving" || state.before ? scene.moving : panel.result.warped);
}

function drawLabel(panel, label, isFixed) {
  if (!label) return;
  // Two fills on top of each other look like one, so the atlas is filled only in its own panel.
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
  // The atlas's outline is dashed, to tell it from the other image's.
  for (const [place, path] of label.outlines) {
    if (!state.hidden.has(place)) strokePath(path, scene.colours[place - 1], 1.5, isFixed ? [4, 3] : []);
  }
}

// In the canvas's own pixels, so that a line is as thick upright as it is flat, whatever the aspect of the image's.
function strokePath(path, colour, width, dash = []) {
  if (sheet?.vector && path.d) {
    const { a, b, c, d, e, f } = context.getTransform();
    sheet.strokes.push({ d: path.d, matrix: [a, b, c, d, e, f].map((value) => value / sheet.ratio), colour, width, dash, panel: sheet.panel });
    return;
  }
  const ratio = pixelRatio(), onScreen = new Path2D();
  onScreen.addPath(path, context.getTransform());
  const stroke = (style, thick, lengths) => {
    context.strokeStyle = style;
    context.lineWidth = thick * ratio;
    context.setLineDash(lengths.map((length) => length * ratio));
    context.stroke(onScreen);
  };
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.lineJoin = "round";
  if (!dash.length) stroke(token("--canvas-edge"), width + 1, []);  // a dark edge, visible on bright pixels
  stroke(colour, width, dash);
  context.restore();
}

function line(colour, width, build) {
  const parts = [];  // kept as text, which a figure in vectors takes
  build({ moveTo: (x, y) => parts.push(`M${x} ${y}`), lineTo: (x, y) => parts.push(`L${x} ${y}`) });
  strokePath(pathOf(parts.join("")), colour, width);
}

// The rows and columns from one arrow or line to the next, which are `length` apart on the screen.
function steps(panel, length) {
  return [panel.scale * panel.aspect, panel.scale].map((scale) => Math.max(1, Math.round(length / scale)));
}

function drawFlow(panel) {
  const { width, height } = scene, { flow } = displacement(panel.result), size = width * height;
  const arrows = state.flow === "arrows" && (panel.kind === "warped" || panel.kind === "blend");
  // The grid is carried along by the flow: a line lies where its points are in the moving image.
  const grid = state.flow === "grid" && (panel.kind === "moving" || panel.kind === "blend");
  if (arrows) {
    const [down, across] = steps(panel, 16), head = 5 / panel.scale, { aspect } = panel;
    line(token("--canvas-mark"), 1.2, (path) => {
      for (let y = down >> 1; y < height; y += down) for (let x = across >> 1; x < width; x += across) {
        // Lengths are those on the screen, where a row is `aspect` times as high as a column is wide.
        const i = y * width + x, dy = flow[i] * aspect, dx = flow[i + size], length = Math.hypot(dx, dy);
        if (length * panel.scale < 1.5) continue;
        const tx = x + 0.5 + dx, ty = y + 0.5 + flow[i], tip = Math.min(head, length / 2) / length;
        path.moveTo(x + 0.5, y + 0.5);
        path.lineTo(tx, ty);
        path.moveTo(tx - tip * (dx + 0.6 * dy), ty - tip * (dy - 0.6 * dx) / aspect);
        path.lineTo(tx, ty);
        path.lineTo(tx - tip * (dx - 0.6 * dy), ty - tip * (dy + 0.6 * dx) / aspect);
      }
    });
  }
  if (grid) {
    const [down, across] = steps(panel, 14), at = (path, x, y, first) => {
      const i = y * width + x;
      path[first ? "moveTo" : "lineTo"](x + 0.5 + flow[i + size], y + 0.5 + flow[i]);
    };
    line(token("--canvas-mark"), 1, (path) => {
      for (let y = down >> 1; y < height; y += down) for (let x = 0; x < width; x++) at(path, x, y, x === 0);
      for (let x = across >> 1; x < width; x += across) for (let y = 0; y < height; y++) at(path, x, y, y === 0);
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
  const arm = 7 / panel.scale, upright = arm / panel.aspect;
  line(token("--canvas-cursor"), 1, (path) => {
    path.moveTo(x + 0.5 - arm, y + 0.5); path.lineTo(x + 0.5 + arm, y + 0.5);
    path.moveTo(x + 0.5, y + 0.5 - upright); path.lineTo(x + 0.5, y + 0.5 + upright);
  });
}
