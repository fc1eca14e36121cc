// Gradio puts the copy button of a text box into the box's label, which then names the button and not the box.
// Looked for again and again, as tabs and hidden rows come to the page only when they are opened.
() => {
  const unnamed = "label:has(button) :is(textarea, input):not([aria-label])";
  setInterval(() => {
    for (const box of document.querySelectorAll(unnamed)) {
      const title = box.closest("label").querySelector("[data-testid=block-info]");
      if (title) box.setAttribute("aria-label", title.textContent.trim());
    }
  }, 1000);
}
