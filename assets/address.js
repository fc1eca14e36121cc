// Keeps the open tab in the address, so that a reload shows it again and Back leads to the tab before.
() => {
  const button = (name) => document.getElementById(`go-${name}`);
  const named = () => location.hash.slice(1) || "data";
  let wanted = named();  // until it is open, what gradio opens first is not noted
  const go = () => { wanted = named(); button(wanted)?.click(); };
  window.regstudioOpened = (name) => {
    if (wanted !== null && name !== wanted && button(wanted)) return;
    wanted = null;
    if (name !== named()) history.pushState(null, "", `#${name}`);
  };
  addEventListener("popstate", go);
  if (wanted === "data" || !button(wanted)) wanted = null; else go();
}
