
"use strict";
// The script of a listing: uploads with progress, and deletes. The states of an upload are:
//   waiting -> sending -> done, failed (Retry) or taken (Replace)
// Where the server can resume uploads, a resource is created first and the bytes are appended to it
// (draft-ietf-httpbis-resumable-upload-11). After an interruption the server says how much it has.
// The browser keeps the resource's address until the end, so that a reload resumes the same file.
(() => {
  const AT_ONCE = 3;
  const LONGEST_PAUSE = 30000; // ms, between attempts
  const KEPT = 86400000; // ms, as long as the server keeps a partial upload
  const SPEED_OVER = 4000; // ms
  const RECORD = "upload ";
  const BUTTONS = {
    waiting: ["Cancel"], sending: ["Cancel"], failed: ["Retry", "Dismiss"],
    taken: ["Replace", "Skip"], done: [],
  };
  const WORDS = {
    400: "The server did not understand this upload.",
    403: "The server does not allow this.",
    404: "A file cannot have this name here.",
    405: "Files here can only be read.",
    408: "The connection was too slow.",
    409: "This name belongs to something other than a file, or the directory is gone.",
    413: "This file is larger than the server accepts.",
    414: "This name is longer than the server allows.",
    503: "The server is busy.",
    507: "There is no room left on the server.",
  };
  const can = new Set(document.body.dataset.can.split(" "));

  class Failure extends Error {} // its message is shown to the user
  class Later extends Error {} // trying again may help
  class Taken extends Error {} // a file of this name exists
  class Stopped extends Error {} // cancelled

  // --- small things ---------------------------------------------------------------------------

  const make = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };

  const amount = (bytes) => {
    if (bytes < 1000) return `${bytes}\u00a0B`;
    const units = [..."kMGTP"];
    let value = bytes / 1000;
    while (value >= 999.5 && units.length > 1) { value /= 1000; units.shift(); }
    return `${value.toFixed(value < 9.95 ? 1 : 0)}\u00a0${units[0]}B`;
  };

  const duration = (seconds) =>
    seconds < 90 ? `${Math.ceil(seconds)}\u00a0s` :
    seconds < 5400 ? `${Math.round(seconds / 60)}\u00a0min` : `${Math.round(seconds / 3600)}\u00a0h`;

  const wordsFor = (response) => {
    const most = /max-size=(\d+)/.exec(response.getResponseHeader("Upload-Limit"));
    if (response.status === 413 && most) return `The server accepts at most ${amount(+most[1])}.`;
    // Only the operator can mend this, so the page shows the sentence that names the option.
    if (response.responseText.includes("--trusted-origins")) return response.responseText.trim();
    return WORDS[response.status] ?? `The server's response was ${response.status}.`;
  };

  const said = make("p", {id: "said", role: "status"});
  let silence = 0;
  const say = (words, seen = true) => { // for screen readers, and on the page if `seen`
    said.textContent = words;
    said.className = seen ? "" : "unseen";
    clearTimeout(silence);
    silence = setTimeout(() => { said.textContent = ""; }, 6000);
  };

  // Addresses of partial uploads. A browser may refuse to store them: then a reload starts anew.
  const records = {
    get(key) {
      try { return JSON.parse(localStorage.getItem(RECORD + key))?.place ?? null; } catch { return null; }
    },
    set(key, place) {
      try { localStorage.setItem(RECORD + key, JSON.stringify({place, since: Date.now()})); } catch {}
    },
    remove(key) {
      try { localStorage.removeItem(RECORD + key); } catch {}
    },
    sweep() {
      try {
        for (const key of Object.keys(localStorage).filter((one) => one.startsWith(RECORD))) {
          if (JSON.parse(localStorage.getItem(key)).since < Date.now() - KEPT) localStorage.removeItem(key);
        }
      } catch {}
    },
  };

  // --- one upload -----------------------------------------------------------------------------

  class Upload {
    constructor(file) {
      this.file = file;
      this.name = file.name;
      this.replaces = false;
      this.samples = []; // [time, bytes], for the speed
      this.row = make("li", {},
        make("b", {textContent: this.name}),
        this.buttons = make("div", {}),
        this.words = make("p", {}),
        this.bar = make("progress", {max: 1, value: 0, ariaLabel: this.name}));
      this.enter("waiting", "Waiting");
    }

    enter(state, words) {
      this.state = state;
      this.words.textContent = words;
      this.row.className = {failed: "wrong", taken: "wrong", done: "done"}[state] ?? "";
      this.buttons.replaceChildren(...BUTTONS[state].map((label) => {
        const button = make("button", {type: "button", textContent: label, ariaLabel: `${label}: ${this.name}`});
        button.onclick = () => this[label.toLowerCase()]();
        return button;
      }));
    }

    retry() { queue(this); }
    replace() { this.replaces = true; queue(this); }
    dismiss() { this.discard(); }
    skip() { this.discard(); }

    cancel() {
      this.stopper?.abort();
      this.discard();
    }

    // Remove the row, and the upload from the server, where it would take room until it is evicted.
    discard() {
      const place = this.place ?? records.get(this.key ?? "");
      if (place) fetch(place, {method: "DELETE", keepalive: true}).catch(() => {});
      this.forget();
      this.state = "done"; // `next` skips it in the queue
      this.row.remove();
    }

    async run() {
      this.enter("sending", "Beginning");
      this.stopper = new AbortController();
      try {
        this.url = new URL(`./${encodeURIComponent(this.name)}`, location.href).href;
        this.key = `${this.url} ${this.file.size} ${this.file.lastModified}`;
        await (can.has("resumable") ? this.sendResumably() : this.sendWhole());
        this.bar.value = 1;
        this.enter("done", `Uploaded, ${amount(this.file.size)}`);
        say(`${this.name} is uploaded.`, false);
        setTimeout(() => this.row.remove(), 6000);
        refreshSoon();
      } catch (error) {
        if (error instanceof Stopped) return;
        if (error instanceof Taken) {
          this.enter("taken", "There is a file of this name already.");
        } else {
          const known = error instanceof Failure || error instanceof Later;
          this.enter("failed", known ? error.message : "This file could not be read.");
        }
        say(`${this.name}: ${this.words.textContent}`, false);
      }
    }

    conditions() { return this.replaces ? {} : {"If-None-Match": "*"}; }

    async sendWhole() {
      const response = await this.ask("PUT", this.url, this.conditions(), this.file, 0);
      if (response.status >= 300) throw this.problem(response);
    }

    async sendResumably() {
      this.place = records.get(this.key);
      let offset = null; // null: ask the server
      let begun = 0; // resources created without progress
      let corrected = false;
      let pause = 1000;
      for (;;) {
        try {
          if (this.place === null) {
            if (begun++ > 3) throw new Failure("The server lost this upload again and again.");
            this.place = await this.create();
            if (this.place === null) return await this.sendWhole();
            offset = 0;
          }
          offset ??= await this.askOffset();
          if (typeof offset === "number") offset = await this.append(offset);
          if (offset === "done") break;
          if (offset === "gone") {
            this.forget();
            offset = null;
          } else if (corrected) {
            throw new Later("The server has another part of this file.");
          }
          corrected = offset !== null;
        } catch (error) {
          if (!(error instanceof Later)) throw error;
          if (this.sent > 0) pause = 1000;
          offset = null;
          corrected = false;
          this.words.textContent = `${error.message} Trying again in ${duration(pause / 1000)}.`;
          await this.rest(pause);
          pause = Math.min(2 * pause, LONGEST_PAUSE);
        }
      }
      this.forget();
    }

    // The address of a new resource for the bytes; null where the server creates none: uploading the
    // whole file may be allowed, or have room, all the same.
    async create() {
      const fields = {"Upload-Complete": "?0", "Upload-Length": String(this.file.size)};
      const response = await this.ask("PUT", this.url, {...fields, ...this.conditions()}, null, 0);
      const location = response.getResponseHeader("Location");
      if (response.status === 403 || response.status === 507) return null;
      if (response.status !== 201 || !location) throw this.problem(response);
      const place = new URL(location, this.url).href;
      records.set(this.key, place);
      return place;
    }

    // The number of bytes that the server has, "done" or "gone".
    async askOffset() {
      const response = await this.ask("HEAD", this.place, {}, null, 0);
      if (response.status === 404) return "gone";
      if (response.status >= 300) throw this.problem(response);
      if (response.getResponseHeader("Upload-Complete") === "?1") return "done";
      const length = response.getResponseHeader("Upload-Length");
      if (length !== null && +length !== this.file.size) return "gone";
      return Number(response.getResponseHeader("Upload-Offset"));
    }

    // Send the rest; returns "done", "gone", or the offset that the server reports. (A browser may
    // have sent the request again on a new connection, after a part of it had arrived.)
    async append(offset) {
      const fields = {
        "Content-Type": "application/partial-upload", "Upload-Offset": String(offset), "Upload-Complete": "?1",
      };
      const response = await this.ask("PATCH", this.place, fields, this.file.slice(offset), offset);
      const complete = response.getResponseHeader("Upload-Complete") === "?1";
      if (complete && response.status < 300) return "done";
      if (!complete && response.status === 404) return "gone";
      if (!complete && response.status === 409) {
        const right = response.getResponseHeader("Upload-Offset");
        if (right === null) throw new Failure("Another page sends this file.");
        return Number(right);
      }
      if (complete) this.forget();
      throw this.problem(response);
    }

    forget() {
      records.remove(this.key ?? "");
      this.place = null;
    }

    problem(response) {
      if (response.status === 412 && !this.replaces) return new Taken();
      const words = wordsFor(response);
      return [408, 502, 503, 504].includes(response.status) ? new Later(words) : new Failure(words);
    }

    // Send one request, whose body begins at `offset` of the file, and return the response.
    ask(method, url, fields, body, offset) {
      this.sent = 0;
      this.samples = [];
      return new Promise((resolve, reject) => {
        const xhr = new XMLHttpRequest();
        const stop = () => xhr.abort();
        this.stopper.signal.addEventListener("abort", stop);
        xhr.onloadend = () => this.stopper.signal.removeEventListener("abort", stop);
        xhr.onload = () => resolve(xhr);
        xhr.onerror = () => reject(new Later("The connection broke off."));
        xhr.onabort = () => reject(new Stopped());
        if (body) xhr.upload.onprogress = (event) => this.show(offset, event.loaded);
        xhr.open(method, url);
        for (const [name, value] of Object.entries(fields)) xhr.setRequestHeader(name, value);
        if (this.stopper.signal.aborted) reject(new Stopped());
        else xhr.send(body);
      });
    }

    rest(pause) {
      return new Promise((resolve, reject) => {
        const signal = this.stopper.signal;
        const end = () => {
          clearTimeout(timer);
          removeEventListener("online", end);
          signal.removeEventListener("abort", end);
          if (signal.aborted) reject(new Stopped());
          else resolve();
        };
        const timer = setTimeout(end, pause * (0.8 + 0.4 * Math.random())); // not all at once
        addEventListener("online", end);
        signal.addEventListener("abort", end);
      });
    }

    show(offset, sent) {
      const now = performance.now();
      this.sent = sent;
      this.samples.push([now, sent]);
      while (this.samples[0][0] < now - SPEED_OVER && this.samples.length > 2) this.samples.shift();
      const [since, from] = this.samples[0];
      const speed = now > since ? 1000 * (sent - from) / (now - since) : 0;
      const all = this.file.size;
      const have = Math.min(all, offset + sent);
      this.bar.value = all ? have / all : 1;
      const parts = [`${amount(have)} of ${amount(all)}`];
      if (speed > 0 && have < all) {
        parts.push(`${amount(Math.round(speed))}/s`, `${duration((all - have) / speed)}\u00a0left`);
      } else if (have === all) {
        parts.push("being stored");
      }
      this.words.textContent = parts.join(" · ");
    }
  }

  // --- the queue ------------------------------------------------------------------------------

  const waiting = [];
  let running = 0;
  const list = make("ul", {id: "uploads", ariaLabel: "Uploads"});

  const queue = (upload) => {
    upload.enter("waiting", "Waiting");
    waiting.push(upload);
    next();
  };

  const next = () => {
    while (running < AT_ONCE && waiting.length) {
      const upload = waiting.shift();
      if (upload.state !== "waiting") continue;
      running += 1;
      upload.run().finally(() => { running -= 1; next(); });
    }
  };

  const add = (files) => {
    for (const file of files) {
      const upload = new Upload(file);
      list.append(upload.row);
      queue(upload);
    }
  };

  // --- the directory's entries -------------------------------------------------------------------

  // Fetch the page again: not while it is being fetched, and less often where that takes long.
  let due = 0;
  let took = 0;
  const refreshSoon = () => {
    if (!due) due = setTimeout(refresh, Math.max(300, 10 * took));
  };

  const refresh = async () => {
    const since = performance.now();
    try {
      const response = await fetch(location.href, {headers: {Accept: "text/html"}, cache: "no-cache"});
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (!response.ok || !page.getElementById("list")) return;
      const focused = document.activeElement.closest("#list a")?.getAttribute("href");
      for (const id of ["sum", "list"]) document.getElementById(id).replaceWith(page.getElementById(id));
      offerDeletes();
      const links = [...document.querySelectorAll("#list a")];
      if (focused) links.find((link) => link.getAttribute("href") === focused)?.focus();
    } catch {
      // The page stays as it was; the next upload, or a reload, brings the new one.
    } finally {
      took = performance.now() - since;
      due = 0;
    }
  };

  const offerDeletes = () => {
    if (!can.has("deletes")) return;
    for (const link of document.querySelectorAll("#list tbody tr:not(.directory) td:first-child > a")) {
      const ariaLabel = `Delete ${link.textContent}`;
      link.after(make("button", {type: "button", className: "delete", textContent: "×", ariaLabel}));
    }
  };

  const deleteBehind = async (button) => {
    const row = button.closest("tr");
    const link = row.querySelector("a");
    if (!confirm(`Delete “${link.textContent}”? It cannot be brought back.`)) return;
    button.disabled = true;
    try {
      const response = await fetch(link.href, {method: "DELETE"});
      if (response.ok || response.status === 404) {
        row.remove();
        say(`${link.textContent} is deleted.`);
        refreshSoon();
        return;
      }
      say(`${link.textContent} is still there. ${WORDS[response.status] ?? `The response was ${response.status}.`}`);
    } catch {
      say(`${link.textContent} is still there: the server did not respond.`);
    }
    button.disabled = false;
  };

  // --- events ---------------------------------------------------------------------------------

  const listen = () => {
    const form = document.getElementById("upload");
    const input = form.querySelector("input");
    form.after(list);
    form.onsubmit = (event) => event.preventDefault();
    input.onchange = () => { add([...input.files]); input.value = ""; };
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
      const items = [...(event.dataTransfer?.items ?? [])].filter((item) => item.kind === "file");
      const [directories, files] = [true, false].map((is) =>
        items.filter((item) => Boolean(item.webkitGetAsEntry?.()?.isDirectory) === is));
      if (directories.length) say("Directories cannot be uploaded, only the files in them.");
      add(files.map((item) => item.getAsFile()).filter(Boolean));
    });
    records.sweep();
  };

  document.body.classList.add("js");
  document.body.append(said);
  addEventListener("click", (event) => {
    const button = event.target.closest?.(".delete");
    if (button) deleteBehind(button);
  });
  if (can.has("uploads")) listen();
  offerDeletes();
})();
