
// The uploads of a page. What is added while others are unsettled joins their batch; a batch of more
// than a few files is folded into one row with totals, below which are the files that need the user.

const AT_ONCE = 3;
const FOLDED = 5; // a batch of more files is folded
const LISTED = 100; // rows of one batch; the buttons of the batch reach all others
const SEEN = 6000; // ms, until what has succeeded leaves the page
const EVERY = 200; // ms, between two changes of the totals

const list = make("ul", {id: "uploads", ariaLabel: "Uploads"});
const chooser = document.querySelector("#upload input");

// --- rows -----------------------------------------------------------------------------------------

// A line of the list: `show` changes its words, its buttons and its bar (0 to 1; null: none).
class Row {
  constructor(title, {isLast = false} = {}) {
    this.title = make("b", {textContent: title});
    this.buttons = make("div", {});
    this.words = make("p", {});
    this.bar = make("progress", {max: 1, value: 0, ariaLabel: title});
    this.node = make("li", {}, this.title, this.buttons, this.words, this.bar);
    const [first] = isLast ? [] : interrupted.values();
    list.insertBefore(this.node, first?.row.node ?? null); // interrupted uploads stay at the end
  }

  // `buttons` are pairs of a label and a function.
  show(className, words, part, buttons) {
    if (this.node.className !== className) this.node.className = className;
    if (this.words.textContent !== words) this.words.textContent = words;
    this.bar.hidden = part === null;
    this.bar.value = part ?? 0;
    const old = new Map([...this.buttons.children].map((button) => [button.textContent, button]));
    if (buttons.map(([label]) => label).join() === [...old.keys()].join()) return;
    keepFocus(this.node, () => this.buttons.replaceChildren(...buttons.map(([label, press]) => {
      if (old.has(label)) return old.get(label);
      const ariaLabel = `${label}: ${this.title.textContent}`;
      return make("button", {type: "button", textContent: label, ariaLabel, onclick: press});
    })));
  }

  remove() {
    keepFocus(this.node, () => this.node.remove());
  }
}

const LOOKS = {failed: "wrong", taken: "wrong", done: "done"};

const buttonsOf = (upload) => ({
  waiting: [["Cancel", () => upload.discard()]],
  sending: [["Cancel", () => upload.discard()]],
  failed: [["Retry", () => queue(upload)], ["Dismiss", () => upload.discard()]],
  taken: [["Replace", () => replace(upload)], ["Skip", () => upload.discard()]],
})[upload.state] ?? [];

// --- the batch ------------------------------------------------------------------------------------

let batch = null;

class Batch {
  uploads = {waiting: new Set(), sending: new Set(), failed: new Set(), taken: new Set()};
  byKey = new Map();
  rows = new Map(); // by upload
  files = 0; // that were added, but for those that the user has given up
  bytes = 0;
  done = 0;
  doneBytes = 0;
  row = null; // with the totals, once it is folded
  due = 0;
  speed = new Speed();

  get unsent() { return this.uploads.waiting.size + this.uploads.sending.size; }
  get open() { return this.uploads.failed.size + this.uploads.taken.size; }

  add(upload) {
    this.files += 1;
    this.bytes += upload.file.size;
    this.uploads.waiting.add(upload);
    this.byKey.set(upload.key, upload);
    if (this.files > FOLDED && !this.row) this.fold();
    this.show(upload);
  }

  changed(upload, before) {
    if (before !== upload.state) {
      this.uploads[before]?.delete(upload);
      this.uploads[upload.state]?.add(upload);
      if (upload.state === "done") {
        this.done += 1;
        this.doneBytes += upload.file.size;
        refreshSoon();
      } else if (upload.state === "gone") {
        this.files -= 1;
        this.bytes -= upload.file.size;
      }
      if (!this.row) this.announce(upload);
      guardPage();
    }
    this.show(upload);
    if (before !== upload.state && !this.unsent) this.settle();
  }

  announce(upload) {
    if (upload.state === "done") announce(`${upload.path} is uploaded.`);
    if (LOOKS[upload.state] === "wrong") announce(`${upload.path}: ${upload.words}`);
  }

  // Show the row of an upload, or take it away; in a folded batch there are rows for failures only.
  show(upload) {
    const listed = this.row ? LOOKS[upload.state] === "wrong" : upload.state !== "gone";
    let row = this.rows.get(upload);
    if (!listed && row) {
      row.remove();
      this.rows.delete(upload);
    } else if (listed && (row || this.rows.size < LISTED)) {
      if (!row) this.rows.set(upload, row = new Row(upload.path));
      const size = upload.file.size;
      const part = LOOKS[upload.state] ? null : size ? upload.have / size : 0;
      row.show(LOOKS[upload.state] ?? "", upload.words, part, buttonsOf(upload));
      if (upload.state === "done") setTimeout(() => row.remove(), SEEN);
    }
    if (this.row && !this.due) {
      this.due = setTimeout(() => { this.due = 0; if (this.unsent) this.showTotals(); }, EVERY);
    }
  }

  fold() {
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.row = new Row("");
    list.prepend(this.row.node);
    for (const state of ["failed", "taken"]) for (const upload of this.uploads[state]) this.show(upload);
    announce(`Uploading ${this.counted(this.files)}.`);
  }

  counted(number) {
    return `${number.toLocaleString("en")} ${number === 1 ? "file" : "files"}`;
  }

  get title() {
    if (this.unsent) return `Uploading ${this.counted(this.files)}`;
    if (this.done === this.files) return `${this.counted(this.files)} uploaded`;
    return `${this.done.toLocaleString("en")} of ${this.counted(this.files)} uploaded`;
  }

  showTotals() {
    const {waiting, sending, failed, taken} = this.uploads;
    let have = this.doneBytes;
    for (const upload of sending) have += upload.have;
    const left = this.bytes - have;
    const words = this.unsent
      ? [`${this.done.toLocaleString("en")} of ${this.counted(this.files)}`,
        `${amount(have)} of ${amount(this.bytes)}`, ...rateWords(this.speed.add(have), left)]
      : [amount(this.doneBytes)];
    if (failed.size) words.push(`${failed.size.toLocaleString("en")} failed`);
    if (taken.size) words.push(`${taken.size.toLocaleString("en")} exist already`);
    if (this.open > this.rows.size) words.push(`the first ${this.rows.size} are listed below`);
    const pausing = [...sending].map((upload) => upload.pausing);
    if (pausing.length && pausing.every(Boolean)) words.push(pausing[0]);
    this.row.title.textContent = this.title;
    this.row.bar.ariaLabel = this.title;
    const all = (state, act) => () => { for (const upload of [...this.uploads[state]]) act(upload); };
    const buttons = [];
    if (this.unsent) {
      buttons.push(["Cancel all", () => { all("waiting", discard)(); all("sending", discard)(); }]);
    }
    if (failed.size) buttons.push(["Retry failed", all("failed", queue)]);
    if (taken.size) buttons.push(["Replace all", all("taken", replace)]);
    if (this.open && !this.unsent) {
      buttons.push(["Dismiss", () => { all("failed", discard)(); all("taken", discard)(); }]);
    }
    // A file counts as a byte more, so that empty files move the bar.
    const part = (have + this.done) / (this.bytes + this.files || 1);
    const look = this.unsent ? "" : this.open ? "wrong" : "done";
    this.row.show(look, words.join(" · "), this.unsent ? part : null, buttons);
  }

  // Nothing is waiting or being sent.
  settle() {
    if (!this.open) {
      if (batch === this) batch = null;
      if (!this.files) this.row?.remove();
      else if (this.row) setTimeout(() => this.row.remove(), SEEN);
    }
    if (!this.row || !this.files) return;
    this.showTotals();
    announce(`${this.title}.${this.open ? ` Not uploaded: ${this.open.toLocaleString("en")}.` : ""}`);
  }
}

const discard = (upload) => upload.discard();
const replace = (upload) => { upload.replaces = true; queue(upload); };

// --- the queue ------------------------------------------------------------------------------------

let running = 0;

const queue = (upload) => {
  upload.enter("waiting", "Waiting");
  next();
};

const next = () => {
  while (running < AT_ONCE && batch?.uploads.waiting.size) {
    const [upload] = batch.uploads.waiting;
    running += 1;
    upload.run().finally(() => { running -= 1; next(); });
  }
};

const add = (file, path) => {
  batch ??= new Batch();
  const mine = batch;
  const upload = new Upload(file, path, (one, before) => mine.changed(one, before));
  const same = mine.byKey.get(upload.key); // two uploads of one file would take it from each other
  if (same?.state === "failed") queue(same);
  if (same && same.state !== "done" && same.state !== "gone") return;
  interrupted.get(upload.key)?.remove();
  mine.add(upload);
  guardPage();
  next();
};

// The browser asks before the page is left, while something is unsent and only then.
const ask = (event) => {
  event.preventDefault();
  event.returnValue = "unsent";
};
const guardPage = () => {
  if (batch?.unsent) addEventListener("beforeunload", ask);
  else removeEventListener("beforeunload", ask);
};

// --- files and directories ------------------------------------------------------------------------

// Add files with their paths; names that begin with a dot, which the server does not take, are left
// out below directories, and so are empty directories.
class Selection {
  hidden = 0;
  empty = 0;
  unreadable = 0;

  addFiles(files) {
    for (const file of files) {
      const path = file.webkitRelativePath || file.name;
      if (path.includes("/") && path.split("/").some((name) => name.startsWith("."))) this.hidden += 1;
      else add(file, path);
    }
  }

  // All entries must have been taken from the event before the first `await`.
  async addEntry(entry, path) {
    if (entry.name.startsWith(".")) {
      this.hidden += 1;
      return;
    }
    try {
      if (entry.isFile) {
        add(await new Promise((resolve, reject) => entry.file(resolve, reject)), path);
        return;
      }
      const reader = entry.createReader();
      let some = [];
      let all = 0;
      do { // a reader returns some entries at a time
        some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        all += some.length;
        for (const one of some) await this.addEntry(one, `${path}/${one.name}`);
      } while (some.length);
      if (!all) this.empty += 1;
    } catch {
      this.unreadable += 1;
    }
  }

  report() {
    const parts = [
      [this.hidden, "hidden name", "hidden names"],
      [this.empty, "empty directory", "empty directories"],
      [this.unreadable, "entry that cannot be read", "entries that cannot be read"],
    ].filter(([count]) => count).map(([count, one, more]) => `${count} ${count === 1 ? one : more}`);
    if (parts.length) say(`Left out: ${parts.join(", ")}.`);
  }
}

const addFiles = (files) => {
  const selection = new Selection();
  selection.addFiles(files);
  selection.report();
};

const addDropped = async (items) => {
  const selection = new Selection();
  const found = items.filter((item) => item.kind === "file").map((item) =>
    [item.webkitGetAsEntry?.(), item.getAsFile()]);
  for (const [entry, file] of found) {
    if (entry?.isDirectory) await selection.addEntry(entry, entry.name);
    else if (file) selection.addFiles([file]);
  }
  selection.report();
};

// --- uploads that were interrupted ----------------------------------------------------------------

const interrupted = new Map(); // rows, by the keys of their records

// The row of a record: it knows the same file again by its name, its size and its date.
class Interrupted {
  constructor(record, words) {
    this.record = record;
    this.row = new Row(record.path, {isLast: true});
    this.show("", words);
    interrupted.set(record.key, this);
  }

  show(look, words) {
    this.row.show(look, words, null, [["Continue", () => this.choose()], ["Discard", () => this.discard()]]);
  }

  choose() {
    const input = make("input", {type: "file"});
    input.onchange = () => {
      const {path, size, date} = this.record;
      const [file] = input.files;
      const same = file.name === path.split("/").at(-1) && file.size === size && file.lastModified === date;
      if (same) add(file, path);
      else this.show("wrong", `${file.name} is another file: choose the one whose upload was interrupted.`);
    };
    input.click();
  }

  discard() {
    fetch(this.record.place, {method: "DELETE", keepalive: true}).catch(() => {});
    records.remove(this.record.key);
    this.remove();
  }

  remove() {
    interrupted.delete(this.record.key);
    this.row.remove();
  }
}

// Pages tell each other what they send: asking the server about it would interrupt it.
const pages = new BroadcastChannel(`${RECORD}pages`);
const elsewhere = new Set();
pages.onmessage = ({data}) => {
  if (data === "?") {
    pages.postMessage([...batch?.uploads.sending ?? []].map((upload) => upload.key));
    return;
  }
  for (const key of data) {
    elsewhere.add(key);
    interrupted.get(key)?.remove();
  }
};
addEventListener("storage", ({key, newValue}) => {
  if (newValue === null) interrupted.get(key?.slice(RECORD.length))?.remove();
});

// Whether a record is of an upload that nobody sends, and that was neither finished nor discarded.
const isInterrupted = (key) => {
  const {waiting, sending} = batch?.uploads ?? {waiting: [], sending: []};
  const sent = elsewhere.has(key) || [...sending, ...waiting].some((upload) => upload.key === key);
  return !sent && records.get(key) !== null;
};

const showInterrupted = async () => {
  const found = records.all().filter((record) => record.page === PAGE);
  if (!found.length) return;
  pages.postMessage("?");
  await new Promise((resolve) => { setTimeout(resolve, 250); });
  for (const record of found) {
    if (!isInterrupted(record.key)) continue;
    let have = null;
    try {
      const response = await fetch(record.place, {method: "HEAD"});
      const {headers, status} = response;
      if (status === 404 || status === 410 || headers.get("Upload-Complete") === "?1") {
        records.remove(record.key);
        continue;
      }
      if (response.ok) have = Number(headers.get("Upload-Offset"));
    } catch {}
    if (!isInterrupted(record.key)) continue; // any more
    const size = amount(record.size);
    const words = have === null ? `Interrupted, ${size}` : `Interrupted, ${amount(have)} of ${size} are there`;
    new Interrupted(record, `${words}. Choose the same file again to continue.`);
  }
  if (interrupted.size) announce(`Uploads that can be continued: ${interrupted.size}.`);
};

// --- events ---------------------------------------------------------------------------------------

const listen = () => {
  const form = document.getElementById("upload");
  form.after(list);
  form.onsubmit = (event) => event.preventDefault();
  const take = (input) => {
    input.onchange = () => { addFiles([...input.files]); input.value = ""; };
  };
  take(chooser);
  const directories = make("input", {type: "file", webkitdirectory: true});
  if ("webkitdirectory" in HTMLInputElement.prototype) {
    chooser.parentNode.after(make("label", {}, make("span", {textContent: "Choose a directory"}), directories));
    take(directories);
  }
  const over = (event, is) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("over", is);
  };
  addEventListener("dragenter", (event) => over(event, true));
  addEventListener("dragover", (event) => over(event, true));
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(event, false); });
  addEventListener("drop", (event) => {
    over(event, false);
    if (event.dataTransfer) addDropped([...event.dataTransfer.items]);
  });
  if (can.has("resumable")) showInterrupted();
};

if (can.has("uploads")) listen();
