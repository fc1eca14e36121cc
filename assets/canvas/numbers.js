// Numbers and text beside the images: the table of metrics, the colour scale, the readout under the pointer.

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
  const headings = head.insertRow();
  headings.insertCell();
  cells(headings, ["before", ...titles], "th");
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
  if (state.marks.some(complete)) {
    add([`TRE, ${scene.unit}`, figure(errorOfMarks(null), 2), ...scene.results.map((result) => figure(errorOfMarks(result), 2))]);
  }
  row("NCC", "ncc_before", "ncc");
  row("Quality, 0 to 1", "", "quality");
  row("Folds (NJD), pixels", "", "njd", 0);
  row("Folds (NJD), %", "", "njd_percent");
  if (!scene.results.some((result) => result.metrics.refine_seconds !== undefined)) return;
  if (scene.results[0].metrics.dice_unrefined !== undefined) row("Dice, not refined", "", "dice_unrefined");
  row("NCC, not refined", "", "ncc_unrefined");
  row("Refining, seconds", "", "refine_seconds", 2);
}

const EXPLAINED = {
  arrows: "Each arrow leads from a point of the fixed image to where its counterpart lies in the moving image.",
  grid: "The fixed image's square grid, carried to where its points lie in the moving image.",
  magnitude: "Length of the displacement",
};

function fillScale() {
  const magnitude = state.flow === "magnitude" && !state.jacobian;
  const colours = magnitude ? scene.magnitude_colours : scene.jacobian_colours.slice(1);
  const ends = magnitude ? ["0", `${Math.max(...scene.results.map((result) => displacement(result).largest)).toFixed(1)} px`]
    : [`1/${2 ** scene.jacobian_range}`, `${2 ** scene.jacobian_range}`];
  all(".scale .ramp, .scale .low, .scale .high").forEach((part) => { part.hidden = !magnitude && !state.jacobian; });
  one(".scale .low").textContent = ends[0];
  one(".scale .high").textContent = ends[1];
  one(".scale .ramp").style.background = `linear-gradient(to right, ${colours.filter((_, i) => i % 16 === 0).join()})`;
  one(".scale .what").textContent = state.jacobian
    ? "Jacobian determinant, the change of area: white is none; folds are black, ringed in yellow"
    : EXPLAINED[state.flow] ?? "";
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
  fillLaying();
  one(".flicker").setAttribute("aria-pressed", state.before);
  canvas.setAttribute("aria-label", `${scene.name}: ${panels().map((panel) => panel.title).join(", ")}`);
  fillScale();
  redraw();
}

function fillReadout() {
  const { cursor } = state, { width, height } = scene, readout = one(".readout");
  if (!cursor) { readout.textContent = "Point at or touch a pixel to read its displacement, intensities and labels."; return; }
  const { x, y, moving, result } = cursor, i = y * width + x;
  const say = (name, image) => {
    const place = image.label?.map[i];
    return `${name} ${(image.grey[i] / 255).toFixed(2)}${image.label ? ` (${place ? `${scene.names[place - 1]}, ${areaSaid(labelArea(image, place))}` : "no label"})` : ""}`;
  };
  const parts = [`row ${y}, column ${x}`];
  if (moving) parts.push(say("moving", scene.moving));
  else {
    const dy = result.flow[i], dx = result.flow[i + width * height], sign = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
    parts.push(say(fixedName(), scene.fixed), say("moving", scene.moving), say("warped", result.warped),
      `displacement dy ${sign(dy)}, dx ${sign(dx)}, ${Math.hypot(dx, dy).toFixed(2)} px`,
      `Jacobian ${(determinant(result.flow, x, y) * (result.mirrored ? -1 : 1)).toFixed(2)}`);
  }
  if (state.ruler) parts.push(`${state.ruler.places ? "area" : "distance"} ${measured()}`);
  readout.textContent = [...parts, ...windowSaid()].join(" · ");
}

function determinant(flow, x, y) {
  const { width, height } = scene, size = width * height;
  const slope = (channel, [x0, y0], [x1, y1]) =>
    (flow[channel * size + y1 * width + x1] - flow[channel * size + y0 * width + x0]) / (x1 - x0 + y1 - y0);
  const across = [[Math.max(0, x - 1), y], [Math.min(width - 1, x + 1), y]];
  const down = [[x, Math.max(0, y - 1)], [x, Math.min(height - 1, y + 1)]];
  return (1 + slope(0, ...down)) * (1 + slope(1, ...across)) - slope(0, ...across) * slope(1, ...down);
}
