// Asks once a second, while the page is visible, what the open tab watches on the server. Where that has changed, it
// clicks the hidden button that has it redrawn.
const seen = {};
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
    const value = now[names[i]];
    if (value === undefined || value === seen[names[i]]) return;
    seen[names[i]] = value;
    button.click();
  });
}

const timer = setInterval(look, 1000);
