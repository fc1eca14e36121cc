// Opens the page of the handbook that a link in the Help tab names, as if it was chosen from the list.
() => {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("#help-page a[href^='#handbook-']");
    if (!link) return;
    event.preventDefault();
    const name = link.getAttribute("href").replace("#handbook-", "");
    document.querySelector(`#help-pages input[value="${name}"]`)?.click();
    document.querySelector("#help-page").scrollIntoView({ block: "nearest" });
  });
}
