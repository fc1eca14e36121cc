// Polls the server for what is new since the cursor (`version` and `counts`), and adds it to `data`.

async function tick() {
  clearTimeout(timer);
  if (!element.isConnected) return leave();
  let pause = POLL_IDLE;
  if (!document.hidden && root.offsetParent !== null && !polling) {
    polling = true;
    try {
      const asked = watched, list = Date.now() - listed > POLL_LIST;
      if (list) listed = Date.now();
      const answer = await server.poll({ run: asked, list, version: data.version, ...data.counts });
      if (answer.runs) show_runs(answer.runs);
      if (asked === watched) take(answer);
      if (["running", "paused", "stopping"].includes(answer.state)) pause = POLL_ACTIVE;
    } catch (error) {
      show_state("unreachable", "No answer from RegStudio. If it was closed, start it again; this page goes on by itself.");
      console.warn("live panel:", error);
      pause = POLL_LOST;
    }
    polling = false;
  }
  timer = setTimeout(tick, pause);
}

function take(answer) {
  if (!answer.run) {
    data = blank();
    last = answer;
    find(".body").hidden = true;
    find(".empty").hidden = false;
    say(".run", ""); say(".device", "");
    show_state(answer.state, "");
    return;
  }
  if (answer.reset) {
    if (answer.run !== last.run) { follow = true; shown = 0; wanted = 0; find(".preview").hidden = true; }
    data = blank();
    stale = true;
  }
  data.version = answer.version;
  data.counts = answer.counts;
  append(answer.steps);
  data.epochs.push(...answer.epochs);
  data.previews.push(...answer.previews);
  if (answer.steps.x.length || answer.epochs.length) stale = true;
  last = answer;
  find(".empty").hidden = true;
  find(".body").hidden = false;
  show_progress(answer);
  show_log(answer.log, answer.reset);
  show_previews();
  draw();
  if (data.x.length > MAX_POINTS) data.version = null;  // the next answer is the whole run, thinned
}

// The runs to choose from; the one that is watched stays chosen, also where it is gone.
function show_runs(names) {
  const which = find(".which"), known = [...which.options].slice(1).map((option) => option.value);
  if (known.join("\n") === names.join("\n")) return;
  which.replaceChildren(which.options[0], ...names.map((name) => new Option(name, name)));
  which.value = watched ?? "";
}

function append(steps) {
  const before = data.x.length;
  data.x.push(...steps.x);
  data.seconds.push(...steps.seconds);
  data.scale.push(...steps.scale);
  for (const [name, values] of Object.entries(steps.terms)) {
    data.terms[name] ??= new Array(before).fill(null);
    data.terms[name].push(...values);
  }
}
