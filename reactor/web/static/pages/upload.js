
// One upload. Its states are:
//   waiting -> sending -> done, failed (Retry), taken (Replace), or gone (cancelled, dismissed)
// Where the server can resume uploads, a resource is created first and the bytes are appended to it
// (draft-ietf-httpbis-resumable-upload-11). After an interruption the server says how much it has.

const LONGEST_PAUSE = 30000; // ms, between attempts
const SPEED_OVER = 4000; // ms
const RECORD = "upload ";
const RECORDS = 20; // at most; the oldest is dropped
const KEPT = 86400; // s, unless the server says how long it keeps a partial upload

class Failure extends Error {} // its message is shown to the user
class Later extends Error {} // trying again may help
class Taken extends Error {} // a file of this name exists
class Stopped extends Error {} // cancelled

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

// The bytes per second of the last seconds.
class Speed {
  samples = []; // [time, bytes]

  add(bytes) {
    const now = performance.now();
    this.samples.push([now, bytes]);
    while (this.samples[0][0] < now - SPEED_OVER && this.samples.length > 2) this.samples.shift();
    const [since, from] = this.samples[0];
    return now > since ? 1000 * (bytes - from) / (now - since) : 0;
  }
}

const rateWords = (speed, left) =>
  speed > 0 && left > 0 ? [`${amount(Math.round(speed))}/s`, `${duration(left / speed)}\u00a0left`] : [];

// What the browser keeps of uploads that are not finished: where they are, and by what the same file
// is known again (its address, size and date), never its content. A browser may refuse to store it:
// then a reload starts anew.
const records = {
  all() {
    const found = [];
    try {
      for (const key of Object.keys(localStorage).filter((one) => one.startsWith(RECORD))) {
        let record = null;
        try { record = JSON.parse(localStorage.getItem(key)); } catch {}
        if (record?.until > Date.now()) found.push({...record, key: key.slice(RECORD.length)});
        else localStorage.removeItem(key);
      }
    } catch {}
    return found.sort((one, other) => other.until - one.until);
  },
  get(key) {
    try { return JSON.parse(localStorage.getItem(RECORD + key))?.place ?? null; } catch { return null; }
  },
  set(upload, age) {
    const {file, path, place} = upload;
    const record = {page: PAGE, path, size: file.size, date: file.lastModified, place};
    try {
      for (const old of this.all().slice(RECORDS - 1)) this.remove(old.key);
      localStorage.setItem(RECORD + upload.key, JSON.stringify({...record, until: Date.now() + 1000 * age}));
    } catch {}
  },
  remove(key) {
    try { localStorage.removeItem(RECORD + key); } catch {}
  },
};

const PAGE = location.origin + location.pathname; // whose directory takes the uploads

const addressOf = (path) =>
  new URL(`./${(path.toWellFormed?.() ?? path).split("/").map(encodeURIComponent).join("/")}`, PAGE).href;

class Upload {
  have = 0; // bytes that the server has, or that are on their way
  pausing = ""; // why it waits before it tries again
  replaces = false;

  // `path` is that of the file below the page's directory, `changed` is called after each change.
  constructor(file, path, changed) {
    Object.assign(this, {file, path, changed});
    this.url = addressOf(path);
    this.key = `${this.url} ${file.size} ${file.lastModified}`;
    this.state = "waiting";
    this.words = "Waiting";
  }

  enter(state, words) {
    const before = this.state;
    this.state = state;
    this.words = words;
    this.pausing = "";
    this.changed(this, before);
  }

  note(words) {
    this.words = words;
    this.changed(this, this.state);
  }

  // Remove the upload from the server as well, where it would take room until it is evicted.
  discard() {
    this.stopper?.abort();
    const place = this.place ?? records.get(this.key);
    if (place) fetch(place, {method: "DELETE", keepalive: true}).catch(() => {});
    this.forget();
    this.enter("gone", "");
  }

  async run() {
    this.have = 0;
    this.stopper = new AbortController();
    this.enter("sending", "Beginning");
    try {
      await (can.has("resumable") ? this.sendResumably() : this.sendWhole());
      this.have = this.file.size;
      this.enter("done", `Uploaded, ${amount(this.file.size)}`);
    } catch (error) {
      if (error instanceof Stopped || this.state === "gone") return;
      if (error instanceof Taken) {
        this.enter("taken", "There is a file of this name already.");
      } else {
        const known = error instanceof Failure || error instanceof Later;
        this.enter("failed", known ? error.message : "This file could not be read.");
      }
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
        await this.file.slice(0, 1).arrayBuffer(); // fails where the file has changed, or is gone
        if (this.sent > 0) pause = 1000;
        offset = null;
        corrected = false;
        this.pausing = `${error.message} Trying again in ${duration(pause / 1000)}.`;
        this.note(this.pausing);
        await this.rest(pause);
        this.pausing = "";
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
    this.place = new URL(location, this.url).href;
    this.keep(response);
    return this.place;
  }

  // The number of bytes that the server has, "done" or "gone".
  async askOffset() {
    const response = await this.ask("HEAD", this.place, {}, null, 0);
    if (response.status === 404) return "gone";
    if (response.status >= 300) throw this.problem(response);
    if (response.getResponseHeader("Upload-Complete") === "?1") return "done";
    const length = response.getResponseHeader("Upload-Length");
    if (length !== null && +length !== this.file.size) return "gone";
    this.keep(response);
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

  // Note the upload for the time that the server keeps it from now on.
  keep(response) {
    this.age = Number(/max-age=(\d+)/.exec(response.getResponseHeader("Upload-Limit"))?.[1] ?? KEPT);
    this.kept = performance.now();
    records.set(this, this.age);
  }

  forget() {
    records.remove(this.key);
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
    const speed = new Speed();
    return new Promise((resolve, reject) => {
      const xhr = new XMLHttpRequest();
      const stop = () => xhr.abort();
      this.stopper.signal.addEventListener("abort", stop);
      xhr.onloadend = () => this.stopper.signal.removeEventListener("abort", stop);
      xhr.onload = () => resolve(xhr);
      xhr.onerror = () => reject(new Later("The connection broke off."));
      xhr.onabort = () => reject(new Stopped());
      if (body) xhr.upload.onprogress = (event) => this.show(offset, event.loaded, speed);
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
      if (signal.aborted) reject(new Stopped());
      const timer = setTimeout(end, pause * (0.8 + 0.4 * Math.random())); // not all at once
      addEventListener("online", end);
      signal.addEventListener("abort", end);
    });
  }

  show(offset, sent, speed) {
    const all = this.file.size;
    this.sent = sent;
    this.have = Math.min(all, offset + sent);
    if (this.place && performance.now() > this.kept + 60000) {
      this.kept = performance.now();
      records.set(this, this.age);
    }
    const rate = this.have < all ? rateWords(speed.add(sent), all - this.have) : ["being stored"];
    this.note([`${amount(this.have)} of ${amount(all)}`, ...rate].join(" · "));
  }
}
