// Progress of the Apply tab: the value is what apply_control.progress returns.
const root = element.querySelector(".apply"), bar = element.querySelector(".bar");
const say = (name, text) => { element.querySelector(`.${name}`).textContent = text; };
const WORDS = { running: "Registering", paused: "Paused", stopping: "Stopping", finished: "Finished", stopped: "Stopped", failed: "Failed" };

function duration(seconds) {
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60);
  return minutes >= 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

function show() {
  const now = JSON.parse(props.value || "{}");
  root.dataset.state = now.state ?? "idle";
  if (!now.total) return;
  say("state", WORDS[now.state] ?? now.state);
  say("what", `${now.name}, by ${now.method}`);
  const counts = [`${now.done} of ${now.total} images`];
  if (now.before) counts.push(`${now.before} of them before`);
  if (now.failed) counts.push(`${now.failed} failed`);
  if (now.left != null && now.state === "running") counts.push(`${duration(now.left)} left`);
  if (["finished", "stopped"].includes(now.state)) counts.push(`the files are in ${now.folder}`);
  say("count", counts.join(" · "));
  say("message", now.message ?? "");
  const percent = Math.round(100 * now.done / now.total);
  bar.firstElementChild.style.width = `${percent}%`;
  bar.setAttribute("aria-valuenow", percent);
}

watch("value", show);
show();
