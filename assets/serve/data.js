// What the server says: answers, and what changes as it changes.

/** Asks the server. Errors carry what it said. */
export async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (options?.signal?.aborted) throw error;
    throw new Error("The server does not answer. Is `orchestrator serve` still running?");
  }
  let body = null;
  try {
    body = await response.json();
  } catch {
    // An answer that is no JSON is described by its status.
  }
  if (!response.ok) throw new Error(body?.error ?? `The server answered with status ${response.status}.`);
  return body;
}

export function path(...parts) {
  return "/api/" + parts.map(encodeURIComponent).join("/");
}

// --- what changes ------------------------------------------------------------------------------

/** Those who want to know: { place, version(), changed(message), stale(), beat(message) or none }. */
const watchers = new Set();
let onLive = () => {};
let since = null;
let lastBeat = 0;

/** Watches for changes until the returned function is called. */
export function watch(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/** Begins to listen; `tell(state)` is told "live" or "lost". */
export function listen(tell) {
  onLive = tell;
  connect();
  setInterval(() => {
    if (lastBeat && Date.now() - lastBeat > 4500) onLive("lost");
  }, 1000);
}

function connect() {
  const source = new EventSource("/api/events");
  source.onmessage = event => take(JSON.parse(event.data));
  source.onerror = () => {
    onLive("lost");
    // A browser tries again by itself, unless the answer was an error.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  };
}

function take(message) {
  if (message.kind === "changed") {
    for (const watcher of [...watchers]) {
      if (watcher.place !== message.place) continue;
      if (watcher.version() === message.to) continue;
      if (message.planned || watcher.version() !== message.from) watcher.stale();
      else watcher.changed(message);
    }
    return;
  }
  const restarted = since !== null && since !== message.since;
  since = message.since;
  lastBeat = Date.now();
  onLive("live");
  for (const watcher of [...watchers]) {
    watcher.beat?.(message);
    const known = watcher.place === null ? watcher.version(message.versions) : message.versions[watcher.place];
    if (restarted || (known !== undefined && known !== watcher.version())) watcher.stale();
  }
}

// --- experiments -------------------------------------------------------------------------------

let held = null;

/** An experiment with its runs, kept up to date while somebody looks. */
export class Experiment {
  /** Finds the one that was looked at last, or a new one. */
  static of(place, name) {
    if (held?.place !== place || held?.name !== name) held = new Experiment(place, name);
    return held;
  }

  constructor(place, name) {
    Object.assign(this, { place, name, runs: null, byId: new Map(), axes: [], selected: new Set(), fits: {} });
    this.seen = undefined;
    this.loading = null;
    this.askedFit = null;
    // Whether an orchestrator works on it; null before that is known.
    this.atWork = null;
  }

  /** Loads it; once at a time. */
  load() {
    this.loading ??= this.#load().finally(() => { this.loading = null; });
    return this.loading;
  }

  /** Asks for the newest stored fit, once for all who ask meanwhile. */
  storedFit() {
    this.askedFit ??= ask(path("experiments", this.place, this.name, "fit")).finally(() => { this.askedFit = null; });
    return this.askedFit;
  }

  async #load() {
    const answer = await ask(path("experiments", this.place, this.name));
    const { axes, ...columns } = answer.runs;
    const names = Object.keys(columns);
    const axisNames = Object.keys(axes);
    const runs = columns.id.map((_, i) => {
      const run = { axes: {} };
      for (const name of names) run[name] = columns[name][i];
      for (const name of axisNames) if (axes[name][i] !== null) run.axes[name] = axes[name][i];
      return run;
    });
    this.seen = answer.version;
    this.runs = runs;
    this.axes = axisNames;
    this.allowsChanges = answer.allows_changes;
    this.config = answer.config;
    this.imported = answer.imported;
    this.removed = answer.removed;
    this.claims = answer.claims;
    this.byId = new Map(runs.map(run => [run.id, run]));
  }

  /** Calls `tell(changed ids or null for all)` as it changes, until the returned function is called. */
  follow(tell) {
    return watch({
      place: this.place,
      version: () => this.seen,
      stale: async () => {
        if (this.loading) return;
        try {
          await this.load();
        } catch {
          return; // The next beat tries again.
        }
        tell(null);
      },
      changed: message => {
        const changed = new Set();
        for (const row of message.runs) {
          const run = this.byId.get(row.id);
          if (!run) continue;
          Object.assign(run, row);
          changed.add(row.id);
        }
        this.seen = message.to;
        if (changed.size) tell(changed);
      },
      beat: message => {
        const atWork = message.at_work.includes(this.place);
        if (atWork === this.atWork) return;
        this.atWork = atWork;
        tell(new Set());
      },
    });
  }
}
