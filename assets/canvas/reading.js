// Reads a payload as a scene: pictures, planes of numbers, and outlines of labels.

async function unpack(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Kind(await new Response(stream).arrayBuffer());
}

async function drawn(uri, width, height) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  const surface = new OffscreenCanvas(width, height);
  surface.getContext("2d", { willReadFrequently: true }).drawImage(image, 0, 0);
  return surface;
}

// Grey values are compared and read out; what is in colour is shown so.
async function picture(uri, colours, width, height) {
  const surface = await drawn(uri, width, height);
  return { surface: colours ? await drawn(colours, width, height) : surface, grey: greyOf(surface) };
}

function greyOf(surface) {
  const { data } = surface.getContext("2d").getImageData(0, 0, surface.width, surface.height);
  return data.filter((_, place) => place % 4 === 0);
}

async function labelled(text, width, height) {
  if (!text) return null;
  const map = await unpack(text, Uint16Array);
  return { map, outlines: trace(map, width, height), fills: new Map() };
}

async function read(payload) {
  const { width, height } = payload;
  const read_picture = (uri, colours) => picture(uri, colours, width, height), read_label = (text) => labelled(text, width, height);
  const [fixed, moving, fixedLabel, movingLabel, fixedMask, movingMask] = await Promise.all([
    read_picture(payload.fixed, payload.fixed_colours), read_picture(payload.moving, payload.moving_colours),
    read_label(payload.fixed_label), read_label(payload.moving_label), read_label(payload.fixed_mask), read_label(payload.moving_mask)]);
  const results = await Promise.all(payload.results.map(async (result) => {
    const [warped, label, mask, steps, magnitude, jacobian] = await Promise.all([
      read_picture(result.warped, result.warped_colours), read_label(result.warped_label), read_label(result.warped_mask),
      unpack(result.flow, Int16Array), unpack(result.magnitude, Uint8Array), unpack(result.jacobian, Uint8Array)]);
    for (let i = 0; i < steps.length; i++) if (i % width) steps[i] += steps[i - 1];
    const flow = Float32Array.from(steps, (step) => step * result.flow_step);
    const folds = trace(jacobian.map((place) => (place === 0 ? 1 : 0)), width, height).get(1);
    return {
      ...result, warped: { ...warped, label, mask }, flow, folds, cache: new Map(), places: { magnitude, jacobian },
    };
  }));
  return {
    ...payload, fixed: { ...fixed, label: fixedLabel, mask: fixedMask },
    moving: { ...moving, label: movingLabel, mask: movingMask }, results,
  };
}

const pathOf = (text) => Object.assign(new Path2D(text), { d: text });

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
    const parts = [];
    for (const start of own.keys()) while (own.get(start).length) {
      let point = start;
      parts.push(`M${point % (width + 1)} ${Math.floor(point / (width + 1))}`);
      while (own.get(point)?.length) {
        point = own.get(point).pop();
        parts.push(`L${point % (width + 1)} ${Math.floor(point / (width + 1))}`);
      }
    }
    paths.set(number, pathOf(parts.join("")));
  }
  return paths;
}
