// Activations: their arithmetic and a deep random network first (named exports, held to torch by the tests), then the figure.

// The error function: power series near 0, a continued fraction beyond; then a table of it with cubics between, right to 1e-9.
function erfSlowly(x) {
  if (x > 6) return 1;
  if (x < 2) {
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-17; n++) { term *= -x * x / n; sum += term / (2 * n + 1); }
    return sum * 2 / Math.sqrt(Math.PI);
  }
  let c = x;
  for (let n = 40; n > 0; n--) c = x + n / 2 / c;
  return 1 - Math.exp(-x * x) / Math.sqrt(Math.PI) / c;
}
const ERF = Float64Array.from({length: 386}, (_, i) => erfSlowly(i / 64)), SLOPE = Float64Array.from({length: 386}, (_, i) => 2 / Math.sqrt(Math.PI) * Math.exp(-i * i / 4096) / 64);
export function erf(x) {
  const t = 64 * Math.abs(x);
  if (t >= 384) return Math.sign(x);
  const i = Math.floor(t), u = t - i, v = 1 - u, y = v * v * ((1 + 2 * u) * ERF[i] + u * SLOPE[i]) + u * u * ((3 - 2 * u) * ERF[i + 1] - v * SLOPE[i + 1]);
  return x < 0 ? -y : y;
}
const sigmoid = x => x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)), softplus = x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const SCALE = 1.0507009873554805, ALPHA = 1.6732632423543772, C = Math.sqrt(2 / Math.PI), normal = x => Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI), Phi = x => 0.5 * (1 + erf(x / Math.SQRT2));
const g2 = (x, n = 3) => fmt(x, n), par = x => x < 0 ? `(${g2(x)})` : g2(x), piece = (yes, a, b) => yes ? a : b;

// name: title, formula, f, its derivative d, the argument a (if it has one: label, least, most, default), and the arithmetic at x in words.
export const ACTIVATIONS = {
  relu: {title: 'ReLU', formula: 'max(0, x)', f: x => Math.max(0, x), d: x => +(x > 0), say: x => [piece(x > 0, `x is positive: it passes, with slope 1.`, `x is not positive: 0, with slope 0.${x === 0 ? ' At 0 itself there is no derivative; torch takes 0.' : ''}`)]},
  leaky_relu: {title: 'Leaky ReLU', formula: 'x if x > 0, else a·x', a: ['slope a', 0, 0.5, 0.01], f: (x, a) => x > 0 ? x : a * x, d: (x, a) => x > 0 ? 1 : a, say: (x, a) => [piece(x > 0, 'x is positive: it passes, with slope 1.', `x is not positive: ${g2(a, 2)} · ${par(x)}, with slope ${g2(a, 2)}, never 0.`)]},
  prelu: {title: 'PReLU', formula: 'x if x > 0, else a·x, with a learned', a: ['learned a', -0.5, 1.5, 0.25], f: (x, a) => x > 0 ? x : a * x, d: (x, a) => x > 0 ? 1 : a, say: (x, a) => [piece(x > 0, 'x is positive: it passes, with slope 1.', `x is not positive: ${g2(a, 2)} · ${par(x)}. Training moves a: ∂f/∂a = x here.`)]},
  elu: {title: 'ELU', formula: 'x if x > 0, else a·(eˣ − 1)', a: ['a', 0, 3, 1], f: (x, a) => x > 0 ? x : a * Math.expm1(x), d: (x, a) => x > 0 ? 1 : a * Math.exp(x), say: (x, a) => [piece(x > 0, 'x is positive: it passes, with slope 1.', `${g2(a, 2)} · (e^${par(x)} − 1) = ${g2(a, 2)} · (${g2(Math.exp(x))} − 1), slope a·eˣ.`), piece(Math.abs(a - 1) < 1e-9, 'With a = 1 the slope is 1 on both sides of 0.', `The slope jumps at 0: ${g2(a, 2)} on the left, 1 on the right.`)]},
  selu: {title: 'SELU', formula: 'λ·x if x > 0, else λ·α·(eˣ − 1)', f: x => SCALE * (x > 0 ? x : ALPHA * Math.expm1(x)), d: x => SCALE * (x > 0 ? 1 : ALPHA * Math.exp(x)), say: x => [`λ = 1.0507, α = 1.6733.`, piece(x > 0, `1.0507 · ${par(x)}, slope λ, more than 1.`, `1.7581 · (${g2(Math.exp(x))} − 1), slope λα·eˣ.`)]},
  gelu: {title: 'GELU', formula: 'x · Φ(x), Φ the normal distribution function', f: x => x * Phi(x), d: x => Phi(x) + x * normal(x), say: x => [`Φ(${g2(x)}) = ${g2(Phi(x))}: the chance that a standard normal number is below x.`, `f = ${g2(x)} · ${g2(Phi(x))}.`, `f′ = Φ(x) + x·φ(x) = ${g2(Phi(x))} + ${par(x)} · ${g2(normal(x))}.`]},
  gelu_tanh: {title: 'GELU (tanh)', formula: '½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))', f: x => 0.5 * x * (1 + Math.tanh(C * (x + 0.044715 * x ** 3))), d: x => { const t = Math.tanh(C * (x + 0.044715 * x ** 3)); return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * C * (1 + 3 * 0.044715 * x * x); },
    say: x => { const t = Math.tanh(C * (x + 0.044715 * x ** 3)); return [`tanh(…) = ${g2(t)}, so f = ½ · ${par(x)} · (1 + ${par(t)}).`, `Exact GELU is ${fmt(x * Phi(x), 5)} here; this differs by ${fmt(0.5 * x * (1 + t) - x * Phi(x), 5)}.`]; }},
  silu: {title: 'SiLU (Swish)', formula: 'x · σ(x)', f: x => x * sigmoid(x), d: x => sigmoid(x) * (1 + x * (1 - sigmoid(x))), say: x => [`σ(${g2(x)}) = ${g2(sigmoid(x))}, so f = ${g2(x)} · ${g2(sigmoid(x))}.`, `f′ = σ + x·σ·(1 − σ) = ${g2(sigmoid(x))} + ${par(x * sigmoid(x) * (1 - sigmoid(x)))}.`]},
  mish: {title: 'Mish', formula: 'x · tanh(ln(1 + eˣ))', f: x => x * Math.tanh(softplus(x)), d: x => { const t = Math.tanh(softplus(x)); return t + x * (1 - t * t) * sigmoid(x); }, say: x => [`ln(1 + eˣ) = ${g2(softplus(x))}, its tanh ${g2(Math.tanh(softplus(x)))}.`, `f = ${g2(x)} · ${g2(Math.tanh(softplus(x)))}.`]},
  sigmoid: {title: 'Sigmoid', formula: '1 / (1 + e⁻ˣ)', f: sigmoid, d: x => sigmoid(x) * (1 - sigmoid(x)), say: x => [`1 / (1 + ${g2(Math.exp(-x))}).`, `f′ = f·(1 − f) = ${g2(sigmoid(x))} · ${g2(1 - sigmoid(x))}: never above 1/4.`]},
  tanh: {title: 'Tanh', formula: '(eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)', f: Math.tanh, d: x => 1 - Math.tanh(x) ** 2, say: x => [`f′ = 1 − f² = 1 − ${g2(Math.tanh(x) ** 2)}: 1 at 0, small far out.`, `It is 2σ(2x) − 1 = 2 · ${g2(sigmoid(2 * x))} − 1.`]},
  hardswish: {title: 'Hardswish', formula: 'x · clip(x + 3, 0, 6) / 6', f: x => x * Math.min(Math.max(x + 3, 0), 6) / 6, d: x => x <= -3 ? 0 : x < 3 ? x / 3 + 0.5 : 1, say: x => [`clip(${g2(x + 3)}, 0, 6) / 6 = ${g2(Math.min(Math.max(x + 3, 0), 6) / 6)}: a gate of straight lines.`, `Beyond −3 it is 0 and beyond 3 it is x.`]},
  hardsigmoid: {title: 'Hardsigmoid', formula: 'clip(x + 3, 0, 6) / 6', f: x => Math.min(Math.max(x + 3, 0), 6) / 6, d: x => x > -3 && x < 3 ? 1 / 6 : 0, say: x => [`clip(${g2(x + 3)}, 0, 6) / 6.`, piece(x > -3 && x < 3, 'Between −3 and 3 the slope is 1/6.', 'Outside −3 to 3 the slope is 0, exactly.')]},
};

// A function that Python sampled on an even grid, with its derivative: between two points a cubic, outside straight on.
export function sampled({name, low, high, y, d}) {
  const n = y.length - 1, step = (high - low) / n;
  const place = x => { const u = Math.min(Math.max((x - low) / step, 0), n), i = Math.min(Math.floor(u), n - 1); return [i, u - i]; };
  return {title: name, formula: 'your function, sampled from Python', d: x => { const [i, u] = place(x); return d[i] + (d[i + 1] - d[i]) * u; }, f: x => {
    if (x < low) return y[0] + (x - low) * d[0];
    if (x > high) return y[n] + (x - high) * d[n];
    const [i, u] = place(x), v = 1 - u;
    return y[i] * (1 + 2 * u) * v * v + y[i + 1] * u * u * (3 - 2 * u) + step * u * v * (d[i] * v - d[i + 1] * u);
  }, say: x => [x < low || x > high ? `Sampled from ${low} to ${high}; beyond, it goes straight on.` : 'Read between its sampled points.']};
}

// Standard normal numbers from a seed: mulberry32, then Box and Muller's cosine.
export function normals(count, seed) {
  let a = seed >>> 0;
  const uniform = () => { a = (a + 0x6D2B79F5) | 0; let t = Math.imul(a ^ (a >>> 15), 1 | a); t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t; return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296; };
  return Float64Array.from({length: count}, () => { const r = Math.sqrt(-2 * Math.log(uniform())); return r * Math.cos(2 * Math.PI * uniform()); });
}

export const BATCH = 40;
export const widths = (shape, depth) => Array.from({length: depth + 1}, (_, l) => shape === 'narrowing' ? Math.round(64 - 48 * l / depth) : 48);
export const spread = (init, into, out) => Math.sqrt({lecun: 1 / into, xavier: 2 / (into + out), kaiming: 2 / into}[init] ?? 1 / into);
const cache = new Map();  // the random numbers of a seed and shape: the scale and the activation change, these do not
function random(shape, depth, seed) {
  const key = [shape, depth, seed].join();
  if (!cache.has(key)) {
    if (cache.size > 8) cache.clear();
    const n = widths(shape, depth);
    cache.set(key, {n, x: normals(BATCH * n[0], 1000 * seed), w: n.slice(1).map((out, l) => normals(out * n[l], 1000 * seed + l + 1)), g: normals(BATCH * n[depth], 1000 * seed + 999)});
  }
  return cache.get(key);
}

// A batch through a deep network of random weights without bias, and a random gradient back through it.
export function network({f, d}, a, {shape = 'even', depth = 10, seed = 0, init = 'kaiming', gain = 1}) {
  const {n, x, w, g} = random(shape, depth, seed), layers = [{n: n[0], z: x, a: x}], slopes = [null];
  for (let l = 0; l < depth; l++) {
    const I = n[l], O = n[l + 1], from = layers[l].a, s = gain * spread(init, I, O), z = new Float64Array(BATCH * O), out = new Float64Array(BATCH * O), slope = new Float64Array(BATCH * O), weight = w[l];
    for (let b = 0; b < BATCH; b++) {
      const start = b * I, at = b * O;
      let o = 0;
      for (; o + 3 < O; o += 4) {  // four units at once: each input is read once for them
        let p = 0, q = 0, r = 0, t = 0, j = o * I;
        const k = j + I, m = k + I, n = m + I;
        for (let i = 0; i < I; i++, j++) { const x = from[start + i]; p += x * weight[j]; q += x * weight[k + i]; r += x * weight[m + i]; t += x * weight[n + i]; }
        z[at + o] = s * p; z[at + o + 1] = s * q; z[at + o + 2] = s * r; z[at + o + 3] = s * t;
      }
      for (; o < O; o++) { let p = 0; for (let i = 0; i < I; i++) p += from[start + i] * weight[o * I + i]; z[at + o] = s * p; }
    }
    for (let i = 0; i < z.length; i++) { out[i] = f(z[i], a); slope[i] = d(z[i], a); }
    layers.push({n: O, z, a: out, s}); slopes.push(slope);
  }
  let back = g;
  const size = v => { let t = 0; for (const y of v) t += y * y; return Math.sqrt(t / v.length); }, last = size(g);
  for (let l = depth; l >= 0; l--) {
    const layer = layers[l], {n: O} = layer;
    let mean = 0, square = 0, zeros = 0, dead = 0;
    for (const y of layer.a) { mean += y; if (y === 0) zeros++; }
    mean /= layer.a.length;
    for (const y of layer.a) square += (y - mean) ** 2;
    if (l) for (let o = 0; o < O; o++) { let alive = false; for (let b = 0; b < BATCH && !alive; b++) alive = slopes[l][b * O + o] !== 0; if (!alive) dead++; }
    Object.assign(layer, {mean, std: Math.sqrt(square / layer.a.length), zeros: zeros / layer.a.length, dead: dead / O, grad: size(back) / last});
    if (!l) break;
    const I = n[l - 1], s = layer.s, weight = w[l - 1], slope = slopes[l], next = new Float64Array(BATCH * I);
    for (let b = 0; b < BATCH; b++) {
      const at = b * O, k = b * I, y = n => s * back[at + n] * slope[at + n];
      let o = 0;
      for (; o + 3 < O; o += 4) {
        const p = y(o), q = y(o + 1), r = y(o + 2), t = y(o + 3), j = o * I, jj = j + I, jjj = jj + I, jjjj = jjj + I;
        if (p || q || r || t) for (let i = 0; i < I; i++) next[k + i] += p * weight[j + i] + q * weight[jj + i] + r * weight[jjj + i] + t * weight[jjjj + i];
      }
      for (; o < O; o++) { const p = y(o); for (let i = 0; i < I; i++) next[k + i] += p * weight[o * I + i]; }
    }
    back = next;
  }
  return layers;
}

// Counts in equal bins; what lies outside is counted in the first and the last.
export function histogram(values, low, high, bins) {
  const counts = new Float64Array(bins);
  for (const x of values) counts[Number.isNaN(x) ? 0 : Math.max(0, Math.min(bins - 1, Math.floor((x - low) / (high - low) * bins)))]++;
  return counts;
}

const INITS = {kaiming: 'Kaiming: √(2 / in)', xavier: 'Xavier: √(2 / (in + out))', lecun: 'LeCun: √(1 / in)'};
const LOOK = `.nnv [hidden]{display:none!important}.ae-top{display:grid;grid-template-columns:minmax(0,1.75fr) minmax(0,1fr);gap:4px 20px}.ae-plot{touch-action:pan-y;cursor:crosshair}.nnv svg.ae-svg{max-width:none;overflow:visible}.nnv .ae-svg .ae-tick{fill:var(--soft)}.nnv .ae-svg .ae-halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
.ae-list{display:flex;flex-wrap:wrap;gap:5px;margin:6px 0}.ae-list button{padding:3px 9px}.ae-card p{margin:0 0 6px;font-size:14px}.ae-card .ae-big{font-size:16px;font-weight:650;margin:0 0 2px}.ae-table{margin-top:12px;border-top:1px solid var(--line);padding-top:8px}
.ae-line{display:grid;grid-template-columns:40px minmax(74px,2fr) repeat(5,minmax(42px,1fr));gap:0 8px;align-items:center;font-size:14px;text-align:right;padding:1px 4px;border-radius:6px}.ae-line.ae-on{background:var(--panel);box-shadow:inset 3px 0 0 var(--focus)}.ae-line>*{min-width:0}.ae-headline{color:var(--soft);font-size:13px;line-height:1.2;align-items:end}
.nnv .ae-line button{min-height:26px;min-width:28px;padding:0 6px;font-size:14px}.nnv .ae-line canvas{width:100%;height:26px;border-bottom:1px solid var(--line)}.ae-line .ae-bad{color:var(--gradient);font-weight:700}.ae-axis{display:flex;justify-content:space-between}
.ae-guess{border-left:3px solid var(--gradient);padding:2px 0 4px 10px;margin:8px 0}.ae-verdict{font-weight:600;margin:8px 0 0}.ae-cover .ae-line:not(.ae-headline)>*:not(:first-child){visibility:hidden}
@container (max-width:600px){.ae-top{grid-template-columns:minmax(0,1fr)}.ae-line{grid-template-columns:30px minmax(60px,1.3fr) repeat(5,minmax(38px,1fr));gap:0 4px;padding:1px 0;font-size:13px}}`;

function render({model, el}) {
  const w = frame(el, {name: 'Activation explorer', title: 'An activation, its slope, and what both do through depth', lead: 'Drag in the plot to move x. Green is the function, orange its derivative; the bars are the chosen layer of the network below, before and after.'});
  w.root.querySelector('style').append(LOOK);
  const TRAITS = {activation: 'string', a: 'number', x: 'number', beside: 'string', depth: 'number', gain: 'number', init: 'string', shape: 'string', seed: 'number', layer: 'number'};
  const link = shared(w, model, 'ActivationExplorer', TRAITS);
  const write = (node, text) => { if (node.was === text) return; node.was = text; if (node.firstChild?.nodeType === 3 && !node.firstChild.nextSibling) node.firstChild.data = text; else node.textContent = text; };
  const attr = (node, name, value) => { const was = node.wrote ??= {}; if (was[name] !== value) { was[name] = value; node.setAttribute(name, value); } };
  const show = (node, yes) => { if (node.hidden === yes) node.hidden = !yes; };
  const all = {...ACTIVATIONS};
  (model.get('custom') ?? []).forEach(c => { all[c.name] = sampled(c); });
  let state = {}, layers = [], look = {}, guess = false, open = false, paint = {};
  const hold = (x, low, high, other) => Number.isFinite(+x) ? Math.max(low, Math.min(high, +x)) : other;
  function compute() {
    state = Object.fromEntries(Object.keys(TRAITS).map(n => [n, model.get(n)]));
    if (!all[state.activation]) state.activation = 'relu';
    if (!all[state.beside]) state.beside = '';
    if (!INITS[state.init]) state.init = 'kaiming';
    state.shape = state.shape === 'narrowing' ? 'narrowing' : 'even';
    state.x = hold(state.x, -5, 5, 0); state.depth = Math.round(hold(state.depth, 1, 20, 10)); state.gain = hold(state.gain, 0.1, 4, 1); state.seed = Math.round(hold(state.seed, 0, 1e6, 0)); state.layer = Math.round(hold(state.layer, 0, state.depth, 1));
    const e = all[state.activation];
    state.a = e.a ? Math.max(e.a[1], Math.min(e.a[2], Number.isFinite(state.a) ? state.a : e.a[3])) : 0;
    return e;
  }
  let now = compute();
  const run = () => { layers = network(now, state.a, state); };

  // ---- controls
  const list = h('div', {class: 'ae-list', role: 'group', 'aria-label': 'Activation'}), buttons = {};
  for (const [name, e] of Object.entries(all)) list.append(buttons[name] = button({label: e.title, pressed: false, on: () => { open = false; put(model, {activation: name, ...(e.a ? {a: e.a[3]} : {})}); }}));
  const xs = slider({label: 'x', min: -5, max: 5, step: 0.05, value: state.x, on: x => put(model, {x})});
  const arg = slider({label: 'a', min: 0, max: 1, step: 0.01, value: 0, on: a => put(model, {a})});
  const beside = choice({label: 'Beside it', options: [['', 'nothing'], ...Object.entries(all).map(([n, e]) => [n, e.title])], value: state.beside, on: v => put(model, {beside: v})});
  const gain = slider({label: 'Weight scale', min: -1, max: 0.6, step: 0.02, value: 0, format: v => '× ' + fmt(10 ** v, 2), on: v => { open = false; put(model, {gain: Math.abs(v) < 0.011 ? 1 : +(10 ** v).toPrecision(3)}); }});
  const init = choice({label: 'Initialisation', options: Object.entries(INITS), value: state.init, on: v => { open = false; put(model, {init: v}); }});
  const shape = choice({label: 'Widths', options: [['even', 'all 48'], ['narrowing', 'from 64 to 16']], value: state.shape, on: v => put(model, {shape: v})});
  const depth = slider({label: 'Layers', min: 1, max: 20, value: state.depth, on: v => { open = false; put(model, {depth: v}); }});
  const seed = button({label: 'Other weights', on: () => put(model, {seed: state.seed + 1})});
  const players = player(w, {length: () => state.depth + 1, get: () => state.layer, set: l => put(model, {layer: l}), rate: 1.5, names: 'layer'});
  const CHOICES = [['vanish', 'fall below 1/10', g => g < 0.1], ['stay', 'stay between 1/10 and 10', g => g >= 0.1 && g <= 10], ['explode', 'grow above 10', g => g > 10]];
  const guesser = toggle({label: 'Guess first', value: false, on: v => { guess = v; open = false; draw(); }});
  const question = h('span', {}), verdict = h('p', {class: 'nnv-note', 'aria-live': 'polite'});
  const answers = h('div', {class: 'nnv-bar'}, CHOICES.map(([, text, right]) => button({label: text, on: () => {
    open = true; draw();
    const g = layers[0].grad;
    write(verdict, `${right(g) ? 'Right' : 'Not so'}: the gradient that reaches the input is ${fmt(g, 2)} times that at the end.`);
  }})));
  const guessBox = h('div', {class: 'ae-guess'}, question, answers, verdict);

  // ---- the plot
  const make = (tag, more) => s(tag, more);
  const grid = make('g', {'aria-hidden': 'true'}), pathF = make('path', {fill: 'none', 'stroke-width': 3, style: 'stroke:var(--output)'}), pathD = make('path', {fill: 'none', 'stroke-width': 2.5, 'stroke-dasharray': '7 4', style: 'stroke:var(--gradient)'}), pathB = make('path', {fill: 'none', 'stroke-width': 1.8, style: 'stroke:var(--masked)'});
  const before = make('path', {style: 'fill:var(--input);opacity:.75'}), after = make('path', {style: 'fill:var(--output);opacity:.75'}), guides = make('path', {fill: 'none', 'stroke-width': 1.3, 'stroke-dasharray': '3 3', style: 'stroke:var(--ink)'}), tangent = make('path', {fill: 'none', 'stroke-width': 2, style: 'stroke:var(--ink)'});
  const dot = make('circle', {r: 7, 'stroke-width': 2.5, style: 'fill:var(--output);stroke:var(--paper)'}), dotD = make('circle', {r: 5, 'stroke-width': 2, style: 'fill:var(--gradient);stroke:var(--paper)'}), labelF = make('text', {class: 'ae-halo', 'font-weight': 700, style: 'fill:var(--output)'}), labelD = make('text', {class: 'ae-halo', 'font-weight': 700, style: 'fill:var(--gradient)'}), labelB = make('text', {class: 'ae-halo', style: 'fill:var(--masked)'}), labelX = make('text', {style: 'fill:var(--input)'}), labelY = make('text', {style: 'fill:var(--output)', 'text-anchor': 'end'});
  const svg = s('svg', {class: 'ae-svg', role: 'img'}, grid, before, after, pathB, pathD, pathF, tangent, guides, dotD, dot, labelB, labelF, labelD, labelX, labelY), plot = h('div', {class: 'ae-plot'}, svg);
  const big = h('p', {class: 'ae-big c-output'}), slope = h('p', {class: 'ae-big c-gradient'}), formula = h('p', {}), said = [h('p', {}), h('p', {}), h('p', {})], layerNote = h('p', {class: 'nnv-note'});
  const card = h('div', {class: 'ae-card'}, formula, big, slope, said, layerNote);
  const head = h('div', {class: 'ae-line ae-headline', role: 'row'}, ['layer', h('span', {class: 'ae-axis'}, h('span', {}, '−3'), h('span', {}, '3')), 'mean', 'std', 'zeros', 'dead', '∂ back'].map(x => h('span', {role: 'columnheader'}, x)));
  const body = h('div', {role: 'rowgroup'}), table = h('div', {class: 'ae-table', role: 'table', 'aria-label': 'The batch and the gradient, layer by layer'}, h('div', {role: 'rowgroup'}, head), body), result = h('p', {class: 'ae-verdict'}), legend = h('p', {class: 'nnv-note'}, 'A batch of 40 standard normal inputs through random weights without bias. zeros: share of outputs that are exactly 0. dead: share of units whose slope is 0 for the whole batch. ∂ back: size of the gradient of a random loss at this layer, as a multiple of that at the last.');
  w.figure.style.overflow = 'visible';
  w.figure.append(list, h('div', {class: 'ae-top'}, plot, card), h('div', {class: 'nnv-bar'}, xs, arg, beside), guessBox, table, result, h('div', {class: 'nnv-bar'}, players), h('div', {class: 'nnv-bar'}, init, gain, depth, shape, seed), legend);
  w.controls.append(guesser, link);

  let built = '';
  function build() {
    const width = plot.clientWidth || 320, id = [state.depth, width].join();
    if (id === built) return;
    built = id;
    const rows = Array.from({length: state.depth + 1}, (_, l) => {
      const pick = h('button', {type: 'button', 'aria-pressed': 'false', 'aria-label': l ? `Layer ${l}` : 'The input', onclick: () => put(model, {layer: l})}, l ? String(l) : 'in'), canvas = h('canvas', {'aria-hidden': 'true'}), cells = Array.from({length: 5}, () => h('span', {role: 'cell'}));
      return {pick, canvas, cells, node: h('div', {class: 'ae-line', role: 'row'}, h('span', {role: 'rowheader'}, pick), h('span', {role: 'cell'}, canvas), cells)};
    });
    body.replaceChildren(...rows.map(r => r.node));
    roving(w, rows.map(r => [r.pick]), {});
    const dpr = Math.min(2, devicePixelRatio || 1), cw = rows[0].canvas.clientWidth || 90;
    rows.forEach(r => Object.assign(r.canvas, {width: cw * dpr, height: 26 * dpr}));
    look = {...look, rows, width, high: Math.max(250, Math.min(360, width * 0.72)), cw, dpr, curve: ''};
  }

  // ---- what changes with the function
  const X = x => look.left + (x + 5) / 10 * look.wide, Y = y => look.top + (look.max - y) / (look.max - look.min) * look.tall;
  function curve(fn) { let d = ''; for (let i = 0; i <= 200; i++) { const x = -5 + i / 20, y = fn(x, state.a); d += `${i ? 'L' : 'M'}${X(x).toFixed(1)} ${Y(Math.max(look.min - 1, Math.min(look.max + 1, y))).toFixed(1)}`; } return d; }
  function jumpy(fn) {  // a derivative that jumps is drawn with a gap
    let d = '', was = null;
    for (let i = 0; i <= 400; i++) { const x = -5 + i / 40 + 1e-6, y = fn(x, state.a), jump = was === null || Math.abs(y - was) > 0.08; d += `${jump ? 'M' : 'L'}${X(x).toFixed(1)} ${Y(y).toFixed(1)}`; was = y; }
    return d;
  }
  function drawCurves() {
    const id = [state.activation, state.a, state.beside, look.width, look.high].join();
    if (id === look.curve) return;
    look.curve = id;
    const {width, high} = look, xs = Array.from({length: 201}, (_, i) => -5 + i / 20), values = xs.flatMap(x => [now.f(x, state.a), now.d(x, state.a)]).filter(Number.isFinite);
    const reach = Math.max(...values), least = Math.min(...values), min = Math.max(-6, Math.min(-1.3, least - 0.2)), max = Math.min(6, Math.max(1.5, reach + 0.2));
    Object.assign(look, {left: 30, wide: width - 30 - 62, top: 18, tall: high - 18 - 74, min, max});
    for (const [name, v] of [['width', width], ['height', high]]) svg.setAttribute(name, v);
    const ticks = [], step = max - min > 6 ? 2 : 1;
    for (let v = Math.ceil(min / step) * step; v <= max; v += step) ticks.push(s('path', {d: `M${X(-5)} ${Y(v)}H${X(5)}`, style: `stroke:var(--line);stroke-width:${v ? 0.7 : 1.5}`}), s('text', {x: 24, y: Y(v) + 4, 'text-anchor': 'end', class: 'ae-tick'}, fmt(v, 0)));
    for (let v = -4; v <= 4; v += 2) ticks.push(s('path', {d: `M${X(v)} ${look.top}V${look.top + look.tall}`, style: `stroke:var(--line);stroke-width:${v ? 0.7 : 1.5}`}), s('text', {x: X(v), y: look.top + look.tall + 17, 'text-anchor': 'middle', class: 'ae-tick'}, fmt(v, 0)));
    grid.replaceChildren(...ticks);
    pathF.setAttribute('d', curve(now.f)); pathD.setAttribute('d', jumpy(now.d));
    const e = all[state.beside];
    write(labelB, e && state.beside !== state.activation ? `grey: ${e.title}` : ''); labelB.setAttribute('x', X(-5) + 6); labelB.setAttribute('y', look.top + 13);
    pathB.setAttribute('d', e ? curve((x, a) => e.f(x, e.a?.[3] ?? 0)) : '');
  }
  function drawPoint() {
    const {x, a} = state, y = now.f(x, a), d = now.d(x, a), floor = look.top + look.tall, yy = Math.max(look.min, Math.min(look.max, y)), dd = Math.max(look.min, Math.min(look.max, d));
    attr(dot, 'transform', `translate(${X(x)} ${Y(yy)})`); attr(dotD, 'transform', `translate(${X(x)} ${Y(dd)})`);
    attr(guides, 'd', `M${X(x)} ${floor}V${Y(yy)}H${X(5)}`);
    const run = Math.min(1.1, 1.1 / Math.max(1, Math.abs(d)));
    attr(tangent, 'd', `M${X(x - run)} ${Y(y - run * d)}L${X(x + run)} ${Y(y + run * d)}`);
    const side = x > 1.5 ? -1 : 1, near = Math.abs(Y(yy) - Y(dd)) < 18, up = yy >= dd;
    for (const [node, text, at, shift] of [[labelF, `f = ${fmt(y, 3)}`, yy, near ? (up ? -9 : 17) : -4], [labelD, `f′ = ${fmt(d, 3)}`, dd, near ? (up ? 17 : -9) : 15]]) {
      write(node, text); attr(node, 'x', X(x) + 13 * side); attr(node, 'y', Math.max(14, Math.min(floor - 4, Y(at) + shift))); attr(node, 'text-anchor', side > 0 ? 'start' : 'end');
    }
    attr(svg, 'aria-label', `${now.title}: at x = ${fmt(x, 2)} the value is ${fmt(y, 3)} and the slope ${fmt(d, 3)}`);
    write(formula, `${now.title}: f(x) = ${now.formula}`); write(big, `f(${fmt(x, 2)}) = ${fmt(y, 4)}`); write(slope, `f′(${fmt(x, 2)}) = ${fmt(d, 4)}`);
    const lines = now.say(x, a);
    said.forEach((p, i) => { write(p, lines[i] ?? ''); show(p, !!lines[i]); });
    xs.set(x);
  }
  // ---- what changes with the network
  const bins = (counts, top) => { const most = Math.max(1, ...counts); return Array.from(counts, c => c / most * top); };
  function drawLayer() {
    const l = state.layer, layer = layers[l], floor = look.top + look.tall, base = floor + 70, hid = guess && !open;
    const inX = bins(histogram(layer.z, -5, 5, 50), 44), inY = bins(histogram(layer.a, look.min, look.max, 40), 50), wx = look.wide / 50, hy = look.tall / 40;
    attr(before, 'd', hid ? '' : inX.map((v, i) => v ? `M${X(-5) + i * wx} ${base}v${-v}h${wx - 0.6}v${v}z` : '').join(''));
    attr(after, 'd', hid || !l ? '' : inY.map((v, i) => v ? `M${X(5) + 6} ${look.top + look.tall - i * hy}h${v}v${-(hy - 0.6)}h${-v}z` : '').join(''));
    write(labelX, hid ? '' : l ? `layer ${l}: before` : 'the input'); attr(labelX, 'x', X(-5)); attr(labelX, 'y', base - 32);
    write(labelY, hid || !l ? '' : 'after'); attr(labelY, 'x', look.width - 2); attr(labelY, 'y', 13);
    const same = l ? layer.s : 0, out = layer.z.reduce((n, v) => n + (Math.abs(v) > 5), 0);
    write(layerNote, hid ? 'Covered until you have guessed.' : l ? `Layer ${l}: ${layer.n} units, weights with standard deviation ${fmt(same, 3)}. Its ${layer.z.length} numbers enter from below and leave to the right${out ? `; ${out} lie beyond ±5, in the outer bars` : ''}.` : 'The input: standard normal numbers.');
    look.rows.forEach((r, k) => { attr(r.pick, 'aria-pressed', String(k === l)); attr(r.node, 'class', 'ae-line' + (k === l ? ' ae-on' : '')); });
    if (!hid) w.say(`${now.title}, ${l ? `layer ${l}` : 'input'}: mean ${fmt(layer.mean, 2)}, standard deviation ${fmt(layer.std, 2)}, gradient ${fmt(layer.grad, 2)} times the last`);
  }
  const short = v => Math.abs(v) >= 1e4 ? v.toExponential(1).replace('e+', 'e') : Math.abs(v) >= 100 ? fmt(v, 0) : Math.abs(v) >= 10 ? fmt(v, 1) : fmt(v, 2);
  function drawTable() {
    const {ink, input, output, masked, gradient} = paint;
    look.rows.forEach((r, l) => {
      const layer = layers[l], values = [short(layer.mean), short(layer.std), `${Math.round(100 * layer.zeros)} %`, `${Math.round(100 * layer.dead)} %`, short(layer.grad)];
      values.forEach((v, i) => write(r.cells[i], v));
      attr(r.cells[1], 'class', layer.std < 0.1 || layer.std > 10 ? 'ae-bad' : ''); attr(r.cells[3], 'class', layer.dead >= 0.5 ? 'ae-bad' : ''); attr(r.cells[4], 'class', layer.grad < 0.1 || layer.grad > 10 ? 'ae-bad' : '');
      const c = r.canvas.getContext('2d'), {cw, dpr} = look, count = 48, tops = bins(histogram(layer.a, -3, 3, count), 25), wide = cw / count;
      c.setTransform(dpr, 0, 0, dpr, 0, 0); c.clearRect(0, 0, cw, 26);
      c.fillStyle = masked; c.fillRect(cw / 2, 0, 1, 26);
      tops.forEach((v, i) => { if (v) { c.fillStyle = i && i < count - 1 ? (l ? output : input) : gradient; const t = Math.max(1, v); c.fillRect(i * wide, 26 - t, Math.max(1, wide - 0.4), t); } });
    });
    const first = layers[1], end = layers[state.depth], per = (end.std / layers[0].std) ** (1 / state.depth), back = layers[0].grad ** (1 / state.depth);
    write(result, guess && !open ? '' : `Through ${state.depth} ${state.depth === 1 ? 'layer' : 'layers'} the standard deviation is multiplied by ${fmt(per, 2)} a layer, to ${short(end.std)}; back to the input the gradient by ${fmt(back, 2)} a layer, to ${short(layers[0].grad)} of what it was.`);
    table.classList.toggle('ae-cover', guess && !open);
  }
  function drawControls() {
    for (const [name, b] of Object.entries(buttons)) attr(b, 'aria-pressed', String(name === state.activation));
    show(arg, !!now.a);
    if (now.a) { const [label, min, max] = now.a; Object.assign(arg.input, {min, max}); arg.firstChild.data = label; attr(arg.input, 'aria-label', label); arg.set(state.a); }
    beside.set(state.beside); init.set(state.init); shape.set(state.shape); depth.set(state.depth);
    const log = Math.log10(state.gain);
    if (Math.abs(+gain.input.value - log) > 0.011) gain.set(log);
    show(guessBox, guess); show(answers, !open); show(verdict, open);
    write(question, `A random gradient goes back through ${state.depth} layers of ${now.title}, ${INITS[state.init].split(':')[0]} weights × ${fmt(state.gain, 2)}. On its way to the input, its size will`);
  }
  function draw() { now = compute(); run(); build(); drawControls(); drawCurves(); drawPoint(); drawLayer(); drawTable(); players.show(); }
  const colours = () => { paint = Object.fromEntries(['ink', 'input', 'output', 'masked', 'gradient'].map(n => [n, w.colour(n)])); };
  // What changes without a pause (a slider) is drawn 30 times a second, or as often as leaves the hand two thirds of the time.
  let cost = 0, drew = 0, soon = 0;
  const full = w.batch(() => { soon = 0; drew = performance.now(); draw(); cost = Math.min(60, performance.now() - drew); });
  const changed = () => { const wait = drew + Math.max(30, 3 * cost) - performance.now(); if (wait <= 0) full(); else soon ||= setTimeout(full, wait); };
  w.cleanups.push(() => clearTimeout(soon));
  const moved = w.batch(() => { now = compute(); drawPoint(); }), stepped = w.batch(() => { now = compute(); drawLayer(); players.show(); });
  w.on(model, 'activation a beside depth gain init shape seed', changed);
  w.on(model, 'x', moved);
  w.on(model, 'layer', stepped);
  let dragging = false;
  const follow = e => { const r = svg.getBoundingClientRect(); put(model, {x: +Math.max(-5, Math.min(5, ((e.clientX - r.left) - look.left) / look.wide * 10 - 5)).toFixed(2)}); };
  w.listen(plot, 'pointerdown', e => { dragging = true; plot.setPointerCapture?.(e.pointerId); follow(e); });
  w.listen(plot, 'pointermove', e => { if (dragging) follow(e); });
  for (const type of ['pointerup', 'pointercancel']) w.listen(plot, type, () => { dragging = false; });
  colours(); draw();
  let width = w.root.clientWidth;
  w.onResize(() => { if (w.root.clientWidth !== width) { width = w.root.clientWidth; changed(); } });
  w.onTheme(() => { colours(); changed(); });
  return () => w.close();
}

export default {render};
