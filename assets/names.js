// Names text boxes for screen readers: gradio puts the copy button into the box's label, which then names the button.
// Runs every second, because tabs and hidden rows are added to the page when they are opened.
() => {
  const unnamed = "label:has(button) :is(textarea, input):not([aria-label])";
  setInterval(() => {
    for (const box of document.querySelectorAll(unnamed)) {
      const title = box.closest("label").querySelector("[data-testid=block-info]");
      if (title) box.setAttribute("aria-label", title.textContent.trim());
    }
  }, 1000);
}
