// Names for screen readers what gradio leaves without a name, or gives another one than is to be read. Runs every second,
// because tabs and hidden rows are added to the page when they are opened.
() => {
  const name = (part, text) => { if (text && part.getAttribute("aria-label") !== text) part.setAttribute("aria-label", text); };
  const title = (part) => part?.querySelector("[data-testid=block-info], [data-testid=block-label]")?.textContent.trim();

  function nameAll() {
    // The copy button lies in the box's label, which then names the button.
    for (const box of document.querySelectorAll("label:has(button) :is(textarea, input):not([aria-label])")) {
      name(box, title(box.closest("label")));
    }
    for (const button of document.querySelectorAll(".image-container > button")) name(button, title(button.closest(".block")));
    for (const button of document.querySelectorAll("button.thumbnail-item:has(.caption-label)")) {
      name(button, button.querySelector(".caption-label").textContent.trim());
      button.querySelector("img")?.setAttribute("alt", "");  // the caption says it
    }
    for (const table of document.querySelectorAll("#help-page table:not([tabindex])")) table.tabIndex = 0;  // it may scroll
    // A message's header folds it, with the button that closes it inside: one button in another.
    for (const header of document.querySelectorAll(".toast-header[role=button]")) {
      header.removeAttribute("role");
      header.removeAttribute("tabindex");
    }
    // What is read out is what is written on it.
    for (const button of document.querySelectorAll("button.upload-container")) {
      name(button, `${title(button.closest(".block")) ?? ""} ${button.innerText.replace(/\s+/g, " ")}`.trim());
    }
  }
  nameAll();
  setInterval(nameAll, 1000);
}
