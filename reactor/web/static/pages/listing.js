"use strict";
// The script of every listing: local times, and the filter. Where a page may change its directory,
// changes.js, upload.js and uploads.js follow in the same script. The server takes out comments that
// have a line of their own, and indentation: no string or template goes on in another line.

const make = (tag, properties, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};

// The times of the page are in UTC; `datetime` keeps them.
const showLocalTimes = () => {
  const two = (number) => String(number).padStart(2, "0");
  for (const time of document.querySelectorAll("#list time")) {
    const at = new Date(time.dateTime);
    const year = String(at.getFullYear()).padStart(4, "0");
    time.firstChild.data = `${year}-${two(at.getMonth() + 1)}-${two(at.getDate())} `;
    time.lastChild.textContent = `${two(at.getHours())}:${two(at.getMinutes())}`;
  }
  const zone = new Intl.DateTimeFormat().resolvedOptions().timeZone ?? "local";
  const name = zone.split("/").at(-1).replaceAll("_", " ");
  const label = document.querySelector("#list th small");
  label.textContent = name === "UTC" ? name : `${name} time`;
  label.title = zone;
};

// The filter hides the rows of this page whose names lack one of its words.
const filter = make("input", {type: "search", autocomplete: "off", spellcheck: false});
const filtered = make("output", {});
const filterLabel = make("label", {},
  make("span", {}), make("kbd", {textContent: "/", ariaHidden: "true"}), filter);
filter.setAttribute("aria-keyshortcuts", "/");

const comparable = (text) => text.normalize().toLowerCase();
let rows = []; // [row, name]
const archive = document.querySelector("#tools form");

const applyFilter = () => {
  const words = comparable(filter.value).split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const [row, name] of rows) {
    row.hidden = !words.every((word) => name.includes(word));
    shown += !row.hidden;
  }
  const [some, all] = [shown, rows.length].map((number) => number.toLocaleString("en"));
  const where = document.querySelector(".pages") ? " on this page" : "";
  filtered.textContent = words.length ? `${some} of ${all} names${where}` : "";
};

// To be called when the entries are new.
const arrange = () => {
  showLocalTimes();
  rows = [...document.querySelectorAll("#list tbody tr:not(.none)")].map((row) =>
    [row, comparable((row.querySelector("a") ?? row.cells[0]).textContent)]);
  filterLabel.firstChild.textContent = document.querySelector(".pages") ? "Filter this page" : "Filter";
  filterLabel.hidden = !rows.length;
  if (archive) archive.hidden = !rows.length;
  applyFilter();
};

filter.oninput = applyFilter;
addEventListener("keydown", (event) => {
  if (event.target === filter && event.key === "Escape" && filter.value) {
    event.preventDefault();
    filter.value = "";
    applyFilter();
  }
  if (event.key !== "/" || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.closest?.("input, select, textarea") || filterLabel.hidden) return;
  event.preventDefault();
  filter.focus();
});
document.getElementById("tools").prepend(filterLabel, filtered);
arrange();
