// Sharp at any zoom: where the files have more pixels than the grid, what is seen is asked for at their resolution. What
// came lies over the image of the grid as its `tile`, until another comes. Also: how large things are drawn.

const SHARPEN_AFTER = 120, TILE_SIDE = 1600, MARGIN = 0.2;  // milliseconds; pixels; of what is seen, on each side
let sharpening = 0;

const maxZoom = () => Math.max(40, 12 * Math.max(...scene.file_step));

// Whether the two images are compared grey by grey: how colours become grey, only the server knows.
const compared = () => "56".includes(state.mode) && !scene.fixed_colours && !scene.moving_colours;

// The images of a panel that may have a tile: [image, side, number of the result].
function sources(panel) {
  const number = scene.results.indexOf(panel.result), fixed = [scene.fixed, "fixed", 0];
  const second = state.before ? [scene.moving, "moving", 0] : [panel.result.warped, "warped", number];
  return { fixed: [fixed], moving: [[scene.moving, "moving", 0]], warped: [second], blend: compared() || "234".includes(state.mode) ? [fixed, second] : [], laying: [fixed] }[panel.kind];
}

function sharpenSoon() {
  clearTimeout(sharpening);
  if (scene?.detail) sharpening = setTimeout(sharpen, SHARPEN_AFTER);
}

function sharpen() {
  if (!scene?.detail || !canvas.offsetParent) return;
  for (const panel of arrange().list) {
    const across = panel.scale * pixelRatio(), down = across * panel.aspect;
    if (across <= 1 && down <= 1) continue;  // the grid has all the pixels that the screen has
    const half = [panel.h / panel.scale / panel.aspect, panel.w / panel.scale].map((length) => length * (0.5 + MARGIN));
    const centre = [scene.height / 2 + state.y, scene.width / 2 + state.x], ends = [scene.height, scene.width];
    const [top, left] = centre.map((at, axis) => Math.max(0, Math.floor(at - half[axis])));
    const [bottom, right] = centre.map((at, axis) => Math.min(ends[axis], Math.ceil(at + half[axis])));
    const box = { top, left, bottom, right, rows: Math.min(TILE_SIDE, Math.ceil((bottom - top) * down)), columns: Math.min(TILE_SIDE, Math.ceil((right - left) * across)) };
    for (const [image, side, number] of sources(panel)) fetchTile(scene, image, { ...box, side, number });
  }
}

async function fetchTile(of, image, box) {
  const key = JSON.stringify(box);
  if (image.wanted === key) return;
  image.wanted = key;
  const { png } = (await server.region({ ...box, detail: of.detail })) ?? {};
  if (!png || scene !== of || image.wanted !== key) return;
  const surface = await drawn(png, box.columns, box.rows);
  if (scene !== of || image.wanted !== key) return;
  image.tile = { surface, box };
  redraw();
}

// An image of the grid, with its tile on top.
function put(image, side) {
  context.drawImage(windowed(image, side), 0, 0);
  if (image.tile) putTile(image.tile, windowed(image.tile, side));
}

// What each two grey values of the fixed and the second image make; on top, what those of their tiles make.
function putPair(result, second, name, paint) {
  const pairs = (f, o) => (i) => paint(f[i], o[i]);
  context.drawImage(cached(result, name, pairs(scene.fixed.grey, second.grey)), 0, 0);
  const tiles = [scene.fixed.tile, second.tile];
  if (!compared() || !tiles[0] || !tiles[1] || placeOf(tiles[0]) !== placeOf(tiles[1])) return;
  if (second.tile.made?.name !== name || second.tile.made.fixed !== tiles[0]) {
    const { rows, columns } = second.tile.box, [f, o] = tiles.map((tile) => tile.grey ??= greyOf(tile.surface));
    second.tile.made = { name, fixed: tiles[0], surface: painted(pairs(f, o), columns, rows) };
  }
  putTile(second.tile, second.tile.made.surface);
}

const placeOf = ({ box }) => [box.top, box.left, box.bottom, box.right, box.rows, box.columns].join();

function putTile({ box: { top, left, bottom, right } }, surface) {
  context.drawImage(surface, left, top, right - left, bottom - top);
}

// 100 %: a pixel of the fixed file is as wide as one of the screen.
function zoomSaid() {
  const [rows, columns] = scene.file_step, share = 100 * arrange().list[0].scale / columns;
  const mm = [scene.fixed_distance[0] / rows, scene.fixed_distance[1] / columns].map((length) => Number(length.toPrecision(3)));
  const pixels = scene.unit === "mm" ? `, pixels of ${mm[0] === mm[1] ? mm[0] : mm.join(" x ")} mm` : "";
  return `${share < 10 ? share.toFixed(1) : Math.round(share)} %${pixels}`;
}
