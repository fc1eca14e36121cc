// Landmarks: where they lie in each panel, their residuals, and drawing them.
// A mark is a pair of places, { fixed: [y, x], moving: [y, x] } in pixels, one of which may be missing yet.

const MARK = { fixed: "#f06ad0", moving: "#3ddc84", radius: 6 };
const complete = (mark) => mark.fixed && mark.moving;

function flowAt(result, [y, x]) {
  const { width, height } = scene, size = width * height;
  const cy = Math.max(0, Math.min(height - 1, y)), cx = Math.max(0, Math.min(width - 1, x));
  const y0 = Math.min(height - 2, Math.floor(cy)), x0 = Math.min(width - 2, Math.floor(cx)), fy = cy - y0, fx = cx - x0;
  return [0, size].map((channel) => {
    const at = (dy, dx) => result.flow[channel + (y0 + dy) * width + x0 + dx];
    return (1 - fy) * ((1 - fx) * at(0, 0) + fx * at(0, 1)) + fy * ((1 - fx) * at(1, 0) + fx * at(1, 1));
  });
}

// Where a place of the fixed image lies in the moving one, by a result or, before, where it is.
function mapped(result, place) {
  if (!result) return place;
  const [dy, dx] = flowAt(result, place);
  return [place[0] + dy, place[1] + dx];
}

const residual = (mark, result) => {
  const at = mapped(result, mark.fixed);
  return [mark.moving[0] - at[0], mark.moving[1] - at[1]];
};

// The mean distance of the landmarks, null without any.
function errorOfMarks(result) {
  const whole = state.marks.filter(complete);
  if (!whole.length) return null;
  const lengths = whole.map((mark) => {
    const [dy, dx] = residual(mark, result);
    return Math.hypot(dy * scene.distance[0], dx * scene.distance[1]);
  });
  return lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
}

// The places of a mark that a panel shows: [side, [y, x]]; on a warped image the moving one lies by its residual.
function placesOn(panel, mark) {
  if (panel.kind === FIXED) return mark.fixed ? [["fixed", mark.fixed]] : [];
  if (panel.kind === "moving") return mark.moving ? [["moving", mark.moving]] : [];
  const places = mark.fixed ? [["fixed", mark.fixed]] : [];
  if (complete(mark)) {
    const [dy, dx] = residual(mark, state.before ? null : panel.result);
    places.push(["moving", [mark.fixed[0] + dy, mark.fixed[1] + dx]]);
  }
  return places;
}

function onCanvas(panel, [y, x]) {
  return [
    panel.x + panel.w / 2 + (x + 0.5 - scene.width / 2 - state.x) * panel.scale,
    panel.y + panel.h / 2 + (y + 0.5 - scene.height / 2 - state.y) * panel.scale * panel.aspect,
  ];
}

function drawMarks(panel) {
  if (!state.showMarks || !state.marks.length) return;
  const ratio = pixelRatio();
  context.save();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = `bold 11px ${getComputedStyle(canvas).fontFamily}`;
  const stroke = (path, colour, width) => {
    for (const [style, thick] of [[token("--canvas-edge"), width + 2], [colour, width]]) {
      context.strokeStyle = style;
      context.lineWidth = thick;
      context.stroke(path);
    }
  };
  state.marks.forEach((mark, number) => {
    const line = lineOn(panel, mark);
    if (line) {
      const path = new Path2D();
      path.moveTo(...onCanvas(panel, line[0]));
      path.lineTo(...onCanvas(panel, line[1]));
      stroke(path, token("--canvas-mark"), 2);
    }
    placesOn(panel, mark).forEach(([side, place], first) => {
      const [x, y] = onCanvas(panel, place), path = new Path2D();
      path.arc(x, y, side === "moving" && panel.kind !== "moving" ? 3 : MARK.radius, 0, 2 * Math.PI);
      stroke(path, MARK[side], 2);
      if (first) return;
      context.lineWidth = 3;
      context.strokeStyle = token("--canvas-edge");
      context.strokeText(number + 1, x + MARK.radius + 2, y - 4);
      context.fillStyle = MARK[side];
      context.fillText(number + 1, x + MARK.radius + 2, y - 4);
    });
  });
  context.restore();
}

// The residual: on the moving image from where the result leads to the landmark, elsewhere as long and at the fixed one.
function lineOn(panel, mark) {
  if (!complete(mark) || panel.kind === FIXED) return null;
  const result = state.before ? null : panel.result;
  if (panel.kind === "moving") return [mapped(result, mark.fixed), mark.moving];
  const [dy, dx] = residual(mark, result);
  return [mark.fixed, [mark.fixed[0] + dy, mark.fixed[1] + dx]];
}
