// Whole folders for a field of files (class "takes-folders"): dropped, or chosen by a button. A browser's upload loses the
// folders that files lie in, so they go to the server as one zip, stored as they are. A field of the class "takes-one-zip"
// gets everything so, single files, too.
() => {
  const MAX_FILES = 20000, MAX_BYTES = 4 * 2 ** 30 - 2 ** 24;  // what the server takes
  const NOISE = /(^|\/)(\.|__MACOSX\/|Thumbs\.db$|desktop\.ini$)/i;
  const REMAINDERS = Uint32Array.from({ length: 256 }, (_, number) => {
    for (let bit = 0; bit < 8; bit++) number = number & 1 ? 0xedb88320 ^ (number >>> 1) : number >>> 1;
    return number;
  });
  let ours = false;  // the change of a field that this script made itself

  const promised = (call) => new Promise(call);
  const isZip = (name) => /\.zip$/i.test(name);

  async function filesBelow(entry, above = "") {
    if (entry.isFile) return [{ path: above + entry.name, file: await promised((done, failed) => entry.file(done, failed)) }];
    const reader = entry.createReader(), found = [];
    for (;;) {  // a reader gives some entries at a time
      const some = await promised((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return found;
      for (const each of some) found.push(...(await filesBelow(each, `${above}${entry.name}/`)));
    }
  }

  async function crc32(file) {
    let crc = -1;
    const reader = file.stream().getReader();
    for (let part; !(part = await reader.read()).done; ) for (const byte of part.value) crc = REMAINDERS[(crc ^ byte) & 255] ^ (crc >>> 8);
    return (crc ^ -1) >>> 0;
  }

  // Numbers as bytes, the lowest first: pairs of a value and its width.
  function bytes(...pairs) {
    return new Uint8Array(pairs.flatMap(([value, width]) => Array.from({ length: width }, (_, place) => Math.floor(value / 256 ** place) % 256)));
  }

  async function zipped(name, files, say) {
    const parts = [], directory = [];
    let offset = 0, length = 0;
    for (const [number, { path, file }] of files.entries()) {
      if (number % 20 === 0) say(`Reading ${number + 1} of ${files.length} files`);
      const title = new TextEncoder().encode(path);
      const about = bytes([20, 2], [0x800, 2], [0, 2], [0, 2], [0x21, 2], [await crc32(file), 4], [file.size, 4], [file.size, 4], [title.length, 2], [0, 2]);
      const head = [bytes([0x04034b50, 4]), about, title];
      const entry = [bytes([0x02014b50, 4], [20, 2]), about, bytes([0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), title];
      parts.push(...head, file);
      directory.push(...entry);
      offset += 30 + title.length + file.size;
      length += 46 + title.length;
    }
    const end = bytes([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [length, 4], [offset, 4], [0, 2]);
    return new File([...parts, ...directory, end], `${name}.zip`, { type: "application/zip" });
  }

  // The input of a field, which is emptied first: what it holds is replaced.
  async function inputOf(field) {
    const clear = "button[aria-label=Clear]";
    field.querySelector(clear)?.click();
    for (let tries = 0; tries < 60; tries++) {
      const input = field.querySelector("input[type=file]");
      if (input && !field.querySelector(clear)) return input;
      await promised((done) => setTimeout(done, 50));
    }
    throw new Error("this field takes no files now");
  }

  async function send(field, found) {
    const said = field.querySelector(".drop-status") ?? field.appendChild(Object.assign(document.createElement("p"), { className: "drop-status" }));
    said.setAttribute("role", "status");
    const say = (text) => { said.textContent = text; said.hidden = !text; };
    try {
      const files = found.filter(({ path }) => !NOISE.test(path));
      const total = files.reduce((sum, { file }) => sum + file.size, 0);
      if (!files.length) return say("There is no file in it.");
      if (files.length > MAX_FILES || total > MAX_BYTES) {
        return say("That is more than can be sent: 20,000 files, 4 GB. Type the path of the folder instead.");
      }
      const tops = new Set(files.map(({ path }) => path.split("/")[0]));
      const one = tops.size === 1 && files[0].path.includes("/");
      const zip = files.length === 1 && isZip(files[0].path) ? files[0].file : await zipped(one ? [...tops][0] : "images", files, say);
      const transfer = new DataTransfer();
      transfer.items.add(zip);
      const input = await inputOf(field);
      input.files = transfer.files;
      ours = true;
      input.dispatchEvent(new Event("change", { bubbles: true }));
      say("");
    } catch (error) {
      say(`It cannot be read (${error.message}). Zip the folder, and drop the zip.`);
    } finally {
      ours = false;
    }
  }

  const fieldOf = (event) => event.target instanceof Element ? event.target.closest(".takes-folders") : null;
  const takesAsItIs = (field, files) => !field.classList.contains("takes-one-zip") || (files.length === 1 && isZip(files[0].name));

  document.addEventListener("drop", (event) => {
    const field = fieldOf(event);
    if (!field) return;
    const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const folders = entries.some((entry) => entry.isDirectory), files = [...(event.dataTransfer?.files ?? [])];
    if (!files.length || (!folders && takesAsItIs(field, files))) return;
    event.preventDefault();
    event.stopPropagation();
    event.target.dispatchEvent(new DragEvent("dragleave", { bubbles: true }));  // else Gradio's field waits for the drop
    const found = entries.length ? Promise.all(entries.map((entry) => filesBelow(entry))) : files.map((file) => ({ path: file.name, file }));
    Promise.resolve(found).then((all) => send(field, all.flat()));
  }, true);

  document.addEventListener("change", (event) => {
    const field = fieldOf(event);
    if (!field || ours || event.target.type !== "file" || !event.target.files.length || takesAsItIs(field, event.target.files)) return;
    event.stopPropagation();
    send(field, [...event.target.files].map((file) => ({ path: file.webkitRelativePath || file.name, file })));
  }, true);

  window.regstudioChooseFolder = (id) => {
    const chooser = Object.assign(document.createElement("input"), { type: "file", webkitdirectory: true, multiple: true });
    chooser.addEventListener("change", () => {
      const files = [...chooser.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
      if (files.length) send(document.querySelector(`#${id}`), files);
    });
    chooser.click();
  };
}
