// A self-organizing map that trains in the browser. The arithmetic and the run (its schedule, its history, its way back)
// come first and are exported, so that tests can hold them to Python's; what is drawn stands below.

const SETTINGS = ['mode', 'rate', 'end_rate', 'radius', 'end_radius', 'steps', 'decay', 'neighbourhood', 'topology', 'shape'];

// Number t of the stream that belongs to a seed (mulberry32 by its counter): no state, so every step can be run again.
export function random(seed, t) {
  let a = (Math.imul(seed + 1, 0x9E3779B9) + Math.imul(t + 1, 0x6D2B79F5)) | 0;
  a = Math.imul(a ^ a >>> 15, a | 1);
  a ^= a + Math.imul(a ^ a >>> 7, a | 61);
  return ((a ^ a >>> 14) >>> 0) / 4294967296;
}

export function unpack({values, type, scale, n, features}) {
  const text = atob(values), bytes = Uint8Array.from(text, c => c.charCodeAt(0));
  const X = Float64Array.from(type === 'u8' ? bytes : new Float32Array(bytes.buffer));
  if (scale !== 1) for (let i = 0; i < X.length; i++) X[i] /= scale;
  return {X, n, F: features};
}

// Where the units lie on the lattice: (row, column), or staggered rows √3/2 apart, so that six neighbours are at distance 1.
export function positions([rows, cols], topology) {
  const P = new Float64Array(rows * cols * 2), hex = topology === 'hexagonal';
  for (let r = 0, i = 0; r < rows; r++) for (let c = 0; c < cols; c++) {
    P[i++] = hex ? r * Math.sqrt(3) / 2 : r;
    P[i++] = hex ? c + 0.5 * (r % 2) : c;
  }
  return P;
}
export const apart = (P, a, b) => (P[2 * a] - P[2 * b]) ** 2 + (P[2 * a + 1] - P[2 * b + 1]) ** 2;

// h of a unit at squared lattice distance d2 from the winner.
export function hood(kind, d2, radius) {
  if (kind === 'bubble') return d2 <= radius * radius + 1e-9 ? 1 : 0;
  const z = d2 / (radius * radius);
  return kind === 'mexican_hat' ? (1 - z) * Math.exp(-z / 2) : Math.exp(-z / 2);
}

// The value at step t of a schedule that goes from a to b in T steps.
export function schedule(decay, a, b, t, T) {
  const f = Math.min(t / Math.max(T - 1, 1), 1);
  if (decay === 'constant') return a;
  return decay === 'linear' ? a + (b - a) * f : decay === 'inverse' ? a / (1 + (a / b - 1) * f) : a * (b / a) ** f;
}

function squared(W, u, x, at, F) {
  let sum = 0;
  for (let f = 0, i = u * F, j = at; f < F; f++) { const d = x[j++] - W[i++]; sum += d * d; }
  return sum;
}
// The two units nearest to the sample that begins at X[at], and their squared distances.
export function nearest(W, U, F, X, at = 0) {
  let a = 0, b = -1, da = Infinity, db = Infinity;
  for (let u = 0; u < U; u++) {
    let d = 0;
    for (let f = 0, i = u * F; f < F && d < db;) {  // a unit that is already too far is left
      const end = Math.min(f + 8, F);
      for (; f < end; f++) { const v = X[at + f] - W[i + f]; d += v * v; }
    }
    if (d < da) { b = a; db = da; a = u; da = d; } else if (d < db) { b = u; db = d; }
  }
  return [a, b, da, db];
}

// One sample: w ← w + α·h·(x − w) for every unit. Returns the winner.
export function online(W, U, F, P, X, at, rate, radius, kind) {
  const [winner] = nearest(W, U, F, X, at);
  for (let u = 0; u < U; u++) {
    const g = rate * hood(kind, apart(P, u, winner), radius);
    if (g) for (let f = 0, i = u * F, j = at; f < F; f++, i++) W[i] += g * (X[j++] - W[i]);
  }
  return winner;
}

// One pass over all samples: every unit becomes the mean of the samples, weighted by h between it and their winners.
export function batch(W, U, F, P, X, n, radius, kind) {
  const count = new Float64Array(U), sum = new Float64Array(U * F);
  for (let i = 0; i < n; i++) {
    const [b] = nearest(W, U, F, X, i * F);
    count[b]++;
    for (let f = 0; f < F; f++) sum[b * F + f] += X[i * F + f];
  }
  const row = new Float64Array(F);
  for (let u = 0; u < U; u++) {
    let total = 0;
    row.fill(0);
    for (let b = 0; b < U; b++) if (count[b]) {
      const g = hood(kind, apart(P, u, b), radius);
      if (!g) continue;
      total += g * count[b];
      for (let f = 0; f < F; f++) row[f] += g * sum[b * F + f];
    }
    if (total > 1e-12) for (let f = 0; f < F; f++) W[u * F + f] = row[f] / total;
  }
  return count;
}

// Quantization error: the mean distance of a sample to its winner. Topographic error: the share of samples whose two
// nearest units are not neighbours on the lattice. Over m of the n samples, evenly chosen.
export function errors(W, U, F, P, X, n, topology, m = n) {
  let q = 0, e = 0;
  for (let j = 0; j < m; j++) {
    const [a, b, d] = nearest(W, U, F, X, Math.floor(j * n / m) * F);
    q += Math.sqrt(d);
    if (b >= 0 && !adjacent(P, a, b, topology)) e++;
  }
  return [q / m, e / m];
}
// Neighbours: 8 on a rectangular lattice, where diagonals count, and 6 on a hexagonal one.
export const adjacent = (P, a, b, topology) => topology === 'hexagonal' ? apart(P, a, b) < 1.44
  : Math.max(Math.abs(P[2 * a] - P[2 * b]), Math.abs(P[2 * a + 1] - P[2 * b + 1])) < 1.2;

// The pairs of neighbours, and each unit's mean distance to its neighbours in data space.
export function neighbours(U, P, topology) {
  const pairs = [];
  for (let a = 0; a < U; a++) for (let b = a + 1; b < U; b++) if (adjacent(P, a, b, topology)) pairs.push(a, b);
  return Int32Array.from(pairs);
}
export function umatrix(W, U, F, pairs) {
  const sum = new Float64Array(U), count = new Float64Array(U);
  for (let i = 0; i < pairs.length; i += 2) {
    const a = pairs[i], b = pairs[i + 1], d = Math.sqrt(squared(W, a, W, b * F, F));
    sum[a] += d; sum[b] += d; count[a]++; count[b]++;
  }
  return sum.map((v, u) => v / (count[u] || 1));
}

// A lattice of another size that keeps what the map has learned: linear between the old units. Rows or columns that
// would be equal are told apart by a hair, or they would stay equal for ever.
export function resize(W, F, [r0, c0], [r1, c1], seed = 0) {
  const out = new Float64Array(r1 * c1 * F), place = (i, from, to) => from === 1 ? 0 : to === 1 ? (from - 1) / 2 : i * (from - 1) / (to - 1);
  for (let r = 0; r < r1; r++) for (let c = 0; c < c1; c++) {
    const y = place(r, r0, r1), x = place(c, c0, c1), y0 = Math.min(Math.floor(y), Math.max(r0 - 2, 0)), x0 = Math.min(Math.floor(x), Math.max(c0 - 2, 0));
    const y1 = Math.min(y0 + 1, r0 - 1), x1 = Math.min(x0 + 1, c0 - 1), fy = y - y0, fx = x - x0, u = r * c1 + c;
    for (let f = 0; f < F; f++) {
      const at = (a, b) => W[(a * c0 + b) * F + f];
      out[u * F + f] = (1 - fy) * ((1 - fx) * at(y0, x0) + fx * at(y0, x1)) + fy * ((1 - fx) * at(y1, x0) + fx * at(y1, x1));
      if (r0 === 1 && r1 > 1 || c0 === 1 && c1 > 1) out[u * F + f] += 1e-3 * (random(seed + 11, u * F + f) - 0.5);
    }
  }
  return out;
}

// A small random cloud at the middle of the data.
export function crumpled(X, n, F, U, seed) {
  const W = new Float64Array(U * F);
  for (let f = 0; f < F; f++) {
    let lo = Infinity, hi = -Infinity, mean = 0;
    for (let i = 0; i < n; i++) { const v = X[i * F + f]; lo = Math.min(lo, v); hi = Math.max(hi, v); mean += v / n; }
    for (let u = 0; u < U; u++) W[u * F + f] = mean + 0.2 * (hi - lo) * (random(seed + 7919, u * F + f) - 0.5);
  }
  return W;
}

// A run: the data, a start and a history [[step, {setting: value}], ...]. It goes to any step, forward by training and
// back by a stored map and training again, always to the same numbers. change() writes the history on from the present step.
export class Run {
  constructor({X, n, F}, seed, history, start = null) {
    Object.assign(this, {X, n, F, seed, start});
    this.replay(history);
  }
  replay(history) {
    this.history = history.map(([t, v]) => [t, {...v}]);
    this.maps = new Map();
    this.curve = [];
    this.settings = {...this.history[0][1]};
    const [rows, cols] = this.settings.shape;
    this.W = this.start ? Float64Array.from(this.start) : crumpled(this.X, this.n, this.F, rows * cols, this.seed);
    this.t = 0;
    this.lay();
    this.keep();
    this.record();
  }
  lay() {
    const {shape, topology} = this.settings;
    this.U = shape[0] * shape[1];
    this.P = positions(shape, topology);
    this.pairs = neighbours(this.U, this.P, topology);
    this.lines = this.pairs.filter((_, i) => apart(this.P, this.pairs[i & ~1], this.pairs[i | 1]) < 1.1);
  }
  every() { return this.settings.mode === 'batch' || this.settings.steps <= 200 ? 1 : 10; }
  stride() { return Math.max(20, Math.ceil(this.settings.steps * this.U * this.F / 2e6)); }
  keep() { this.maps.set(this.t, [this.W.slice(), this.settings]); }
  some() { return Math.max(1, Math.min(this.n, Math.floor(2e6 / (this.U * this.F)))); }
  errors() { return errors(this.W, this.U, this.F, this.P, this.X, this.n, this.settings.topology, this.some()); }
  record() {
    if (this.t % this.every() || this.curve.at(-1)?.[0] >= this.t) return;
    this.curve.push([this.t, ...this.errors(), ...this.now()]);
  }
  apply(values) {
    const old = this.settings;
    this.settings = {...old, ...values};
    const {shape, topology} = this.settings;
    if (String(shape) !== String(old.shape)) this.W = resize(this.W, this.F, old.shape, shape, this.seed);
    if (String(shape) !== String(old.shape) || topology !== old.topology) this.lay();
  }
  now(t = this.t) {
    const g = this.settings;
    return [schedule(g.decay, g.rate, g.end_rate, t, g.steps), schedule(g.decay, g.radius, g.end_radius, t, g.steps)];
  }
  sample(t = this.t) { return Math.floor(random(this.seed, t) * this.n); }
  one() {
    const {W, U, F, P, X, n, settings: g} = this, [rate, radius] = this.now();
    if (g.mode === 'batch') batch(W, U, F, P, X, n, radius, g.neighbourhood);
    else online(W, U, F, P, X, this.sample() * F, rate, radius, g.neighbourhood);
    this.t++;
    for (const [t, v] of this.history) if (t === this.t) this.apply(v);
    if (this.t % this.stride() === 0 && !this.maps.has(this.t)) this.keep();
    this.record();
  }
  // Towards step t for at most so many milliseconds; true when it is there.
  go(t, budget = Infinity) {
    if (t < this.t) {
      const from = Math.max(...[...this.maps.keys()].filter(k => k <= t)), [W, settings] = this.maps.get(from), old = this.settings;
      this.W = W.slice();
      this.settings = settings;
      this.t = from;
      if (String(old.shape) !== String(settings.shape) || old.topology !== settings.topology) this.lay();
    }
    const end = performance.now() + budget;
    while (this.t < t) { this.one(); if (budget !== Infinity && performance.now() > end) break; }
    return this.t >= t;
  }
  change(values) {
    this.history = this.history.filter(([t]) => t <= this.t);
    const last = this.history.at(-1);
    if (last[0] === this.t) Object.assign(last[1], values); else this.history.push([this.t, {...values}]);
    for (const k of this.maps.keys()) if (k > this.t) this.maps.delete(k);
    this.curve = this.curve.filter(c => c[0] <= this.t);
    if (this.t === 0 && !this.start && 'shape' in values) return this.replay(this.history);
    this.apply(values);
    if (this.maps.has(this.t)) this.keep();
    if (this.curve.at(-1)?.[0] === this.t) { this.curve.pop(); this.record(); }
  }
}

// ---------------------------------------------------------------------------------------------------------- the view

const CSS = `.som-two{display:grid;grid-template-columns:1fr;gap:8px 18px}@container (min-width:600px){.som-two{grid-template-columns:1fr 1fr}}
.som-head{display:flex;flex-wrap:wrap;gap:2px 10px;justify-content:space-between;align-items:center;min-height:36px;font-size:14px}.som-head b{font-weight:600}
.som-stack{position:relative;margin:0 auto;touch-action:pan-y}.som-stack canvas{position:absolute;left:0;top:0;max-width:none!important}.som-turn{cursor:grab}
.som-scroll{overflow-x:auto}.som-grid,.som-grid [role=row]{position:absolute;left:0;top:0}.som-cell{position:absolute;cursor:pointer;border-radius:4px}
.som-key{display:flex;gap:8px;align-items:center;justify-content:center;font-size:13px;color:var(--soft);min-height:22px;margin-top:4px}.som-key i{display:inline-block;width:110px;height:12px;border-radius:3px;border:1px solid var(--line)}
.som-eq{display:grid;grid-template-columns:minmax(0,1fr);gap:2px 18px;margin-top:6px;padding:8px 10px;background:var(--panel);border-radius:8px}
.som-eq p{margin:0;font-size:14px;min-height:1.45em}.som-eq .nnv-math{padding:2px 0;overflow-x:visible}.som-eq table{margin:2px 0}.som-eq td,.som-eq th{white-space:nowrap;padding:1px 7px}.som-eq th{font-weight:600}
.som-wide{overflow-x:auto}.som-pics{display:flex;flex-wrap:wrap;gap:4px 6px;align-items:center}@container (min-width:900px){.som-eq p.som-tall{min-height:1.45em!important}}@container (max-width:420px){.som-eq{padding:8px 6px}.som-eq table{font-size:13px}.som-eq td,.som-eq th{padding:1px 3px!important}.som-eq p.som-tall{min-height:4.4em}.som-eq p{min-height:2.9em}.som-eq .nnv-math{min-height:3.4em}}.som-pics figure{margin:0;text-align:center;font-size:13px;width:72px}.som-pics canvas{width:56px;height:56px;image-rendering:pixelated;margin:0 auto;border:1px solid var(--line)}
.som-more label{min-height:28px}.som-top{margin:0 0 6px}.som-more{flex-basis:100%;font-size:14px}.som-more summary{cursor:pointer;padding:4px 0;width:fit-content;min-height:28px}.som-key span{white-space:nowrap}.som-eq p.som-tall{min-height:2.9em}`;

const VIEWS = {umatrix: 'U-matrix', neighbourhood: 'neighbourhood h', hits: 'samples won'};
const DECAYS = ['exponential', 'linear', 'inverse', 'constant'];
const HOOD = {gaussian: 'Gaussian', bubble: 'bubble', mexican_hat: 'Mexican hat'};
const FORMULA = {gaussian: (d, r) => `exp(−d²/2σ²) = exp(−${d}²/(2·${r}²))`, bubble: (d, r) => `(1 if d ≤ σ, else 0) = (${d} ≤ ${r}?)`,
  mexican_hat: (d, r) => `(1 − d²/σ²)·exp(−d²/2σ²) = (1 − ${d}²/${r}²)·exp(−${d}²/(2·${r}²))`};

function surface(canvas, width, height) {
  const ratio = Math.min(globalThis.devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = width + 'px';
  canvas.style.height = height + 'px';
  const g = canvas.getContext('2d');
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  return g;
}

function render({model, el}) {
  const w = frame(el, {name: 'Training a self-organizing map', title: 'A map unfolds over its data',
    lead: 'The unit nearest to the sample x wins; it and its neighbours on the lattice move towards x. Point at any unit to see its own numbers.'});
  w.root.prepend(h('style', {}, CSS));
  const link = shared(w, model, 'SOMTraining', {data: 'string', mode: 'string', rate: 'number', end_rate: 'number', radius: 'number', end_radius: 'number', steps: 'number',
    decay: 'string', neighbourhood: 'string', topology: 'string', shape: 'json', seed: 'number', start: 'string', view: 'string', unit: 'number', turn: 'number', tilt: 'number', history: 'json', step: 'number'});

  const get = k => model.get(k), sets = get('datasets');
  const valid = {mode: v => ['online', 'batch'].includes(v), rate: v => v > 0 && v <= 1, end_rate: v => v > 0 && v <= 1, radius: v => v > 0, end_radius: v => v > 0, steps: v => v >= 1 && v <= 20000,
    decay: v => DECAYS.includes(v), neighbourhood: v => v in HOOD, topology: v => ['rectangular', 'hexagonal'].includes(v),
    shape: v => Array.isArray(v) && v.length === 2 && v.every(x => Number.isInteger(x) && x >= 1) && v[0] * v[1] >= 2 && v[0] * v[1] <= 900};
  const present = () => Object.fromEntries(SETTINGS.map(k => [k, valid[k](get(k)) ? get(k) : run.settings[k]]));
  const ink = {}, dirty = {points: true, controls: true};
  let size = 0, tall = 0, remark = '', run, set, flat, data3, view3, batchLook, C = {}, want = 0, own = false, playing = false, hover = -1, focus = -1, seen = {}, told = 0, guessed = -1, textAt = 0;

  // ---- the run: which data, from which start, and where in its history
  function begin(history) {
    const name = sets[get('data')] ? get('data') : Object.keys(sets)[0];
    if (seen.name !== name) {
      set = {...sets[name], ...unpack(sets[name]), name};
      set.lo = Array.from({length: set.F}, (_, f) => { let v = Infinity; for (let i = f; i < set.X.length; i += set.F) v = Math.min(v, set.X[i]); return v; });
      set.hi = Array.from({length: set.F}, (_, f) => { let v = -Infinity; for (let i = f; i < set.X.length; i += set.F) v = Math.max(v, set.X[i]); return v; });
      set.least = Math.min(...set.lo);
      set.span = Math.max(...set.hi) - set.least || 1;
      flat = set.F < 3;
      look3();
    }
    const given = get('start') === 'given' && name === 'yours' && get('weights') ? unpack(get('weights')) : null;
    let first = history?.length && history[0][0] === 0 && SETTINGS.every(k => valid[k](history[0][1][k])) ? history : null;
    run = {settings: run?.settings ?? SETTINGS.reduce((o, k) => ({...o, [k]: get(k)}), {})};
    first ??= [[0, {...present(), ...(given ? {shape: get('weights').shape} : {})}]];
    run = new Run(set, get('seed'), first, given?.X);
    run.fixed = !!given;
    seen = {name, seed: get('seed'), start: get('start'), history: get('history')};
    if (run.settings.shape !== get('shape')) quiet({shape: run.settings.shape});
    dirty.points = true;
  }
  const quiet = values => { own = true; for (const [k, v] of Object.entries(values)) model.set(k, v); own = false; };
  const store = () => { seen.history = run.history.map(([t, v]) => [t, {...v}]); quiet({history: seen.history, step: want}); save(model); told = performance.now(); };

  // Changes from Python, from the address and from the controls meet here, at most once a frame.
  const outside = new Set();
  const note = k => () => { if (!own) { outside.add(k); later(); } };
  for (const k of [...SETTINGS, 'data', 'seed', 'start', 'history', 'step', 'unit', 'view', 'turn', 'tilt', 'predict']) w.on(model, k, note(k));
  function settle() {
    if (!outside.size) return;
    const came = new Set(outside), changed = {};
    outside.clear();
    for (const k of SETTINGS) if (came.has(k) && valid[k](get(k)) && String(get(k)) !== String(run.settings[k])) changed[k] = get(k);
    // Batch learning divides by the sum of h, which a Mexican hat can make 0: what was asked for last stays.
    if ((changed.mode ?? run.settings.mode) === 'batch' && (changed.neighbourhood ?? run.settings.neighbourhood) === 'mexican_hat') {
      if (changed.mode === 'batch') changed.neighbourhood = 'gaussian'; else changed.mode = 'online';
      remark = `A mean over all samples divides by the sum of h, which a Mexican hat can make 0: ${changed.mode === 'batch' ? 'the neighbourhood is now Gaussian' : 'the map learns from one sample a step again'}.`;
      quiet(changed);
      w.say(remark);
    } else if (Object.keys(changed).length) remark = '';
    const fresh = get('data') !== seen.name || get('seed') !== seen.seed || get('start') !== seen.start;
    const whole = came.has('step') && !playing && (fresh || Object.keys(changed).length > 0);
    if (came.has('history') && JSON.stringify(get('history')) === JSON.stringify(run.history)) came.delete('history');
    if (came.has('history') && get('history')?.length) { begin(get('history')); quiet(run.settings); want = get('step'); }
    else if (fresh || whole) { begin(); want = came.has('step') ? get('step') : 0; }
    else if (Object.keys(changed).length) {
      run.change(changed);
      want = run.t;
      hover = focus = -1;
    }
    else if (came.has('step')) want = get('step');
    want = Math.max(0, Math.min(Math.round(want) || 0, end()));
    if (fresh || whole || came.has('history') || Object.keys(changed).length) { store(); quiet({step: want}); textAt = 0; }
    if (came.has('unit') || came.has('predict')) textAt = 0;
    if (came.has('turn') || came.has('tilt')) dirty.points = true;
    dirty.controls = true;
  }
  const end = () => Math.max(run.settings.steps, run.t);
  const set1 = values => { for (const [k, v] of Object.entries(values)) model.set(k, v); save(model); };

  begin(get('history'));
  quiet(run.settings);
  want = Math.max(0, Math.min(get('step') || 0, end()));

  // ---- what is on the page
  const base = h('canvas', {'aria-hidden': 'true'}), top = h('canvas', {'aria-hidden': 'true'});
  const stage = h('div', {class: 'som-stack'}, base, top);
  const lattice = h('canvas', {'aria-hidden': 'true'}), grid = h('div', {class: 'som-grid', role: 'grid'}), board = h('div', {class: 'som-stack'}, lattice, grid);
  const plots = h('canvas', {role: 'img', style: {marginTop: '8px'}});
  const keyLow = h('span'), keyHigh = h('span'), keyBar = h('i'), key = h('div', {class: 'som-key'}, keyLow, keyBar, keyHigh);
  const remarks = h('p', {class: 'nnv-note', style: {margin: '4px 0 0'}}), viewSlot = h('span'), where = h('span', {class: 'c-masked'});
  const lines = [h('p'), h('p', {class: 'som-tall'})], rule = h('div', {class: 'nnv-math'}), tableSlot = h('div', {class: 'som-wide'}), pics = h('div', {class: 'som-pics'});
  w.figure.append(h('div', {class: 'som-two'},
    h('div', {}, h('div', {class: 'som-head'}, h('b', {}, 'Data space'), where), stage),
    h('div', {}, h('div', {class: 'som-head'}, h('b', {}, 'Lattice'), viewSlot), h('div', {class: 'som-scroll'}, board), key)),
  h('div', {class: 'som-eq'}, ...lines, rule, h('div', {class: 'som-pics'}, pics, tableSlot), remarks), plots);

  const P = player(w, {length: () => end() + 1, get: () => want, names: 'step', rate: 20, onPlay: on => { playing = on; if (on) watch(); guessed = -1; textAt = 0; if (!on) { store(); tell(); } later(); },
    set: i => {
      const next = playing && i === want + 1 ? Math.min(want + hops(), end()) : i;
      if (next === want) return;
      want = next;
      guessed = -1;
      if (!playing || performance.now() - told > 300) { told = performance.now(); quiet({step: want}); save(model); }
      if (!playing) { textAt = 0; sayNext = true; }
      later();
    }});
  // Some pictures a second with as many steps between them as the speed asks for: a slow machine draws fewer, and trains as fast.
  let speed = 40, pictures = 20, sayNext = false, odd = false;
  const hops = () => Math.max(1, Math.round(speed / pictures));
  const watch = () => {  // how many frames come late while it plays
    let last = 0, usual = Infinity, late = 0.1, since = 0;
    const look = at => {
      if (!playing) return;
      if (last) { const gap = at - last; if (gap > 4) usual = Math.min(usual * 1.001, gap); late += 0.03 * ((gap > 1.6 * usual) - late); }
      last = at;
      if (++since > 50 && (late > 0.12 ? pictures > 6 : late < 0.02 && pictures < 20)) { pictures += late > 0.12 ? -Math.min(4, pictures - 6) : 1; since = 0; setPace(); }
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  };
  w.cleanups.push(() => { playing = false; });
  const setPace = () => { P.speed.value = Math.min(speed, pictures); };
  const pace = choice({label: 'Speed', value: 40, options: [1, 5, 20, 40, 100, 400, 1500].map(v => [v, v + (v > 1 ? ' steps/s' : ' step/s')]), on: v => { speed = v; setPace(); }});

  const pick = (k, label, options) => choice({label, options, value: get(k), on: v => set1({[k]: v})});
  const range = (k, label, min, max, step) => slider({label, min, max, step, value: get(k), on: v => set1({[k]: v})});
  const names = Object.entries(sets).map(([k, d]) => [k, d.title]);
  const U = {data: pick('data', 'Data', names), neighbourhood: pick('neighbourhood', 'Neighbourhood', Object.entries(HOOD)),
    rate: range('rate', 'Rate α', 0.01, 1, 0.01), radius: range('radius', 'Radius σ', 0.1, 10, 0.1), decay: pick('decay', 'Decay', DECAYS),
    end_rate: range('end_rate', 'α at the end', 0.01, 0.5, 0.01), end_radius: range('end_radius', 'σ at the end', 0.1, 3, 0.1),
    mode: pick('mode', 'Learns from', [['online', 'one sample a step'], ['batch', 'all samples a step']])};
  const sheet = {shape: get('shape')[0] > 1 ? get('shape') : [10, 10]};
  const kindOf = () => run.settings.shape[0] === 1 ? 'chain' : run.settings.topology;
  const form = choice({label: 'Lattice', value: 'rectangular', options: [['rectangular', 'rectangular'], ['hexagonal', 'hexagonal'], ['chain', 'chain']], on: v => {
    const [r, c] = run.settings.shape;
    if (r > 1) sheet.shape = [r, c];
    set1(v === 'chain' ? {topology: 'rectangular', shape: [1, Math.min(r * c, 60)]} : {topology: v, shape: r === 1 ? sheet.shape : [r, c]});
  }});
  const rows = slider({label: 'Rows', min: 2, max: 14, value: 10, on: v => set1({shape: [v, run.settings.shape[1]]})});
  const cols = slider({label: 'Columns', min: 2, max: 14, value: 10, on: v => set1({shape: [run.settings.shape[0], v]})});
  const units = slider({label: 'Units', min: 4, max: 60, value: 30, on: v => set1({shape: [1, v]})});
  const lengths = [20, 50, 100, 500, 1000, 2000, 5000], length = choice({label: 'Steps in all', value: 2000, options: [...new Set([...lengths, get('steps')])].sort((a, b) => a - b), on: v => set1({steps: v})});
  const again = button({label: 'New start', name: 'New start with another seed', on: () => { P.pause(); set1(run.fixed ? {start: 'random', seed: get('seed') + 1} : {seed: get('seed') + 1}); }});
  const starts = get('weights') ? pick('start', 'Start', [['given', 'the given map'], ['random', 'random']]) : null;
  const guess = toggle({label: 'Guess the winner first', value: get('predict'), on: v => set1({predict: v})});
  const reset = h('span', {style: {display: 'contents'}}, rows, cols, units);
  w.figure.prepend(h('div', {class: 'nnv-bar som-top'}, P, pace));
  w.controls.append(U.data, form, U.neighbourhood, U.rate, U.radius, again, link,
    h('details', {class: 'som-more'}, h('summary', {}, 'More: lattice size, schedule, batch learning, guessing'), h('div', {class: 'nnv-bar'}, reset, U.decay, U.end_rate, U.end_radius, length, U.mode, starts, guess)));

  let viewShown = '';
  const viewOptions = () => [...(set.kind === 'rgb' ? [['weights', 'the units’ colours']] : set.kind === 'image' ? [['weights', 'the units as images']] : []), ...Object.entries(VIEWS),
    ...(set.kind === 'plain' || set.F <= 4 ? set.names.slice(0, 8).map((n, i) => ['feature ' + (i + 1), 'feature ' + n]) : [])];
  const currentView = () => { const o = viewOptions().map(p => p[0]); return o.includes(get('view')) ? get('view') : o[0]; };
  function controls() {
    const g = run.settings, chain = g.shape[0] === 1;
    for (const k of ['neighbourhood', 'rate', 'radius', 'decay', 'end_rate', 'end_radius', 'mode']) U[k].set(g[k]);
    U.data.set(set.name); form.set(kindOf()); length.set(g.steps); guess.set(get('predict')); starts?.set(get('start'));
    rows.hidden = cols.hidden = chain; units.hidden = !chain;
    rows.style.display = cols.style.display = chain ? 'none' : ''; units.style.display = chain ? '' : 'none';
    rows.set(g.shape[0]); cols.set(g.shape[1]); units.set(g.shape[1]);
    if (viewShown !== set.name) {
      viewShown = set.name;
      const c = choice({label: 'Shows', options: viewOptions(), value: currentView(), on: v => set1({view: v})});
      c.firstChild.replaceWith(h('span', {class: 'c-masked'}, 'shows'));
      viewSlot.replaceChildren(c);
      viewSlot.set = c.set;
      table();
    }
    viewSlot.set(currentView());
    const turns = !flat;
    stage.classList.toggle('som-turn', turns);
    for (const [k, v] of Object.entries({tabindex: 0, role: 'application', 'aria-roledescription': 'figure'})) stage.setAttribute(k, v);
    where.textContent = set.F > 3 ? `${set.F} features, drawn on 3 principal axes; drag to turn` : turns ? 'drag or arrow keys to turn' : '';
    cells();
    P.show();
  }

  // ---- the lattice: cells to focus, over a canvas
  let cellsKey = '', box = null, wide = 0;
  function place() {
    const [r, c] = run.settings.shape, chain = r === 1, hex = run.settings.topology === 'hexagonal', room = wide;
    const perLine = chain ? Math.min(c, 10) : c, lineCount = chain ? Math.ceil(c / perLine) : r, across = perLine + (hex && r > 1 ? 0.5 : 0);
    const cell = Math.max(24, Math.min(Math.floor((room - 2) / across), Math.floor((Math.min(room, 440) - 2) / Math.max(across, hex ? lineCount * 0.87 + 0.14 : lineCount))));
    const X = new Float64Array(r * c), Y = new Float64Array(r * c), down = hex ? cell * Math.sqrt(3) / 2 : cell, lines_ = [];
    for (let u = 0; u < r * c; u++) {
      const row = Math.floor(u / perLine), col = u % perLine;
      X[u] = 1 + cell * (col + 0.5 + (hex && row % 2 ? 0.5 : 0));
      Y[u] = 1 + (hex ? cell * 0.58 : cell * 0.5) + down * row;
      (lines_[row] ??= []).push(u);
    }
    return {cell, X, Y, lines: lines_, hex, width: Math.ceil(cell * across + 2), height: Math.ceil(down * (lineCount - 1) + (hex ? cell * 1.16 : cell) + 2)};
  }
  const coordinates = u => run.settings.shape[0] === 1 ? `${u + 1}` : `(${Math.floor(u / run.settings.shape[1]) + 1}, ${u % run.settings.shape[1] + 1})`;
  function cells() {
    const k = `${run.settings.shape}|${run.settings.topology}|${wide}`;
    if (k === cellsKey) return;
    cellsKey = k;
    box = place();
    ink.lattice = surface(lattice, box.width, box.height);
    board.style.width = box.width + 'px';
    board.style.height = box.height + 'px';
    const size = box.cell - (box.hex ? 3 : 1);
    const nodes = box.lines.map(line => line.map(u => h('div', {class: 'som-cell', role: 'gridcell', 'aria-label': 'unit ' + coordinates(u),
      style: {left: box.X[u] - size / 2 + 'px', top: box.Y[u] - size / 2 + 'px', width: size + 'px', height: size + 'px'},
      onpointerenter: () => { hover = u; textAt = 0; later(); }, onpointerleave: () => { hover = -1; textAt = 0; later(); }, onclick: () => choose(u)})));
    grid.replaceChildren(...nodes.map(row => h('div', {role: 'row'}, row)));
    grid.setAttribute('aria-label', `Lattice of ${run.U} units; arrow keys move from unit to unit, Enter marks one`);
    grid.style.width = box.width + 'px';
    grid.style.height = box.height + 'px';
    roving(w, nodes, {focus: (r, c) => { focus = box.lines[r][c]; textAt = 0; sayNext = true; later(); }, activate: (r, c) => choose(box.lines[r][c])});
    w.listen(grid, 'focusout', e => { if (!grid.contains(e.relatedTarget)) { focus = -1; textAt = 0; later(); } });
  }
  function choose(u) {
    if (hidden()) { guessed = u; sayNext = true; } else set1({unit: get('unit') === u ? -1 : u});
    textAt = 0;
    later();
  }
  const hidden = () => get('predict') && !playing && guessed < 0 && run.settings.mode === 'online';

  // ---- the view of data space: its three axes, how it is turned
  function look3() {
    const {X, n, F} = set, D = data3 = new Float64Array(n * 3);
    into3(X, n, D);
    const lo = [0, 1, 2].map(k => { let v = Infinity; for (let i = 0; i < n; i++) v = Math.min(v, D[3 * i + k]); return v; });
    const hi = [0, 1, 2].map(k => { let v = -Infinity; for (let i = 0; i < n; i++) v = Math.max(v, D[3 * i + k]); return v; });
    const mid = lo.map((v, k) => (v + hi[k]) / 2), half = flat ? Math.max(hi[0] - lo[0], hi[1] - lo[1]) / 2 : Math.hypot(...hi.map((v, k) => (v - lo[k]) / 2)) * 0.88;
    view3 = {lo, hi, mid, half: half || 1};
  }
  function into3(A, n, out) {
    const {F, basis, centre} = set;
    for (let i = 0; i < n; i++) for (let k = 0; k < 3; k++) {
      if (!basis) { out[3 * i + k] = k < F ? A[i * F + k] : 0; continue; }
      let v = 0;
      for (let f = 0; f < F; f++) v += basis[k][f] * (A[i * F + f] - centre[f]);
      out[3 * i + k] = v;
    }
  }
  let camera = null;
  function aim(size) {
    const {mid, half} = view3, k = size / 2 / half / (flat ? 1.12 : 1.02), a = get('turn') * Math.PI / 180, b = get('tilt') * Math.PI / 180, ca = Math.cos(a), sa = Math.sin(a), cb = Math.cos(b), sb = Math.sin(b);
    camera = flat ? (x, y) => [size / 2 + k * (x - mid[0]), tall / 2 - k * (y - mid[1]), 0]
      : (x, y, z) => { x -= mid[0]; y -= mid[1]; z -= mid[2]; const u = ca * x - sa * y, v = sa * x + ca * y; return [size / 2 + k * u, size / 2 - k * (cb * z + sb * v), (cb * v - sb * z) / half]; };
  }

  let W3 = new Float64Array(0), screen = [];
  function theme() {
    for (const k of ['ink', 'soft', 'line', 'paper', 'panel', 'input', 'weight', 'output', 'gradient', 'masked', 'state']) C[k] = w.colour(k);
    const a = parse(C.paper.length === 4 ? '#' + [...C.paper.slice(1)].map(x => x + x).join('') : C.paper), b = parse(C.ink);
    C.grey = Uint32Array.from({length: 256}, (_, i) => { const m = a.map((v, k) => Math.round(v + (b[k] - v) * i / 255)); return 255 << 24 | m[2] << 16 | m[1] << 8 | m[0]; });
    dirty.points = true;
    textAt = 0;
  }
  function measure() {
    const width = Math.floor(w.figure.clientWidth);
    if (!width || width === measure.last) return;
    measure.last = width;
    wide = width >= 600 ? Math.floor((width - 18) / 2) : width;
    size = Math.min(wide, 440);
    stand();
    const columns = width >= 600 ? 4 : 2;
    ink.plots = surface(plots, width, columns === 4 ? 150 : 300);
    ink.columns = columns;
    dirty.points = true;
    textAt = 0;
    cells();
  }

  function stand() {
    const {lo, hi, half} = view3;
    tall = flat ? Math.round(size * Math.max(0.5, Math.min(1, (hi[1] - lo[1]) / half / 2 + 0.12))) : size;
    ink.base = surface(base, size, tall);
    ink.top = surface(top, size, tall);
    Object.assign(stage.style, {width: size + 'px', height: tall + 'px'});
  }

  function drawPoints() {
    stand();
    const g = ink.base, {n, X, F} = set;
    aim(size);
    g.font = '13px system-ui,sans-serif';
    g.textAlign = 'center'; g.textBaseline = 'middle';
    const order = Array.from({length: n}, (_, i) => [i, camera(data3[3 * i], data3[3 * i + 1], data3[3 * i + 2])]);
    if (!flat) order.sort((a, b) => b[1][2] - a[1][2]);
    for (const [i, [x, y, depth]] of order) {
      g.globalAlpha = flat ? 0.75 : Math.max(0.25, Math.min(0.9, 0.55 - 0.4 * depth));
      g.fillStyle = set.kind === 'rgb' ? `rgb(${X[i * F] * 255 | 0},${X[i * F + 1] * 255 | 0},${X[i * F + 2] * 255 | 0})` : set.shade ? css(magnitudeRGB(set.shade[i], 255)) : C.input;
      if (set.labels) g.fillText(set.labels[i], x, y);
      else { g.beginPath(); g.arc(x, y, set.kind === 'rgb' ? 4 : 2.6, 0, 7); g.fill(); }
    }
    g.globalAlpha = 1;
    axes(g);
  }
  function axes(g) {
    const {lo, hi} = view3, put = (p, q, text) => {
      const a = camera(...p), b = camera(...q), d = Math.hypot(b[0] - a[0], b[1] - a[1]) || 1;
      g.strokeStyle = C.line; g.lineWidth = 1.5;
      g.beginPath(); g.moveTo(a[0], a[1]); g.lineTo(b[0], b[1]); g.stroke();
      g.fillStyle = C.soft;
      if (d < 24) return;
      const half = g.measureText(text).width / 2 + 2;
      const x = Math.max(half, Math.min(size - half, b[0] + 12 * (b[0] - a[0]) / d)), y = Math.max(9, Math.min(tall - 9, b[1] + 12 * (b[1] - a[1]) / d));
      g.lineWidth = 4; g.lineJoin = 'round'; g.strokeStyle = C.paper; g.strokeText(text, x, y); g.fillText(text, x, y);
    };
    put(lo, [hi[0], lo[1], lo[2]], set.axes[0]);
    if (set.axes[1]) put(lo, [lo[0], hi[1], lo[2]], set.axes[1]);
    if (!flat && set.axes[2]) put(lo, [lo[0], lo[1], hi[2]], set.axes[2]);
  }

  // What happens at this step: the sample, the winner and h of every unit; in batch mode h around the chosen unit.
  function happening() {
    const {W, U: n, F, P: at, X} = run, g = run.settings, [rate, radius] = run.now(), i = run.sample();
    const online_ = g.mode === 'online', [winner, second, d2] = nearest(W, n, F, X, i * F), centre = online_ ? winner : Math.max(chosen(winner), 0);
    const H = new Float64Array(n);
    for (let u = 0; u < n; u++) H[u] = hood(g.neighbourhood, apart(at, u, centre), radius);
    return {i, winner, second, distance: Math.sqrt(d2), rate, radius, H, online: online_, kind: g.neighbourhood};
  }
  const inside = u => u >= 0 && u < run.U;
  const chosen = winner => inside(hover) ? hover : inside(focus) ? focus : inside(get('unit')) ? get('unit') : winner;

  function drawNet(now) {
    const g = ink.top, {W, U: n, F, lines: pairs} = run;
    if (W3.length !== n * 3) { W3 = new Float64Array(n * 3); screen = new Float64Array(n * 2); }
    into3(W, n, W3);
    for (let u = 0; u < n; u++) { const p = camera(W3[3 * u], W3[3 * u + 1], W3[3 * u + 2]); screen[2 * u] = p[0]; screen[2 * u + 1] = p[1]; }
    g.clearRect(0, 0, size, tall);
    g.lineWidth = 1.4; g.strokeStyle = C.weight;
    g.beginPath();
    for (let k = 0; k < pairs.length; k += 2) { const a = 2 * pairs[k], b = 2 * pairs[k + 1]; g.moveTo(screen[a], screen[a + 1]); g.lineTo(screen[b], screen[b + 1]); }
    g.stroke();
    const veiled = hidden(), rgb = set.kind === 'rgb', me = chosen(now.winner), sx = 3 * now.i, s0 = camera(data3[sx], data3[sx + 1], data3[sx + 2]);
    g.fillStyle = rgb ? C.ink : C.weight;  // squares are cheaper to draw than discs
    for (let u = 0; u < n; u++) {
      const r = veiled || !now.online ? 3 : 2.2 + 3.6 * Math.min(Math.abs(now.H[u]), 1), x = screen[2 * u], y = screen[2 * u + 1];
      g.fillRect(x - r, y - r, 2 * r, 2 * r);
      if (!rgb) continue;
      g.fillStyle = `rgb(${W[u * F] * 255 | 0},${W[u * F + 1] * 255 | 0},${W[u * F + 2] * 255 | 0})`;
      g.fillRect(x - r + 1, y - r + 1, 2 * r - 2, 2 * r - 2);
      g.fillStyle = C.ink;
    }
    if (!veiled && now.online) {  // where each unit will go
      g.lineWidth = 2;
      for (const away of [false, true]) {
        g.strokeStyle = away ? C.gradient : C.output;
        g.beginPath();
        for (let u = 0; u < n; u++) {
          const m = now.rate * now.H[u];
          if (Math.abs(m) < 0.004 || m < 0 !== away) continue;
          const x = screen[2 * u], y = screen[2 * u + 1];
          g.moveTo(x, y); g.lineTo(x + m * (s0[0] - x), y + m * (s0[1] - y));
        }
        g.stroke();
      }
      ring(g, screen[2 * now.winner], screen[2 * now.winner + 1], 10, C.output, 'winner');
    }
    if (now.online) {
      g.strokeStyle = C.paper; g.lineWidth = 5; cross(g, s0[0], s0[1]);
      g.strokeStyle = C.input; g.lineWidth = 2.5; cross(g, s0[0], s0[1]);
      word(g, 'x', s0[0] + 13, s0[1] + 11, C.input);
    }
    if (me !== now.winner && !veiled || guessed >= 0) ring(g, screen[2 * me], screen[2 * me + 1], 8, C.state, coordinates(me));
  }
  function cross(g, x, y) { g.beginPath(); g.moveTo(x - 7, y); g.lineTo(x + 7, y); g.moveTo(x, y - 7); g.lineTo(x, y + 7); g.stroke(); }
  function word(g, text, x, y, colour) {
    g.font = '600 13px system-ui,sans-serif'; g.textAlign = 'center'; g.textBaseline = 'middle'; g.lineWidth = 4; g.lineJoin = 'round';
    g.strokeStyle = C.paper; g.strokeText(text, x, y); g.fillStyle = colour; g.fillText(text, x, y);
  }
  function ring(g, x, y, r, colour, text) {
    g.lineWidth = 5; g.strokeStyle = C.paper; g.beginPath(); g.arc(x, y, r, 0, 7); g.stroke();
    g.lineWidth = 3; g.strokeStyle = colour; g.beginPath(); g.arc(x, y, r, 0, 7); g.stroke();
    word(g, text, Math.max(26, Math.min(size - 26, x)), y < 28 ? y + r + 12 : y - r - 10, colour);
  }

  function trace(g, u, cell, hex) { g.beginPath(); outline(g, u, cell, hex); }
  function outline(g, u, cell, hex) {
    const x = box.X[u], y = box.Y[u];
    if (!hex) { g.rect(x - cell / 2, y - cell / 2, cell, cell); return; }
    const r = cell / Math.sqrt(3);
    for (let k = 0; k < 6; k++) g[k ? 'lineTo' : 'moveTo'](x + r * Math.cos(Math.PI * (k / 3 + 1 / 6)), y + r * Math.sin(Math.PI * (k / 3 + 1 / 6)));
    g.closePath();
  }
  let wins = null;
  function samplesWon() {
    if (wins?.t === run.t && wins.run === run && wins.U === run.U) return wins;
    if (wins?.run === run && wins.U === run.U && playing && Math.abs(run.t - wins.t) < 10 * hops()) return wins;
    const {W, U: n, F, X} = run, count = new Float64Array(n), tally = Array.from({length: set.labels ? n : 0}, () => ({}));
    for (let i = 0; i < set.n; i++) { const [b] = nearest(W, n, F, X, i * F); count[b]++; if (set.labels) tally[b][set.labels[i]] = (tally[b][set.labels[i]] ?? 0) + 1; }
    return wins = {run, t: run.t, U: n, count, most: tally.map(t => Object.entries(t).sort((a, b) => b[1] - a[1])[0]?.[0] ?? '')};
  }
  let atlas = null;
  function drawLattice(now) {
    const g = ink.lattice, {W, U: n, F} = run, {cell, X, Y, hex} = box, veiled = hidden();
    let what = currentView();
    if (veiled && what === 'neighbourhood') what = 'umatrix';
    const inner = cell - 1, room = cell >= 33;
    g.clearRect(0, 0, box.width, box.height);
    g.font = '13px system-ui,sans-serif'; g.textAlign = 'center'; g.textBaseline = 'middle';
    let colour = null, text = null, low = '', high = '', bar = '';
    if (what === 'weights' && set.kind === 'rgb') colour = u => [0, 1, 2].map(f => Math.max(0, Math.min(255, Math.round(W[u * F + f] * 255))));
    else if (what === 'umatrix') {
      const D = umatrix(W, n, F, run.pairs), limit = Math.max(...D) || 1;
      colour = u => magnitudeRGB(D[u], limit); text = room && set.span < 100 ? u => fmt(D[u], 2).replace(/^0\./, '.') : null;
      [low, high, bar] = ['0', `${fmt(limit, 2)} from neighbours`, MAGNITUDE];
    } else if (what === 'neighbourhood') {
      colour = u => signedRGB(now.H[u], 1); text = room ? u => fmt(now.H[u], Math.abs(now.H[u]) < 0.005 ? 0 : 2).replace(/^(−?)0\./, '$1.') : null;
      if (text) { const t = text; text = u => Math.abs(now.H[u]) < 0.005 ? '0' : t(u); }
      [low, high, bar] = ['h = −1', '+1', SIGNED];
    } else if (what === 'hits') {
      const {count, most} = samplesWon(), limit = Math.max(...count) || 1;
      colour = u => magnitudeRGB(count[u], limit); text = set.labels ? u => most[u] : room ? u => String(count[u]) : null;
      [low, high, bar] = ['0', `${limit} samples${set.labels ? '; most frequent label' : ''}`, MAGNITUDE];
    } else if (what.startsWith('feature')) {
      const f = Number(what.slice(8)) - 1, {lo, hi} = set;
      colour = u => magnitudeRGB(W[u * F + f] - lo[f], hi[f] - lo[f]); text = room ? u => fmt(W[u * F + f], 1) : null;
      [low, high, bar] = [fmt(lo[f], 2), fmt(hi[f], 2), MAGNITUDE];
    }
    if (colour) {
      for (let u = 0; u < n; u++) {
        const c = colour(u);
        g.fillStyle = css(c);
        if (hex) { trace(g, u, inner, true); g.fill(); } else g.fillRect(X[u] - inner / 2, Y[u] - inner / 2, inner, inner);
        if (text) { g.fillStyle = inkOn(c); g.fillText(text(u), X[u], Y[u] + 1); }
      }
    } else {
      const side = Math.round(Math.sqrt(F)), [r, c] = [Math.ceil(n / 10), 10];
      atlas = atlas?.width === c * side && atlas.height === r * side ? atlas : Object.assign(document.createElement('canvas'), {width: c * side, height: r * side});
      const a = atlas.getContext('2d'), image = a.createImageData(c * side, r * side), px = new Uint32Array(image.data.buffer), scale = 255 / (set.span || 1);
      for (let u = 0; u < n; u++) for (let f = 0; f < F; f++) {
        const v = (W[u * F + f] - set.least) * scale;
        px[(Math.floor(u / c) * side + Math.floor(f / side)) * c * side + u % c * side + f % side] = C.grey[v < 0 ? 0 : v > 255 ? 255 : v | 0];
      }
      a.putImageData(image, 0, 0);
      g.imageSmoothingEnabled = false;
      const edge = hex ? inner - 4 : inner;
      for (let u = 0; u < n; u++) g.drawImage(atlas, u % c * side, Math.floor(u / c) * side, side, side, X[u] - edge / 2, Y[u] - edge / 2, edge, edge);
    }
    if (!veiled) {
      if (what !== 'neighbourhood' && now.online) for (const away of [false, true]) for (let level = 1; level < 6; level++) {  // outlines: thicker, more h
        g.beginPath();
        let some = false;
        for (let u = 0; u < n; u++) {
          const m = Math.abs(now.H[u]);
          if (m < 0.05 || now.H[u] < 0 !== away || Math.min(5, Math.ceil(m * 5)) !== level) continue;
          outline(g, u, inner - 2 - 0.6 * level, hex);
          some = true;
        }
        if (some) { g.lineWidth = 0.4 + 0.6 * level; g.strokeStyle = away ? C.gradient : C.output; g.stroke(); }
      }
      if (now.online) mark(g, now.winner, C.output, hex, inner);
    }
    const me = chosen(now.winner);
    if (me !== now.winner && !veiled || guessed >= 0) mark(g, me, C.state, hex, inner);
    if (keyLow.textContent !== low) keyLow.textContent = low;
    if (keyHigh.textContent !== high) keyHigh.textContent = high;
    if (key.bar !== bar) { key.bar = bar; keyBar.style.display = bar ? '' : 'none'; if (bar) keyBar.style.background = `linear-gradient(90deg,${bar.join(',')})`; }
  }
  function mark(g, u, colour, hex, inner) {
    g.lineWidth = 7; g.strokeStyle = C.paper; trace(g, u, inner - 5, hex); g.stroke();
    g.lineWidth = 4.5; g.strokeStyle = colour; trace(g, u, inner - 4, hex); g.stroke();
  }

  // ---- numbers
  let cellsOf = [], portraits = [];
  function table() {
    const count = set.F <= 4 ? set.F : set.kind === 'image' ? 1 : 3;
    cellsOf = Array.from({length: count}, () => Array.from({length: 6}, (_, k) => h(k ? 'td' : 'th', {scope: k ? null : 'row', class: [null, 'c-weight', 'c-input', null, 'c-output', 'c-weight'][k]})));
    tableSlot.replaceChildren(h('table', {}, h('thead', {}, h('tr', {}, ['feature', 'w', 'x', 'x − w', 'update', 'new w'].map(t => h('th', {scope: 'col'}, t)))), h('tbody', {}, cellsOf.map(r => h('tr', {}, r)))));
    const side = Math.round(Math.sqrt(set.F));
    portraits = set.kind !== 'image' ? [] : ['w', 'x', 'update', 'new w'].map(t => { const c = h('canvas', {width: side, height: side, 'aria-hidden': 'true'}); return {c, node: h('figure', {}, c, t)}; });
    pics.replaceChildren(...portraits.map(p => p.node));
  }
  const text = (node, t) => { if (node.textContent !== t) node.textContent = t; };
  const many = x => Math.abs(x) >= 100 ? fmt(x, 1) : fmt(x, 3);
  let numbers = {};
  function writeNumbers(now) {
    const {W, F, X, P: at} = run, u = chosen(now.winner), veiled = hidden(), n = set.n;
    if (veiled) {
      text(lines[0], `Sample ${now.i + 1} of ${n} is x, the blue cross. Which unit is nearest to it? Choose it on the lattice.`);
      text(lines[1], ''); text(rule, '');
      tableSlot.style.visibility = pics.style.visibility = 'hidden';
      numbers.text = lines[0].textContent;
      return;
    }
    tableSlot.style.visibility = pics.style.visibility = '';
    const d = Math.sqrt(apart(at, u, now.winner)), H = now.H[u], gain = now.rate * H, far = Math.sqrt(squared(W, u, X, now.i * F, F));
    let target = X, from = now.i * F, pull = gain;
    if (now.online) {
      const verdict = guessed < 0 ? '' : guessed === now.winner ? 'Right: ' : `Not ${coordinates(guessed)}, at distance ${fmt(Math.sqrt(squared(W, guessed, X, now.i * F, F)), 3)}: `;
      text(lines[0], `${verdict}Step ${run.t}: sample ${now.i + 1} of ${n}; unit ${coordinates(now.winner)} wins at distance ${fmt(now.distance, 3)}, ${coordinates(now.second)} is second.`);
      text(lines[1], `Unit ${coordinates(u)}${u === now.winner ? ', the winner' : ''}: distance to x ‖x − w‖ = ${fmt(far, 3)}; lattice distance to the winner d = ${fmt(d, 2)}; h = ${FORMULA[now.kind](fmt(d, 2), fmt(now.radius, 2))} = ${fmt(H, 3)}`);
      text(rule, `w ← w + α·h·(x − w) = w + ${fmt(now.rate, 3)} · ${fmt(H, 3)} · (x − w) = w + ${fmt(gain, 4)} · (x − w)`);
    } else {
      [target, pull] = batchTarget(u, now);
      from = 0;
      text(lines[0], `Step ${run.t}: every one of the ${n} samples votes. Unit ${coordinates(u)} becomes their mean x̄, weighted by h to the unit that each sample has won.`);
      text(lines[1], `Unit ${coordinates(u)}: ${samplesWon().count[u]} samples won; sum of the weights h = ${fmt(batchLook, 2)}; σ = ${fmt(now.radius, 2)}`);
      text(rule, `w ← Σ h·x / Σ h = x̄   (the same as α·h = 1 towards x̄)`);
    }
    const order = set.F <= 4 ? Array.from({length: F}, (_, f) => f) : Array.from({length: F}, (_, f) => f).sort((a, b) => Math.abs(target[from + b] - W[u * F + b]) - Math.abs(target[from + a] - W[u * F + a]));
    cellsOf.forEach((row, k) => {
      const f = order[k], a = W[u * F + f], x = target[from + f];
      [set.names[f], many(a), many(x), many(x - a), many(pull * (x - a)), many(a + pull * (x - a))].forEach((t, j) => text(row[j], t));
    });
    portraits.forEach(({c}, k) => {
      const g = c.getContext('2d'), image = g.createImageData(c.width, c.height), px = new Uint32Array(image.data.buffer);
      for (let f = 0; f < F; f++) {
        const a = W[u * F + f], x = target[from + f], v = [a, x, pull * (x - a), a + pull * (x - a)][k];
        if (k === 2) { const m = signedRGB(v, set.span / 2); px[f] = 255 << 24 | m[2] << 16 | m[1] << 8 | m[0]; }
        else px[f] = C.grey[Math.max(0, Math.min(255, (v - set.least) / set.span * 255 | 0))];
      }
      g.putImageData(image, 0, 0);
    });
    numbers.text = `${lines[0].textContent} ${lines[1].textContent}`;
  }
  function batchTarget(u, now) {
    const {W, F, P: at, X, U: n} = run, sum = new Float64Array(F), radius = now.radius;
    let total = 0;
    for (let i = 0; i < set.n; i++) {
      const [b] = nearest(W, n, F, X, i * F), g = hood(now.kind, apart(at, u, b), radius);
      total += g;
      for (let f = 0; f < F; f++) sum[f] += g * X[i * F + f];
    }
    batchLook = total;
    return total > 1e-12 ? [sum.map(v => v / total), 1] : [W.slice(u * F, u * F + F), 1];
  }
  const diverged = () => run.W.every(v => Math.abs(v - set.least) < 20 * set.span) ? ''
    : 'The map flies apart: beyond d = σ the Mexican hat pushes units away from the sample, and no sample ever pulls them back. Go back and choose another neighbourhood, or a lower rate and radius.';
  function tell() {
    const [q, e] = run.curve.at(-1)?.slice(1) ?? [0, 0];
    w.say(`${numbers.text ?? ''} Quantization error ${fmt(q, 3)}, topographic error ${fmt(100 * e, 0)} percent.`);
  }

  // ---- curves: two errors that were measured, two schedules with the rest of their way
  function drawPlots() {
    const g = ink.plots, width = plots.clientWidth || measure.last, columns = ink.columns, pw = width / columns, ph = 150, T = Math.max(run.settings.steps, run.t, 1), curve = run.curve.filter(c => c[0] <= run.t), now = run.now();
    const [q, e] = curve.at(-1).slice(1), part = run.some() < run.n ? ` (${run.some()} samples)` : '';
    g.clearRect(0, 0, width, ph * 4 / columns);
    g.textBaseline = 'middle';
    [['Quantization error' + part, fmt(q, 3), C.gradient, 1], ['Topographic error', fmt(100 * e, 1) + ' %', C.gradient, 2], ['Rate α', fmt(now[0], 3), C.weight, 3], ['Radius σ', fmt(now[1], 2), C.weight, 4]].forEach(([name, value, colour, k], at) => {
      const x0 = at % columns * pw + 40, y0 = Math.floor(at / columns) * ph + 46, w1 = pw - 54, h1 = ph - 84;
      const future = k > 2 ? Array.from({length: 25}, (_, j) => { const t = run.t + (T - run.t) * j / 24; return [t, run.now(t)[k - 3]]; }) : [];
      const peak = Math.max(...run.curve.map(c => c[k]).filter(Number.isFinite), ...future.map(f => f[1]), k === 2 ? 0.05 : 1e-9), px = t => x0 + w1 * t / T, py = v => y0 + h1 * (1 - Math.min(v / peak, 1));
      g.textAlign = 'left'; g.fillStyle = C.ink; g.font = '13px system-ui,sans-serif';
      g.fillText(name, x0 - 36, y0 - 34);
      g.font = '600 14px system-ui,sans-serif'; g.fillText(value, x0 - 36, y0 - 15);
      g.font = '13px system-ui,sans-serif'; g.fillStyle = C.soft; g.strokeStyle = C.line; g.lineWidth = 1;
      g.beginPath(); g.moveTo(x0, y0); g.lineTo(x0, y0 + h1); g.lineTo(x0 + w1, y0 + h1); g.stroke();
      g.textAlign = 'right';
      g.fillText(k === 2 ? fmt(100 * peak, 0) + '%' : peak >= 10 ? fmt(peak, 0) : fmt(peak, peak < 1 ? 2 : 1), x0 - 3, y0 + 3); g.fillText('0', x0 - 3, y0 + h1 - 3);
      g.fillText(String(T), x0 + w1, y0 + h1 + 11); g.textAlign = 'left'; g.fillText('0', x0, y0 + h1 + 11); g.textAlign = 'center'; g.fillText('step', x0 + w1 / 2, y0 + h1 + 11);
      g.strokeStyle = colour; g.lineWidth = 2; g.beginPath();
      curve.forEach((c, j) => g[j ? 'lineTo' : 'moveTo'](px(c[0]), py(c[k])));
      g.stroke();
      if (future.length) { g.setLineDash([3, 4]); g.lineWidth = 1.5; g.beginPath(); future.forEach((f, j) => g[j ? 'lineTo' : 'moveTo'](px(f[0]), py(f[1]))); g.stroke(); g.setLineDash([]); }
      g.fillStyle = colour; g.beginPath(); g.arc(px(run.t), py(k > 2 ? now[k - 3] : curve.at(-1)[k]), 4, 0, 7); g.fill();
    });
    if (!playing) plots.setAttribute('aria-label', `Curves over ${T} steps, now at ${run.t}: quantization error ${fmt(q, 3)}, topographic error ${fmt(100 * e, 1)} percent, rate ${fmt(now[0], 3)}, radius ${fmt(now[1], 2)}`);
  }

  // ---- one frame: only what changed
  function draw() {
    settle();
    const there = run.go(want, 9);
    if (!there) later();
    measure();
    if (!size) return;
    if (dirty.controls) { dirty.controls = false; controls(); }
    if (dirty.points) { dirty.points = false; drawPoints(); }
    const now = happening(), fast = performance.now();
    drawNet(now);
    if (!playing || speed <= 20 || (odd = !odd)) drawLattice(now);
    if (!playing || speed <= 5 || fast - textAt > 200) {
      textAt = fast;
      writeNumbers(now);
      text(remarks, diverged() || remark);
      remarks.hidden = !remarks.textContent;
      drawPlots();
      if (!playing) stage.setAttribute('aria-label', `Data space: ${set.n} samples of ${set.title} and a ${kindOf() === 'chain' ? 'chain' : kindOf() + ' lattice'} of ${run.U} units after ${run.t} steps. ${flat ? '' : 'Arrow keys turn the view.'}`);
      if (sayNext && there && !playing) { sayNext = false; tell(); }
    }
    if (!playing) P.show();
  }
  const later = w.batch(draw);

  // ---- pointer and keys in data space
  let drag = null;
  function under(e) {
    const r = stage.getBoundingClientRect(), x = e.clientX - r.left, y = e.clientY - r.top;
    let best = -1, near = 18 * 18;
    for (let u = 0; u < run.U; u++) { const d = (screen[2 * u] - x) ** 2 + (screen[2 * u + 1] - y) ** 2; if (d < near) { near = d; best = u; } }
    return best;
  }
  let pressed = [0, 0];
  w.listen(stage, 'pointerdown', e => { pressed = [e.clientX, e.clientY]; });
  w.listen(stage, 'click', e => { const u = under(e); if (u >= 0 && Math.hypot(e.clientX - pressed[0], e.clientY - pressed[1]) < 5) choose(u); });
  w.listen(stage, 'pointerdown', e => { if (!flat) { drag = [e.clientX, e.clientY, get('turn'), get('tilt')]; stage.setPointerCapture(e.pointerId); } });
  w.listen(stage, 'pointermove', e => {
    if (drag) {
      set1({turn: Math.round(drag[2] + (e.clientX - drag[0]) * 0.6), tilt: Math.round(Math.max(-90, Math.min(90, drag[3] + (e.clientY - drag[1]) * 0.6)))});
      return;
    }
    const best = under(e);
    if (best !== hover) { hover = best; textAt = 0; later(); }
  });
  for (const type of ['pointerup', 'pointercancel', 'lostpointercapture']) w.listen(stage, type, () => { if (drag) { drag = null; save(model); } });
  w.listen(stage, 'pointerleave', () => { if (hover >= 0) { hover = -1; textAt = 0; later(); } });
  w.listen(stage, 'keydown', e => {
    const turn = {ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8]}[e.key];
    if (!turn || flat) return;
    e.preventDefault();
    set1({turn: get('turn') + turn[0], tilt: Math.max(-90, Math.min(90, get('tilt') + turn[1]))});
    w.say(`View turned to ${get('turn')} degrees, tilted ${get('tilt')} degrees`);
  });

  theme();
  w.onTheme(() => { theme(); later(); });
  w.onResize(() => { if (Math.floor(w.figure.clientWidth) !== measure.last) later(); });
  draw();
  return () => w.close();
}

export default {render};
