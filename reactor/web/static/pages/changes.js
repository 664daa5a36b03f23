
// What all changes share: messages, the entries that are fetched again, and deletes.

const can = new Set(document.body.dataset.can.split(" "));

const WORDS = {
  400: "The server did not understand this.",
  403: "The server does not allow this.",
  404: "A file cannot have this name here.",
  405: "Files here can only be read.",
  408: "The connection was too slow.",
  409: "This name belongs to something other than a file, or its directory cannot be made.",
  413: "This file is larger than the server accepts.",
  414: "This name is longer than the server allows.",
  503: "The server is busy.",
  507: "There is no room left on the server.",
};

// Messages for screen readers, and those that everybody sees.
const announced = make("p", {className: "unseen", role: "status"});
const said = make("p", {id: "said", role: "status"});
const timers = new Map();
const say = (words, node = said) => {
  node.textContent = words;
  clearTimeout(timers.get(node));
  timers.set(node, setTimeout(() => { node.textContent = ""; }, 6000));
};
const announce = (words) => say(words, announced);

// Make a change that may remove what has the focus; then the next control of its list has it.
const keepFocus = (node, change) => {
  const had = node.contains(document.activeElement);
  const next = had ? [...document.querySelectorAll("#uploads button, #upload input")] : [];
  const at = next.indexOf(document.activeElement);
  change();
  if (!had || document.activeElement !== document.body) return;
  const others = [...next.slice(at + 1), ...next.slice(0, at).reverse()];
  const near = node.isConnected ? node.querySelector("button") : null;
  (near ?? others.find((one) => one.isConnected))?.focus();
};

// Fetch the page again: not while it is being fetched, and less often where that takes long.
let due = 0;
let took = 0;
const refreshSoon = () => {
  if (!due) due = setTimeout(refresh, Math.max(300, 10 * took));
};

const labelOf = (node) => node.getAttribute("href") ?? (node.ariaLabel || node.textContent);

const refresh = async () => {
  const since = performance.now();
  try {
    const response = await fetch(location.href, {headers: {Accept: "text/html"}, cache: "no-cache"});
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    if (!response.ok || !page.getElementById("list")) return;
    const focused = document.activeElement.closest("#list :is(a, button)");
    for (const id of ["sum", "list"]) document.getElementById(id).replaceWith(page.getElementById(id));
    offerDeletes();
    arrange();
    if (!focused) return;
    const controls = [...document.querySelectorAll("#list :is(a, button)")];
    controls.find((one) => labelOf(one) === labelOf(focused))?.focus();
  } catch {
    // The page stays as it was; the next upload, or a reload, brings the new one.
  } finally {
    took = performance.now() - since;
    due = 0;
  }
};

// A button behind each name and, on the page of an empty directory, one for itself: not for the
// directory of the mount, above which there is none.
const offerDeletes = () => {
  if (!can.has("deletes")) return;
  for (const link of document.querySelectorAll("#list tbody td:first-child > a")) {
    const ariaLabel = `Delete ${link.textContent}`;
    link.after(make("button", {type: "button", className: "delete", textContent: "×", ariaLabel}));
  }
  const empty = document.querySelector("#list .none td");
  if (!empty || !document.querySelector("nav:not(.pages)")) return;
  const button = make("button", {type: "button", textContent: "Delete this directory"});
  button.onclick = () => deleteThis(button);
  empty.append(make("br", {}), button);
};

// The reason why the server has kept it; null where it is gone.
const askToDelete = async (link) => {
  const [url] = link.split("?"); // a link to a directory may ask for an order
  try {
    const response = await fetch(url, {method: "DELETE", headers: {Accept: "text/plain"}});
    if (response.ok || response.status === 404) return null;
    if (response.status === 409) return (await response.text()).trim(); // such as: it is not empty
    return WORDS[response.status] ?? `The response was ${response.status}.`;
  } catch {
    return "The server did not respond.";
  }
};

const deleteBehind = async (button) => {
  const row = button.closest("tr");
  const link = row.querySelector("a");
  const label = link.textContent;
  if (!confirm(`Delete “${label}”? It cannot be brought back.`)) return;
  button.disabled = true;
  const kept = await askToDelete(link.href);
  if (kept === null) {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    const focused = row.contains(document.activeElement) || document.activeElement === document.body;
    row.remove();
    if (focused) next?.querySelector("a")?.focus();
    say(`${label} is deleted.`);
    refreshSoon();
    return;
  }
  say(`${label} is still there. ${kept}`);
  button.disabled = false;
};

const deleteThis = async (button) => {
  if (!confirm("Delete this directory? It cannot be brought back.")) return;
  button.disabled = true;
  const kept = await askToDelete(new URL("./", location.href).href);
  if (kept === null) {
    location.replace(document.querySelector("nav li:last-child a").href);
    return;
  }
  say(`This directory is still there. ${kept}`);
  button.disabled = false;
  refreshSoon();
};

document.body.classList.add("js");
document.body.append(said, announced);
addEventListener("click", (event) => {
  const button = event.target.closest?.(".delete");
  if (button) deleteBehind(button);
});
offerDeletes();
