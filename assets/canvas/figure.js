// Figures: what is seen, 180 mm wide at 300 dpi, with a scale bar and the labels' names; in an SVG, outlines, arrows and
// words stay lines and words.

const DPI = 300, FIGURE_MM = 180, FOOT = 22, PER_METRE = Math.round(DPI / 0.0254);
const INK = "#000000";
const escaped = (text) => String(text).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);

// The bar nearest to a fifth of the panel: 1, 2 or 5 times a power of ten of mm or, without a spacing, pixels.
function scaleBar(panel) {
  const each = panel.scale / scene.fixed_distance[1], wanted = panel.w / 5 / each;
  const power = 10 ** Math.floor(Math.log10(wanted)), length = [5, 2, 1].find((digit) => digit * power <= wanted) * power;
  return { width: length * each, text: `${length} ${scene.unit}` };
}

// The words below the panels with their marks: the bar, then each label that is shown.
function foot(width, top) {
  const panel = arrange().list[0], bar = scaleBar(panel), items = [{ x: 0, y: top, width: bar.width, text: bar.text, colour: INK }];
  context.font = `12px ${getComputedStyle(canvas).fontFamily}`;
  let x = bar.width + context.measureText(bar.text).width + 30, y = top;
  if (Object.values(state.labels).some(Boolean)) scene.ids.forEach((_, place) => {
    if (state.hidden.has(place + 1)) return;
    const text = scene.names[place], needed = 20 + context.measureText(text).width;
    if (x + needed > width) { x = 0; y += FOOT; }
    items.push({ x, y, width: 12, text, colour: scene.colours[place] });
    x += needed + 14;
  });
  return { items, height: y - top + FOOT };
}

async function saveFigure(kind) {
  const cursor = state.cursor, width = canvas.clientWidth, { height } = arrange();
  state.cursor = null;
  sheet = { strokes: [], words: [], vector: kind === "svg", ratio: (FIGURE_MM / 25.4) * DPI / width };
  draw();
  const below = foot(width, height), whole = height + below.height, { ratio } = sheet;
  const surface = new OffscreenCanvas(Math.round(width * ratio), Math.round(whole * ratio)), into = surface.getContext("2d");
  into.fillStyle = "#ffffff";
  into.fillRect(0, 0, surface.width, surface.height);
  into.drawImage(canvas, 0, 0);
  const drawn = sheet;
  sheet = null;
  state.cursor = cursor;
  draw();
  if (kind === "png") {
    into.scale(ratio, ratio);
    into.font = `12px ${getComputedStyle(canvas).fontFamily}`;
    for (const { x, y, width: bar, text, colour } of below.items) {
      into.fillStyle = colour;
      into.fillRect(x, y + 4, bar, colour === INK ? 4 : 10);
      into.fillStyle = INK;
      into.fillText(text, x + bar + 6, y + 13);
    }
  }
  const png = await withDpi(await surface.convertToBlob({ type: "image/png" }));
  download(kind === "png" ? png : new Blob([await svg(png, drawn, below.items, width, whole)], { type: "image/svg+xml" }), kind);
}

async function svg(png, { strokes, words }, items, width, height) {
  const uri = await new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(png);
  });
  const size = `width="${FIGURE_MM}mm" height="${(FIGURE_MM * height / width).toFixed(2)}mm" viewBox="0 0 ${width} ${height}"`;
  const lines = [`<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="12">`,
    `<image href="${uri}" width="${width}" height="${height}"/>`];
  strokes.forEach(({ d, matrix, colour, width: thick, dash, panel }, number) => {
    lines.push(`<clipPath id="p${number}"><rect x="${panel.x}" y="${panel.y}" width="${panel.w}" height="${panel.h}"/></clipPath>`,
      `<g clip-path="url(#p${number})"><path d="${d}" transform="matrix(${matrix.map((value) => value.toFixed(4)).join(" ")})" fill="none" `
      + `stroke="${colour}" stroke-width="${thick}" stroke-dasharray="${dash.join(" ")}" stroke-linejoin="round" vector-effect="non-scaling-stroke"/></g>`);
  });
  for (const { x, y, text } of words) lines.push(`<text x="${x}" y="${y}">${escaped(text)}</text>`);
  for (const { x, y, width: bar, text, colour } of items) {
    lines.push(`<rect x="${x}" y="${y + 4}" width="${bar}" height="${colour === INK ? 4 : 10}" fill="${colour}"/>`,
      `<text x="${x + bar + 6}" y="${y + 13}">${escaped(text)}</text>`);
  }
  return [...lines, "</svg>"].join("\n");
}

// A PNG that says how large its pixels are: the chunk pHYs follows the header, which ends at byte 33.
async function withDpi(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer()), chunk = new DataView(new ArrayBuffer(21));
  [9, 0x70485973, PER_METRE, PER_METRE].forEach((value, place) => chunk.setUint32(4 * place, value));
  chunk.setUint8(16, 1);
  let sum = ~0;
  for (let place = 4; place < 17; place++) {
    sum ^= chunk.getUint8(place);
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  chunk.setUint32(17, ~sum);
  return new Blob([bytes.slice(0, 33), chunk, bytes.slice(33)], { type: "image/png" });
}

function download(blob, kind) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${scene.name}.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
