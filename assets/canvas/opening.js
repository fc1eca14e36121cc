// Opening what the server sends, and asking for another case.

const PATIENCE = 20000;  // milliseconds after which an answer is taken for lost
let wanted = null, way = 1, asked = -PATIENCE;  // the place of the case asked for last until it is open; when it was asked

// Each press counts, however quick: places add up here. One question is out at a time, and the next is for the last place.
function step(by) {
  way = by;
  if (scene.place !== null) wanted = ((wanted ?? scene.place) + by + scene.places) % scene.places;
  ask();
}

function ask() {
  if (performance.now() - asked < PATIENCE) return;
  if (wanted !== null && wanted === scene.place) { wanted = null; return; }
  asked = performance.now();
  trigger("step", { place: wanted, by: way });
}

async function open() {
  const turn = ++opening, payload = JSON.parse(props.value || '{"empty": ""}');
  const viewer = one(".viewer");
  if (payload.empty !== undefined) {
    scene = wanted = null;
    asked = -PATIENCE;
    one(".empty").textContent = payload.empty;
    viewer.dataset.state = "empty";
    return;
  }
  try {
    const next = await read(payload);
    if (turn !== opening) return;  // another case was opened meanwhile
    const same = scene && scene.ids.join() === next.ids.join();
    const fits = scene && scene.width === next.width && scene.height === next.height;
    scene = { place: null, ...next };
    asked = -PATIENCE;
    if (wanted !== null) ask();
    if (!same) state.hidden.clear();
    if (!fits) Object.assign(state, { zoom: 1, x: 0, y: 0 });
    state.cursor = null;
    viewer.dataset.state = "open";
    viewer.dataset.case = scene.name;
    one(".name").textContent = scene.name;
    one(".place").textContent = scene.place === null ? "own images" : `${scene.place + 1} of ${scene.places}`;
    one(".networks").textContent = scene.results.map((result) => result.title).join("  |  ");
    fillNumbers();
    fillControls();
    tell();
    moved();
  } catch (error) {
    one(".empty").textContent = `This browser cannot draw the case (${error}).`;
    viewer.dataset.state = "empty";
  }
}

watch("value", open);
open();
