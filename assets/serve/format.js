// Numbers, states and times as they are written and coloured.

export const MISSING = "–";

const SUFFIXES = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]];

/** 1.25B, 640K: counts of parameters and tokens. */
export function count(value) {
  if (value === null || value === undefined) return MISSING;
  for (const [size, suffix] of SUFFIXES) {
    if (Math.abs(value) >= size * 0.9995) return trim((value / size).toPrecision(3)) + suffix;
  }
  return trim(Number(value).toPrecision(3));
}

/** 1.20e15: FLOPs. */
export function power(value) {
  return value === null || value === undefined ? MISSING : value === 0 ? "0"
    : value.toExponential(2).replace("e+", "e");
}

/** With so many decimals. */
export function fixed(decimals) {
  return value => value === null || value === undefined || !Number.isFinite(value) ? MISSING
    : value.toFixed(decimals).replace(/^-(?=[0.]*$)/, "").replace("-", "−");
}

/** Three significant digits, whatever the size. */
export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return MISSING;
  const size = Math.abs(value);
  if (size === 0) return "0";
  const text = size >= 1e-3 && size < 1e4 ? trim(value.toPrecision(4)) : value.toExponential(2);
  return text.replace("e+", "e").replaceAll("-", "−");
}

/** 31%: a share. */
export function percent(value) {
  return `${(100 * value).toFixed(0)}%`;
}

function trim(text) {
  return text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text;
}

/** Date and time here, from seconds since the epoch. */
export function time(seconds) {
  if (!seconds) return MISSING;
  const at = new Date(1000 * seconds);
  const two = n => String(n).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `
    + `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** 1 h 4 min, 12.3 s. */
export function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A number as experiment files write it: 0.1M, 20e6, 3. Not a number: NaN. */
export function written(text) {
  const match = /^\s*([-+]?[\d.]+(?:e[-+]?\d+)?)\s*([KMBT]?)\s*$/i.exec(String(text));
  if (!match) return NaN;
  const size = { "": 1, K: 1e3, M: 1e6, B: 1e9, T: 1e12 }[match[2].toUpperCase()];
  return Number(match[1]) * size;
}

/** Sorts values as written: numbers by size, then text. */
export function byValue(a, b) {
  const [x, y] = [written(a), written(b)];
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
  return String(a).localeCompare(String(b));
}

/** Where a run stands, in one word; the sign stands beside every colour. */
export const STATES = {
  finished: { sign: "✓", text: "finished" },
  running: { sign: "▶", text: "running" },
  pending: { sign: "○", text: "pending" },
  waiting: { sign: "◌", text: "waiting for a failed run" },
  diverged: { sign: "↗", text: "diverged" },
  failed: { sign: "✕", text: "failed" },
  cancelled: { sign: "–", text: "cancelled" },
};

export function status(run) {
  if (run.state === "running") return "running";
  if (run.state === "pending") return run.waits_for ? "waiting" : "pending";
  if (run.outcome === "finished" || run.outcome === "diverged" || run.outcome === "cancelled") return run.outcome;
  return "failed";
}

/** The whole truth about a state, in words. */
export function described(run) {
  const name = status(run);
  const outcome = run.outcome?.replaceAll("_", " ");
  if (name === "failed") return `failed: ${outcome}`;
  if (name === "waiting") return `waits for ${run.waits_for}, which failed`;
  if (name === "pending" && outcome) return `pending; last attempt: ${outcome}`;
  return name;
}

const AXES = {
  params: "N", tokens: "D", concept_share: "P", compression_ratio: "declared R", flops: "C",
  learning_rate: "learning rate",
};

/** An axis as the field writes it. */
export function axis(name) {
  return AXES[name] ? `${AXES[name]} (${name})` : name;
}
export function brief(name) {
  return AXES[name] ?? name;
}

// Viridis at nine places: perceptually even, and even in grey.
const VIRIDIS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129],
  [92, 200, 99], [170, 220, 50], [253, 231, 37]];

/** A colour for a share of a range, and that of text on it. */
export function viridis(share) {
  const at = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const rgb = VIRIDIS[low].map((c, i) => Math.round(c + (VIRIDIS[low + 1][i] - c) * (at - low)));
  const linear = rgb.map(c => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return { fill: `rgb(${rgb.join(",")})`, text: light > 0.18 ? "#000" : "#fff" };
}

export function viridisGradient() {
  return `linear-gradient(90deg, ${VIRIDIS.map(rgb => `rgb(${rgb.join(",")})`).join(", ")})`;
}
