// The preview: pictures of one pair after the epoch that the slider chooses.

function show_previews() {
  const count = data.previews.length, slider = find(".epoch");
  if (!count) return;
  find(".preview").hidden = false;
  slider.max = count - 1;
  if (follow) slider.value = count - 1;
  ask_preview(data.previews[Number(slider.value)]);
}

async function ask_preview(epoch) {
  wanted = epoch;
  if (fetching || wanted === shown) return;
  fetching = true;
  const run = last.run;
  try {
    while (wanted !== shown) {
      const asked = wanted, answer = await server.preview({ run, epoch: asked });
      if (last.run !== run) break;
      shown = asked;  // also after an error: not asked again until the slider moves
      if (answer.pictures) show_pictures(answer);
    }
  } catch (error) {
    console.warn("preview:", error);
  }
  fetching = false;
}

function show_pictures({ epoch, pictures }) {
  const box = find(".pictures"), before = data.epochs.find((done) => done.epoch === epoch)?.metrics ?? {};
  for (const figure of [...box.children]) if (!(figure.dataset.name in pictures)) figure.remove();
  for (const name of Object.keys(PICTURES)) {
    if (!(name in pictures)) continue;
    let figure = box.querySelector(`[data-name=${name}]`);
    if (!figure) {
      figure = document.createElement("figure");
      figure.dataset.name = name;
      figure.append(document.createElement("img"), document.createElement("figcaption"));
      box.append(figure);
    }
    figure.firstChild.src = pictures[name];
    figure.firstChild.alt = figure.lastChild.textContent = PICTURES[name];
  }
  say(".shown", epoch + mean_of_pairs(before));
}

function mean_of_pairs({ dice, tre }) {
  if (dice != null) return ` (mean Dice of all pairs ${dice.toFixed(3)})`;
  return tre != null ? ` (mean TRE of all pairs ${tre.toFixed(2)} pixels)` : "";
}
