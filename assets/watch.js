// Asks once a second, while the page is visible, what the open tab watches on the server. Where that is not what the page
// has drawn, it clicks the hidden button that has it redrawn.
const PATIENCE = 3;  // looks between two clicks for the same state
const clicked = {};
let asking = false;

async function look() {
  if (!element.isConnected) return clearInterval(timer);
  const buttons = [...document.querySelectorAll("[id^=changed-]")].filter((button) => button.closest("[role=tabpanel]")?.offsetParent);
  if (document.hidden || asking || !window.regstudioTab || !buttons.length) return;
  asking = true;
  const names = buttons.map((button) => button.id.slice("changed-".length));
  const now = (await server.look({ tab: window.regstudioTab, names })) ?? {};  // undefined where no answer came
  asking = false;
  buttons.forEach((button, i) => {
    const state = now[names[i]], drawn = document.querySelector(`#drawn-${names[i]} :is(textarea, input)`)?.value;
    if (state === undefined || state === drawn) return;
    // A click may be lost while the page loads, and an answer may come after a newer one: both are clicked for again.
    const last = clicked[names[i]];
    if (last?.state === state && ++last.looks < PATIENCE) return;
    clicked[names[i]] = { state, looks: 0 };
    button.click();
  });
}

const timer = setInterval(look, 1000);
