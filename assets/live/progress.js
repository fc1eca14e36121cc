// State, progress bars, facts and log.

function show_state(state, message, advice = "") {
  root.dataset.state = state;
  const words = { idle: "Idle", running: "Training", paused: "Paused", stopping: "Stopping", finished: "Finished",
    stopped: "Stopped", failed: "Failed", interrupted: "Interrupted", unreachable: "No connection" };
  say(".state", words[state] ?? state);
  const bad = state === "failed" || state === "unreachable";
  find(".failure").hidden = !bad;
  say(".failure .message", bad ? message : "");
  say(".failure .advice", bad ? advice : "");
}

// What the record says of the training, and what to do about it; read out when it changes.
function show_findings(findings) {
  const box = find(".findings"), key = JSON.stringify(findings);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(...findings.map(({ seen, remedy }) => {
    const item = document.createElement("p"), todo = document.createElement("span");
    todo.textContent = remedy;
    item.append(seen + " ", todo);
    return item;
  }));
}

function show_progress(answer) {
  show_findings(answer.findings ?? []);
  const { progress, aligning } = answer;
  show_state(answer.state, answer.message, answer.advice);
  say(".run", answer.run);
  say(".device", answer.device ? `on ${answer.device}` : "is starting");
  const checking = progress.pair > 0;
  const done = progress.epochs > 0 && progress.epoch >= progress.epochs;
  const of_epoch = done ? 1 : aligning ? aligning.number / aligning.total : checking ? progress.pair / progress.pairs : progress.steps ? progress.step / progress.steps : 0;
  const of_run = progress.epochs ? (progress.epoch + (progress.steps ? progress.step / progress.steps : 0)) / progress.epochs : 0;
  bar("epoch", of_epoch, done ? "done" : aligning ? `aligning ${aligning.number} of ${aligning.total}` : checking ? `validating ${progress.pair} of ${progress.pairs}`
    : `step ${progress.step} of ${progress.steps}`);
  bar("run", Math.min(1, of_run), `epoch ${Math.min(progress.epoch + (done ? 0 : 1), progress.epochs)} of ${progress.epochs}`);
  find("[data-bar=epoch]").classList.toggle("checking", Boolean(checking || aligning) && !done);
  const facts = {
    speed: answer.steps_per_second ? answer.steps_per_second.toPrecision(3) : "–",
    left: answer.state === "running" && answer.seconds_left != null ? duration(answer.seconds_left) : "–",
    seconds: duration(answer.seconds),
    memory: memory(answer.memory),
    best: answer.best ? `${answer.best.epoch}` + best_score(answer.best) : "–",
  };
  for (const [name, text] of Object.entries(facts)) say(`[data-fact=${name}]`, text);
}

function best_score({ dice, tre }) {
  if (dice == null && tre == null) return "";
  const score = dice != null ? `Dice ${dice.toFixed(3)}` : `TRE ${tre.toFixed(2)} pixels`;
  return ` (${score}${worse_than_before() ? ", worse than before" : ""})`;
}

function bar(name, part, text) {
  const at = find(`[data-bar=${name}]`), percent = Math.round(1000 * part) / 10;
  at.firstElementChild.style.width = `${percent}%`;
  at.setAttribute("aria-valuenow", percent);
  at.setAttribute("aria-valuetext", text);
  say(`[data-of=${name}]`, text);
}

function duration(seconds) {
  const whole = Math.round(seconds), h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, s = whole % 60;
  return h ? `${h} h ${m} min` : m ? `${m} min ${String(s).padStart(2, "0")} s` : `${s} s`;
}

function memory(bytes) {
  if (!bytes) return "–";
  const gib = (value) => `${(value / 2 ** 30).toFixed(1)} GiB`;
  const parts = bytes.process ? [gib(bytes.process)] : [];
  if (bytes.device != null) parts.push(`GPU ${gib(bytes.device)} of ${gib(bytes.device_total)}`);
  return parts.join(", ") || "–";
}

function show_log(lines, reset) {
  if (!lines.length && !reset) return;
  const at = find(".log"), at_end = at.scrollHeight - at.scrollTop - at.clientHeight < 30;
  data.log = [...data.log, ...lines].slice(-MAX_LINES);
  const text = data.log.join("\n");
  if (at.textContent === text) return;
  at.textContent = text;
  if (at_end || reset) at.scrollTop = at.scrollHeight;
}
