// Returns the name of this browser tab, which outlives a reload: the server keeps the tab's data folder and settings
// under it. A duplicated tab starts with a copy of the name, and takes another: only one tab at a time holds its lock.
async () => {
  const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const hold = (name) => new Promise((done) => {
    if (!navigator.locks) { done(true); return; }  // pages that other machines open without https have no locks
    navigator.locks.request(`regstudio ${name}`, { ifAvailable: true }, (lock) => {
      done(Boolean(lock));
      return lock && new Promise(() => {});  // until the page is left
    }).catch(() => done(true));
  });
  let name = sessionStorage.getItem("regstudio") ?? fresh();
  // The page before a reload may hold the lock for another moment.
  for (let attempt = 0; !(await hold(name)); attempt++) {
    if (attempt < 5) await new Promise((later) => setTimeout(later, 100));
    else name = fresh();
  }
  sessionStorage.setItem("regstudio", name);
  window.regstudioTab = name;
  return name;
}
