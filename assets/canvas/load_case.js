// Loads the case that the server sent, and asks for another one.

const TIMEOUT = 20000;  // milliseconds after which an answer counts as lost
let wanted = null;  // the place of the case that was asked for last, until it is open
let direction = 1, requestTime = -TIMEOUT;

// Quick presses add up. One request is out at a time; the next asks for the last place.
function step(by) {
  direction = by;
  if (scene.place !== null) wanted = ((wanted ?? scene.place) + by + scene.places) % scene.places;
  request();
}

function request() {
  if (performance.now() - requestTime < TIMEOUT) return;
  if (wanted !== null && wanted === scene.place) { wanted = null; return; }
  requestTime = performance.now();
  trigger("step", { place: wanted, by: direction });
}

async function loadCase() {
  const load = ++loads, payload = JSON.parse(props.value || '{"empty": ""}');
  const viewer = one(".viewer");
  if (payload.empty !== undefined) {
    scene = wanted = null;
    requestTime = -TIMEOUT;
    one(".empty").textContent = payload.empty;
    viewer.dataset.state = "empty";
    return;
  }
  try {
    const next = await read(payload);
    if (load !== loads) return;  // a newer case arrived meanwhile
    if (payload.corrected) {
      if (scene?.name !== next.name) return;  // another case was opened before the correction came
      Object.assign(next, { place: scene.place, places: scene.places });
    }
    const same = scene && scene.ids.join() === next.ids.join();
    const fits = scene && scene.width === next.width && scene.height === next.height;
    scene = { place: null, ...next };
    requestTime = -TIMEOUT;
    if (wanted !== null) request();
    if (!same) state.hidden.clear();
    if (!fits) Object.assign(state, { zoom: 1, x: 0, y: 0 });
    Object.assign(state, { cursor: null, ruler: null });
    takeMarks(payload);
    viewer.dataset.state = "open";
    viewer.dataset.case = scene.name;
    viewer.dataset.corrected = payload.corrected ? payload.points.length : "";  // by so many landmarks
    one(".name").textContent = scene.name;
    one(".fixed-name").textContent = fixedName();
    all(".labels").forEach((part) => { part.hidden = !scene.ids.length && !payload.fixed_mask && !payload.moving_mask; });
    one(".masks").hidden = !payload.fixed_mask && !payload.moving_mask;
    one(".place").textContent = scene.place === null ? "own images" : `${scene.place + 1} of ${scene.places}`;
    one(".networks").textContent = scene.results.map((result) => result.title).join("  |  ");
    fillNumbers();
    fillControls();
    fillReadout();
    clampView();
  } catch (error) {
    one(".empty").textContent = `This browser cannot draw the case (${error}).`;
    viewer.dataset.state = "empty";
  }
}

watch("value", loadCase);
loadCase();
