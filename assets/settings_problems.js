// Writes what is wrong with a setting below its field, and marks the field.
(text) => {
  const problems = JSON.parse(text || "{}");
  for (const old of document.querySelectorAll(".field-problem")) {
    if (!(old.dataset.name in problems)) {
      old.parentElement.querySelectorAll("[aria-invalid]").forEach((field) => field.removeAttribute("aria-invalid"));
      old.remove();
    }
  }
  for (const [name, words] of Object.entries(problems)) {
    const block = document.getElementById(`setting-${name}`);
    if (!block) continue;
    let line = block.querySelector(".field-problem");
    if (!line) {
      line = document.createElement("p");
      line.className = "field-problem";
      line.dataset.name = name;
      line.id = `problem-${name}`;
      block.append(line);
    }
    line.textContent = words;
    for (const field of block.querySelectorAll("input, textarea")) {
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", line.id);
    }
  }
}
