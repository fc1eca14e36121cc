// The page's header: polls what is training now, every two seconds while the page is visible.
const now = element.querySelector(".now");

async function refresh() {
  if (!element.isConnected) return clearInterval(timer);
  if (document.hidden) return;
  const answer = await server.current({});  // Gradio returns undefined where no answer came
  const text = answer ?? "RegStudio does not answer. Is it still running in the terminal?";
  if (now.textContent !== text) now.textContent = text;
}

const timer = setInterval(refresh, 2000);
refresh();
