// Keeps the open tab in the address, and of the Viewer run, checkpoint, case and what is compared: a reload or a bookmark
// shows them again, and Back leads to what was shown before. #viewer?run=brains&checkpoint=best&case=validation/p01
() => {
  const NAMES = ["run", "checkpoint", "case", "compare"];
  const button = (name) => document.getElementById(`go-${name}`);
  const parts = () => location.hash.slice(1).split("?");
  const named = () => parts()[0] || (button("data") ? "data" : "viewer");  // a shared page has the Viewer alone
  const query = (values) => NAMES.filter((name) => values[name]).map((name) => `${name}=${encodeURIComponent(values[name])}`).join("&");
  const asked = () => Object.fromEntries(new URLSearchParams(parts()[1] ?? ""));
  const note = (hash, add) => { if (hash !== location.hash) history[add ? "pushState" : "replaceState"](null, "", hash); };
  let viewed = "";  // the query of what the Viewer shows
  let wanted = named();  // until it is open, what gradio opens first is not noted

  // Puts a request into the hidden field that the Viewer answers, as if it were typed.
  function request(values) {
    const field = document.querySelector("#viewer-request :is(textarea, input)");
    if (!field) return;
    const text = JSON.stringify({ ...values, number: `address ${performance.now()}` });
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, text);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function go() {
    wanted = named();
    const values = asked();
    if (wanted === "viewer" && values.run && query(values) !== viewed) request(values);
    button(wanted)?.click();
  }

  window.regstudioOpened = (name) => {
    if (wanted !== null && name !== wanted && button(wanted)) return;
    wanted = null;
    if (name !== named()) note(name === "viewer" && viewed ? `#viewer?${viewed}` : `#${name}`, true);
  };
  window.regstudioViewed = (values) => {
    if (!values.run || values.case?.startsWith("own images: ")) return;  // files that are dropped in have no address
    viewed = query(values);
    if (named() === "viewer") note(`#viewer?${viewed}`, Boolean(parts()[1]));
  };
  addEventListener("popstate", go);
  const values = asked();
  if (wanted === "viewer" && values.run) go();
  else if (wanted === "data" || !button(wanted)) wanted = null;
  else go();
}
