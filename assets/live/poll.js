// Polls the server for what is new since the cursor (`version` and `counts`), and adds it to `data`.

async function tick() {
  clearTimeout(timer);
  if (!element.isConnected) return leave();
  let pause = POLL_IDLE;
  if (!document.hidden && root.offsetParent !== null && !polling) {
    polling = true;
    try {
      const answer = await server.poll({ run: null, version: data.version, ...data.counts });
      take(answer);
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

function append(steps) {
  const before = data.x.length;
  data.x.push(...steps.x);
  data.scale.push(...steps.scale);
  for (const [name, values] of Object.entries(steps.terms)) {
    data.terms[name] ??= new Array(before).fill(null);
    data.terms[name].push(...values);
  }
}
