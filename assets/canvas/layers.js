// The layers of a panel, from the bottom: images, maps, labels, displacement, cursor.

const rgb = (hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));

function painted(paint) {
  const surface = new OffscreenCanvas(scene.width, scene.height), into = surface.getContext("2d");
  const data = into.createImageData(scene.width, scene.height);
  for (let i = 0; i < scene.width * scene.height; i++) data.data.set(paint(i), 4 * i);
  into.putImageData(data, 0, 0);
  return surface;
}

function cached(result, name, paint) {
  if (!result.cache.has(name)) result.cache.set(name, painted(paint));
  return result.cache.get(name);
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
    put(cached(panel.result, `difference${when}${gain}`, (i) => {
      const value = gain * Math.abs(f[i] - o[i]);
      return [value, value, value, 255];
    }));
    return;
  }
  if (state.mode === "6") { put(cached(panel.result, `pair${when}`, (i) => [f[i], o[i], f[i], 255])); return; }
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
    const middle = height / 2 + state.y, grip = 9 / panel.scale;
    line(panel, "#ffe600", 1.5, (path) => { path.moveTo(edge, 0); path.lineTo(edge, height); });
    line(panel, "#ffe600", 2, (path) => {  // a handle to drag
      for (const side of [-1, 1]) {
        path.moveTo(edge + 0.5 * side * grip, middle - 0.6 * grip);
        path.lineTo(edge + 1.1 * side * grip, middle);
        path.lineTo(edge + 0.5 * side * grip, middle + 0.6 * grip);
      }
    });
  }
}

// Displacement and Jacobian lie on the fixed image's grid: every panel shows them but the moving image's and the atlas's.
function drawMaps(panel) {
  if (panel.kind === "moving" || panel.kind === FIXED) return;
  const map = (name, colours) => {
    const table = colours.map(rgb), places = panel.result.places[name];
    const surface = cached(panel.result, name, (i) => [...table[places[i]], 255]);
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
    if (!state.hidden.has(place)) strokePath(panel, path, scene.colours[place - 1], 1.5, isFixed ? [4, 3] : []);
  }
}

function strokePath(panel, path, colour, width, dash = []) {
  context.lineJoin = "round";
  context.setLineDash([]);
  context.strokeStyle = "rgba(0, 0, 0, 0.55)";  // a dark edge, visible on bright pixels
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
  // The grid is carried along by the flow: a line lies where its points are in the moving image.
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
