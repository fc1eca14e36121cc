// The page's header: polls what is training now, every two seconds while the page is visible.
const now = element.querySelector(".now");

async function refresh() {
  if (!element.isConnected) return clearInterval(timer);
  if (document.hidden) return;
  try {
    const text = await server.current({});
    if (now.textContent !== text) now.textContent = text;
  } catch {
    now.textContent = "RegStudio does not answer. Is it still running in the terminal?";
  }
}

const timer = setInterval(refresh, 2000);
refresh();
