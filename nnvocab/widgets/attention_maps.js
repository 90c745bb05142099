// Attention maps: the arithmetic first (named exports, held to torch by the tests), then the figure.

// Numbers out of base64: float16 or float32, to float64.
export function floats(text, type) {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  if (type === 'f4') return Float64Array.from(new Float32Array(bytes.buffer));
  return Float64Array.from(new Uint16Array(bytes.buffer), u => {
    const e = u >> 10 & 31, m = u & 1023, sign = u >> 15 ? -1 : 1;
    return sign * (e ? e === 31 ? (m ? NaN : Infinity) : (1 + m / 1024) * 2 ** (e - 15) : m * 2 ** -24);
  });
}

// Where query t may look: 1 or 0 for each (t, s). The last `extra` columns are a module's own: no pattern hides them.
export function visible(mask, T, S, {window: reach = 4, prefix = 4, hidden = [], extra = 0} = {}) {
  const seen = new Uint8Array(T * S);
  for (let t = 0; t < T; t++) for (let s = 0; s < S; s++) {
    seen[t * S + s] = +(!hidden.includes(s) && (s >= S - extra || mask === 'full' || (mask === 'window' ? s <= t && s > t - reach : s <= t || (mask === 'prefix' && s < prefix))));
  }
  return seen;
}

// Softmax of each row of (T, S) over what may be seen. A row that may look nowhere gets weights 0.
export function softmaxRows(scores, T, S, seen) {
  const weights = new Float64Array(T * S);
  for (let t = 0; t < T; t++) {
    let top = -Infinity, sum = 0;
    for (let i = t * S; i < t * S + S; i++) if (seen[i] && scores[i] > top) top = scores[i];
    if (top === -Infinity) continue;
    for (let i = t * S; i < t * S + S; i++) if (seen[i]) sum += weights[i] = Math.exp(scores[i] - top);
    for (let i = t * S; i < t * S + S; i++) weights[i] /= sum;
  }
  return weights;
}

// One head: q (T, D), k and v (S, D), flat. Scores are (q·k / √D + bias) / temperature.
export function attention(q, k, v, T, S, D, {seen, temperature = 1, bias = null} = {}) {
  const scores = new Float64Array(T * S), out = new Float64Array(T * D), root = Math.sqrt(D);
  for (let t = 0; t < T; t++) for (let s = 0; s < S; s++) {
    let dot = 0;
    for (let d = 0; d < D; d++) dot += q[t * D + d] * k[s * D + d];
    scores[t * S + s] = (dot / root + (bias ? bias[t * S + s] : 0)) / temperature;
  }
  const weights = softmaxRows(scores, T, S, seen ?? new Uint8Array(T * S).fill(1));
  for (let t = 0; t < T; t++) for (let s = 0; s < S; s++) {
    const a = weights[t * S + s];
    if (a) for (let d = 0; d < D; d++) out[t * D + d] += a * v[s * D + d];
  }
  return {q, k, v, bias, scores, weights, out};
}

// Where only weights are known: log(weight) is the score up to a constant of the row, so temperature and mask are exact.
export function reweigh(given, T, S, {seen, temperature = 1} = {}) {
  const scores = Float64Array.from(given, a => Math.log(a) / temperature);
  return {given, scores, weights: softmaxRows(scores, T, S, seen ?? new Uint8Array(T * S).fill(1))};
}

function linear(x, T, I, weight, bias, O) {
  const y = new Float64Array(T * O);
  for (let t = 0; t < T; t++) for (let o = 0; o < O; o++) {
    let a = bias[o], b = 0, c = 0, d = 0, i = t * I, j = o * I;  // four sums at once: none waits for another
    const end = i + I;
    for (; i + 3 < end; i += 4, j += 4) { a += x[i] * weight[j]; b += x[i + 1] * weight[j + 1]; c += x[i + 2] * weight[j + 2]; d += x[i + 3] * weight[j + 3]; }
    for (; i < end; i++, j++) a += x[i] * weight[j];
    y[t * O + o] = a + b + c + d;
  }
  return y;
}
function layerNorm(x, T, C, weight, bias) {
  const y = new Float64Array(T * C);
  for (let t = 0; t < T; t++) {
    let mean = 0, variance = 0;
    for (let c = 0; c < C; c++) mean += x[t * C + c] / C;
    for (let c = 0; c < C; c++) variance += (x[t * C + c] - mean) ** 2 / C;
    const scale = 1 / Math.sqrt(variance + 1e-5);
    for (let c = 0; c < C; c++) y[t * C + c] = (x[t * C + c] - mean) * scale * weight[c] + bias[c];
  }
  return y;
}

// The trained transformer's weights by name.
export function named(blob, layout) {
  const numbers = floats(blob, 'f2'), weights = {};
  let at = 0;
  for (const [name, shape] of layout) { const n = shape.reduce((a, b) => a * b, 1); weights[name] = numbers.slice(at, at += n); }
  return weights;
}

// The whole transformer: letters' ids to each layer's heads and to logits (T, V).
export function transformer(w, ids, {width: C, heads: H, hidden: F, layers: L}, {seen, temperature = 1, off = []} = {}) {
  const T = ids.length, D = C / H, x = new Float64Array(T * C), heads = [];
  for (let t = 0; t < T; t++) for (let c = 0; c < C; c++) x[t * C + c] = w['letters.weight'][ids[t] * C + c] + w['places.weight'][t * C + c];
  for (let l = 0; l < L; l++) {
    const p = name => w[`blocks.${l}.${name}`], mixed = new Float64Array(T * C);
    const qkv = linear(layerNorm(x, T, C, p('norm1.weight'), p('norm1.bias')), T, C, p('qkv.weight'), p('qkv.bias'), 3 * C);
    heads.push(Array.from({length: H}, (_, head) => {
      const part = n => { const y = new Float64Array(T * D); for (let t = 0; t < T; t++) for (let d = 0; d < D; d++) y[t * D + d] = qkv[t * 3 * C + n * C + head * D + d]; return y; };
      const found = attention(part(0), part(1), part(2), T, T, D, {seen, temperature});
      if (!off.some(([a, b]) => a === l && b === head)) for (let t = 0; t < T; t++) for (let d = 0; d < D; d++) mixed[t * C + head * D + d] = found.out[t * D + d];
      return found;
    }));
    const y = linear(mixed, T, C, p('out.weight'), p('out.bias'), C);
    for (let i = 0; i < T * C; i++) x[i] += y[i];
    const up = linear(layerNorm(x, T, C, p('norm2.weight'), p('norm2.bias')), T, C, p('up.weight'), p('up.bias'), F);
    for (let i = 0; i < T * F; i++) if (up[i] < 0) up[i] = 0;
    const down = linear(up, T, F, p('down.weight'), p('down.bias'), C);
    for (let i = 0; i < T * C; i++) x[i] += down[i];
  }
  const V = w['letters.weight'].length / C;
  return {heads, logits: linear(layerNorm(x, T, C, w['norm.weight'], w['norm.bias']), T, C, w['letters.weight'], new Float64Array(V), V), V};
}

export const encode = (text, letters) => [...text.toLowerCase()].map(c => Math.max(letters.indexOf(c), 0));

// Everything on the card about one cell, as plain numbers.
export function explain({q, k, v, bias, given, scores, weights}, t, s, T, S, D, {seen, temperature = 1} = {}) {
  const terms = [], parts = [], out = [];
  let dot = 0, top = -Infinity, sum = 0;
  if (q) for (let d = 0; d < D; d++) { terms.push(q[t * D + d] * k[s * D + d]); dot += terms[d]; }
  for (let i = 0; i < S; i++) if (seen[t * S + i]) top = Math.max(top, scores[t * S + i]);
  const exps = Array.from({length: S}, (_, i) => seen[t * S + i] && top > -Infinity ? Math.exp(scores[t * S + i] - top) : 0);
  for (const e of exps) sum += e;
  const weight = weights[t * S + s];
  if (v) for (let d = 0; d < D; d++) {
    parts.push(weight * v[s * D + d]);
    let y = 0;
    for (let i = 0; i < S; i++) y += weights[t * S + i] * v[i * D + d];
    out.push(y);
  }
  return {terms, dot, scaled: dot / Math.sqrt(D), bias: bias ? bias[t * S + s] : 0, given: given ? given[t * S + s] : null, score: scores[t * S + s], allowed: !!seen[t * S + s], top, exps, sum, weight, parts, out};
}

// How much of a head's weight lies on the letter before, on the one before that, on itself, on the first, on the same letter earlier, and on what
// came after that (copy): means over the rows where such a place exists; null where fewer than two rows have one.
export function habits(weights, T, ids) {
  const mean = place => {
    let sum = 0, rows = 0;
    for (let t = 1; t < T; t++) {
      let here = 0, any = false;
      for (let s = 0; s < T; s++) if (place(t, s)) { here += weights[t * T + s]; any = true; }
      if (any) { sum += here; rows++; }
    }
    return rows > 1 ? sum / rows : null;
  };
  return {before: mean((t, s) => s === t - 1), 'two back': mean((t, s) => s === t - 2), itself: mean((t, s) => s === t), first: mean((t, s) => s === 0),
    same: mean((t, s) => s < t && ids[s] === ids[t]), copy: mean((t, s) => s > 0 && s <= t && s - 1 < t && ids[s - 1] === ids[t])};
}

const MEANING = {before: 'the token before', 'two back': 'the token two places back', itself: 'the token itself', first: 'the first token', same: 'the same token earlier', copy: 'what followed the same token earlier'};
const MASK_TEXT = {full: 'full: all positions', causal: 'causal: none that comes later', window: 'sliding window: the last few', prefix: 'prefix: the first few, then causal'};
const LOOK = `.nnv [hidden]{display:none!important}.am-board{width:max-content;position:relative}.am-heads{display:grid;gap:8px;grid-template-columns:repeat(auto-fill,minmax(74px,1fr));margin:8px 0 4px}
.am-heads button{padding:3px;font-size:13px;line-height:1.25;min-height:0;display:flex;flex-direction:column;align-items:center;gap:2px;background:var(--paper);overflow:hidden}
.am-heads canvas{width:100%;max-width:104px;aspect-ratio:1;image-rendering:pixelated}.am-heads b{font-weight:600}.am-heads span{contain:strict;width:100%;height:34px;text-align:center;line-height:1.25}.am-row{display:flex}
.am-names,.am-corner{position:sticky;left:0;z-index:3;background:var(--paper);flex:none}.am-names div{font-size:13px;padding-right:6px;text-align:right;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;color:var(--soft)}
.am-names div.am-on{color:var(--input);font-weight:700}.am-keys{display:flex;align-items:flex-end}.nnv .am-keys button{padding:2px 0;min-width:0;min-height:24px;border:0;border-radius:4px;background:none;font-size:13px;line-height:1.15;flex:none;overflow:hidden}
.am-keys.am-tall button{writing-mode:vertical-rl;transform:rotate(180deg);text-align:left;padding:0 0 3px}
.nnv .am-keys button.am-on{color:var(--state);font-weight:700}.nnv .am-keys button[aria-pressed=true]{box-shadow:none;color:var(--masked);text-decoration:line-through}
.am-cells{position:relative;flex:none;cursor:crosshair;touch-action:pan-x pan-y}.am-line{position:absolute;left:0;top:0;display:flex;outline:2px solid var(--focus);outline-offset:-1px;z-index:1}
.am-line div{flex:none;height:100%;outline-offset:-3px}.am-line div.am-on{position:relative;z-index:1;box-shadow:inset 0 0 0 1px #fff,0 0 0 2.5px #b34700}
.am-ribbons{display:block;max-width:none!important;overflow:visible}.am-card{margin:10px 0 0;padding:0;list-style:none;counter-reset:n}.am-card>li,.am-panel,.am-grids{content-visibility:auto;contain-intrinsic-size:auto 110px}.am-card>li{counter-increment:n;border-top:1px solid var(--line);padding:7px 0 8px 30px;position:relative}
.am-card>li::before{content:counter(n);position:absolute;left:0;top:8px;width:21px;height:21px;border-radius:50%;background:var(--panel);border:1px solid var(--line);font-size:13px;line-height:19px;text-align:center}
.am-chips{display:flex;flex-wrap:wrap;gap:4px;margin:4px 0}.am-chip{border:1px solid var(--line);border-radius:6px;padding:2px 6px;font-size:14px;min-width:66px;text-align:right;line-height:1.35;display:grid}
.am-chip>:first-child{font-size:13px;color:var(--soft);text-align:center}.nnv .am-chip button{border:0;padding:0;min-height:24px;min-width:0;background:none;font-size:13px;text-decoration:underline;text-underline-offset:3px}
.am-chip.am-on{border-color:var(--focus);box-shadow:inset 0 0 0 1px var(--focus)}.nnv .am-chip input[type=number]{color:inherit;width:56px}.nnv .am-chip input,.nnv .am-grid input{width:62px;padding:1px 3px;min-height:26px;text-align:right}
.am-chip i,.am-sum i{font-style:normal;border-top:1px solid var(--line)}.nnv .am-term{border:0;background:none;padding:0 2px;min-width:24px;min-height:24px;font-size:14px;line-height:1.4}.nnv .am-term.am-on{box-shadow:inset 0 -2px 0 var(--gradient);font-weight:700;border-radius:0}
.am-result{font-weight:650}.am-next{display:grid;grid-template-columns:repeat(5,auto) minmax(40px,1fr);gap:1px 12px;align-items:center;font-size:14px;text-align:right;margin-top:4px}.am-next>*{min-width:0}
.am-bar{height:12px;background:var(--output);border-radius:2px;transform-origin:left;width:100%}.am-next .c-head{color:var(--soft);font-size:13px}.am-panel{border-top:1px solid var(--line);padding-top:8px;margin-top:2px}
.am-grids{display:flex;flex-wrap:wrap;gap:8px 18px;margin-top:8px}.am-grid{overflow-x:auto;max-width:100%}.nnv .am-grid th,.nnv .am-grid td{padding:1px 3px;font-weight:400;font-size:13px}.am-grid caption{text-align:left;font-weight:650;padding:2px 0}
.am-grid tr.am-on th{font-weight:700;text-decoration:underline}.am-goal{border-left:3px solid var(--output);padding:2px 0 2px 10px;margin:8px 0}.am-off canvas{opacity:.35}.nnv .am-text{flex:1 1 240px}.nnv .am-text input{flex:1;min-width:0}
@container (max-width:480px){.am-heads{grid-template-columns:repeat(4,1fr);gap:5px}.am-next{gap:1px 8px}.am-card>li{padding-left:0}.am-card>li::before{display:none}}`;
const TEXTS = ['the moon rose. the moon r', 'xq7kz mop xq7kz mop xq7kz', 'number of instances: number of', 'the cat sat. the cat sat', 'attention is all you need'];
const shownLetter = c => c === ' ' ? '␣' : c;
const lower = n => [...String(n)].map(c => '₀₁₂₃₄₅₆₇₈₉'[c]).join('');
const short = x => Math.abs(x) < 0.005 ? '0.00' : fmt(x, 2);
const percent = a => a >= 0.005 ? String(Math.round(100 * a)) : '';
const COLOURS = Array.from({length: 256}, (_, i) => { const rgb = magnitudeRGB(i, 255); return {rgb, fill: css(rgb), ink: inkOn(rgb)}; });
const NEXT = 6;

function render({model, el}) {
  const own = () => model.get('tab') === 'own', kind = model.get('kind'), spec = model.get('spec'), presets = model.get('presets');
  const trained = () => kind === 'transformer' && !own();
  const w = frame(el, {name: 'Attention maps', title: 'Where each position looks, and why',
    lead: 'Each row is a query, each column a key; a cell is the weight in percent. Point at a cell, or choose it, to follow its arithmetic.'});
  w.root.querySelector('style').append(LOOK);
  const link = shared(w, model, 'AttentionMaps', {tab: 'string', text: 'string', layer: 'number', head: 'number', row: 'number', col: 'number', mask: 'string', window: 'number', prefix: 'number',
    temperature: 'number', hidden: 'json', off: 'json', words: 'json', dims: 'json', q: 'json', k: 'json', v: 'json'});
  const weights = kind === 'transformer' ? named(model.get('blob'), spec.layout) : null;
  const numbers = kind === 'transformer' ? null : floats(model.get('blob'), 'f4');
  let peek = null, guess = false, now = null, shape = '';
  const shown = new Set();  // rows that the reader has guessed

  // ---- what is seen now
  const clamp = (x, n) => Math.max(0, Math.min(n - 1, Math.round(x) || 0));
  function compute() {
    const temperature = Math.max(0.01, +model.get('temperature') || 1), options = {window: model.get('window'), prefix: model.get('prefix'), hidden: model.get('hidden') ?? []};
    const mask = MASK_TEXT[model.get('mask')] ? model.get('mask') : 'causal';
    let T, S, D, heads, queries, keys, ids, logits = null, V = 0, extra = 0;
    if (own()) {
      const [q, k, v] = ['q', 'k', 'v'].map(n => model.get(n));
      T = S = Math.min(q.length, k.length, v.length); D = Math.min(q[0].length, k[0].length);
      queries = keys = Array.from({length: T}, (_, i) => model.get('words')[i] ?? String(i + 1)); ids = keys;
    } else if (kind === 'transformer') {
      const text = [...model.get('text')].slice(0, spec.context);
      if (!text.length) text.push(' ');
      T = S = text.length; D = spec.record.shape.width / spec.H; ids = encode(text.join(''), spec.letters);
      queries = keys = ids.map(i => shownLetter(spec.letters[i]));
    } else ({T, S, D, queries, keys, extra} = spec), ids = keys;
    const seen = visible(mask, T, S, {...options, extra}), set = {seen, temperature};
    if (own()) heads = [[attention(...['q', 'k', 'v'].map(n => model.get(n).slice(0, T).flatMap(r => r.slice(0, D))), T, S, D, set)]];
    else if (kind === 'transformer') ({heads, logits, V} = transformer(weights, ids, spec.record.shape, {...set, off: model.get('off') ?? []}));
    else {
      const {L, H} = spec, cut = (start, n, i) => numbers.subarray(start + i * n, start + (i + 1) * n), qs = L * H * T * D, ks = L * H * S * D;
      heads = Array.from({length: L}, (_, l) => Array.from({length: H}, (_, g) => {
        const i = l * H + g;
        return kind === 'weights' ? reweigh(cut(0, T * S, i), T, S, set)
          : attention(cut(0, T * D, i), cut(qs, S * D, i), cut(qs + ks, S * D, i), T, S, D, {...set, bias: spec.bias ? cut(qs + 2 * ks, T * S, i) : null});
      }));
      if (spec.bias) seen.barred = true;
    }
    now = {T, S, D, L: heads.length, H: heads[0].length, heads, queries, keys, ids, logits, V, seen, temperature, mask, extra, prefix: options.prefix, reach: options.window, hidden: options.hidden};
    return now;
  }
  const place = () => ({l: clamp(model.get('layer'), now.L), g: clamp(model.get('head'), now.H)});
  const pinned = () => ({t: clamp(model.get('row'), now.T), s: clamp(model.get('col'), now.S)});
  const here = () => peek && peek.t < now.T && peek.s < now.S ? peek : pinned();
  const current = () => { const {l, g} = place(); return now.heads[l][g]; };
  const strongest = t => { const a = current().weights; let best = 0; for (let s = 1; s < now.S; s++) if (a[t * now.S + s] > a[t * now.S + best]) best = s; return best; };
  const covered = t => guess && !shown.has(t);
  const can = (t, s) => !!now.seen[t * now.S + s] && current().scores[t * now.S + s] > -Infinity;

  // ---- the parts that stand still
  const tabs = h('div', {class: 'nnv-bar', role: 'group', 'aria-label': 'What is shown'});
  const tabName = kind === 'transformer' ? 'A trained transformer' : kind === 'qkv' ? `Your ${spec.name ?? 'module'}` : 'Your weights';
  const tab = {given: button({label: tabName, pressed: !own(), on: () => swap('given')}), own: button({label: 'Your own Q, K, V', pressed: own(), on: () => swap('own')})};
  tabs.append(tab.given, tab.own);
  const KEPT = ['mask', 'row', 'col', 'temperature', 'hidden'], kept = {};
  function swap(to) {  // each tab keeps its own cell and mask
    const from = own() ? 'own' : 'given';
    if (from === to) return;
    kept[from] = Object.fromEntries(KEPT.map(n => [n, model.get(n)]));
    rest();
    put(model, {tab: to, ...(kept[to] ?? (to === 'own' ? start(ownPreset()) : {mask: kind === 'transformer' ? 'causal' : 'full', hidden: [], temperature: 1, row: 1e6}))});
    draw();
    if (to === 'given' && !kept.given) { put(model, {row: pinned().t}); follow(); }
  }
  const rest = () => { players.pause(); peek = null; shown.clear(); };
  const start = p => ({mask: p.mask, row: p.at[0], col: p.at[1], temperature: 1, hidden: []});
  const ownPreset = () => presets.find(p => p.words.join() === model.get('words').join()) ?? presets[0];

  const field = h('input', {type: 'text', maxlength: spec.context ?? 48, spellcheck: 'false', autocomplete: 'off', 'aria-label': 'Text for the transformer', oninput: () => { rest(); put(model, {text: field.value || ' ', row: Math.max(0, [...field.value].length - 1), hidden: []}); follow(); }});
  const texts = choice({label: 'or', options: [['', 'an example …'], ...TEXTS.map(x => [x, x])], value: '', on: v => { if (v) { rest(); put(model, {text: v, row: v.length - 1, hidden: []}); follow(); } }});
  texts.input.setAttribute('aria-label', 'An example text');
  const textBar = h('div', {class: 'nnv-bar'}, h('label', {class: 'am-text'}, 'Text', field), texts);
  const preset = choice({label: 'Start from', options: presets.map(p => p.name), value: presets[0].name, on: name => {
    const p = presets.find(x => x.name === name); rest();
    put(model, {words: p.words, dims: p.dims, q: p.q, k: p.k, v: p.v, dim: 0, ...start(p)});
  }});
  const phrase = h('input', {type: 'text', maxlength: 90, spellcheck: 'false', autocomplete: 'off', 'aria-label': 'Your own words, at most ten', onchange: () => {
    const words = phrase.value.trim().split(/\s+/).filter(Boolean).slice(0, 10), zero = () => model.get('dims').map(() => 0); rest();
    if (words.length) put(model, {words, ...Object.fromEntries(['q', 'k', 'v'].map(n => [n, words.map((_, i) => model.get(n)[i] ?? zero())])), row: words.length - 1, hidden: []});
  }});
  const ownBar = h('div', {class: 'nnv-bar'}, preset, h('label', {class: 'am-text'}, 'Words', phrase));
  const goal = h('p', {class: 'am-goal'});
  const heads = h('div', {class: 'am-heads', role: 'group', 'aria-label': 'Heads'});
  const layers = choice({label: 'Layer', options: Array.from({length: spec.L}, (_, i) => [i, i + 1]), value: clamp(model.get('layer'), spec.L), on: l => { peek = null; put(model, {layer: l}); follow(); }});
  const legend = h('p', {class: 'nnv-note'});
  const ribbons = s('svg', {class: 'am-ribbons', 'aria-hidden': 'true', height: 64}), asker = s('text', {y: 13, 'text-anchor': 'middle', 'font-weight': 700, style: {fill: 'var(--input)'}});
  const corner = h('div', {class: 'am-corner'}), keys = h('div', {class: 'am-keys', role: 'group', 'aria-label': 'Keys: press one to hide it from all queries'}), names = h('div', {class: 'am-names', 'aria-hidden': 'true'});
  const canvas = h('canvas', {'aria-hidden': 'true'}), line = h('div', {class: 'am-line', role: 'row'}), grid = h('div', {role: 'grid', 'aria-label': 'Attention weights: rows are queries, columns are keys', 'aria-readonly': 'true'}, line);
  const cells = h('div', {class: 'am-cells'}, canvas, grid);
  const ribbonRow = h('div', {class: 'am-row'}, h('div', {class: 'am-corner'}), ribbons);
  const board = h('div', {class: 'am-board'}, ribbonRow, h('div', {class: 'am-row'}, corner, keys), h('div', {class: 'am-row'}, names, cells));
  const scroll = h('div', {class: 'nnv-fig'}, board);
  const players = player(w, {length: () => now?.T ?? 1, get: () => now ? pinned().t : 0, set: t => { peek = null; put(model, {row: t, col: guess ? pinned().s : strongest(t)}); }, rate: 1.5, names: 'query row'});
  const mask = choice({label: 'Mask', options: Object.entries(MASK_TEXT), value: model.get('mask'), on: v => { peek = null; put(model, {mask: v}); }});
  const reach = slider({label: 'Window', min: 1, max: 24, value: model.get('window'), on: v => put(model, {window: v})});
  const prefix = slider({label: 'Prefix', min: 0, max: 24, value: model.get('prefix'), on: v => put(model, {prefix: v})});
  const heat = slider({label: 'Temperature τ', min: -2, max: 1, step: 0.02, value: Math.log10(model.get('temperature')), format: x => fmt(10 ** x, x < -0.999 ? 2 : 2), on: x => put(model, {temperature: Math.abs(x) < 0.011 ? 1 : +(10 ** x).toPrecision(3)})});
  const silent = toggle({label: 'Switch this head off', value: false, on: v => {
    const {l, g} = place(), left = (model.get('off') ?? []).filter(([a, b]) => a !== l || b !== g);
    put(model, {off: v ? [...left, [l, g]] : left});
  }});
  const guesser = toggle({label: 'Guess first', value: false, on: v => { guess = v; shown.clear(); peek = null; changed(); verdict.textContent = v ? 'All rows are covered. In the framed row, choose the column that you expect to be strongest.' : ''; }});
  const verdict = h('p', {class: 'nnv-note', 'aria-live': 'polite'});
  const card = h('ol', {class: 'am-card', 'aria-label': 'The arithmetic of this cell'}), panel = h('div', {class: 'am-panel'}), grids = h('div', {class: 'am-grids'});
  w.figure.style.overflow = 'visible';
  w.figure.append(tabs, textBar, ownBar, goal, h('div', {class: 'nnv-bar'}, layers), heads, legend, scroll, h('div', {class: 'nnv-bar'}, players), h('div', {class: 'nnv-bar'}, mask, reach, prefix, heat, silent, guesser), verdict, card, panel, grids);
  w.controls.append(link);
  const follow = () => { if (!now) return; compute(); if (!guess) put(model, {col: strongest(pinned().t)}); };

  // ---- built anew only when the number of rows, columns or dimensions changes
  let look = {}, part = {};
  function build() {
    const {T, S, D, L, H} = now, {l} = place(), q = current().q, all = L * H <= 16;
    const id = [T, S, D, L, H, own(), all ? '' : l, keysWidth(), w.root.clientWidth].join();
    if (id === shape) return false;
    shape = id; last = 0;
    const longest = list => Math.max(...list.map(x => [...x].length)), tall = longest(now.keys) > 2;
    const left = Math.min(96, 16 + 7.6 * longest(now.queries)), room = w.root.clientWidth - 32 - left;
    const wide = Math.max(24, Math.min(own() ? 58 : 34, Math.floor(room / S))), high = Math.max(24, Math.min(30, wide));
    look = {left, wide, high, drawn: [], at: '', scrolls: S * wide > room};
    for (const n of [corner, names, ribbonRow.firstChild]) n.style.width = left + 'px';
    names.replaceChildren(...now.queries.map(() => h('div', {style: {height: high + 'px', lineHeight: high + 'px'}})));
    const upright = tall && 7.8 * longest(now.keys) > wide - 4;
    keys.className = 'am-keys' + (upright ? ' am-tall' : '');
    const size = upright ? Math.min(100, 10 + 7.8 * longest(now.keys)) : 26;
    const buttons = now.keys.map((_, i) => h('button', {type: 'button', 'aria-pressed': 'false', style: {width: wide + 'px', height: size + 'px'}, onclick: () => hide(i)}));
    keys.replaceChildren(...buttons); roving(w, [buttons], {});
    ribbons.setAttribute('width', S * wide);
    const paths = Array.from({length: S}, () => s('path', {fill: 'none', style: {stroke: 'var(--weight)'}, opacity: 0.75})), dots = Array.from({length: T === S ? T : 0}, (_, i) => s('circle', {cx: (i + 0.5) * wide, cy: 18, r: 2, style: {fill: 'var(--line)'}}));
    ribbons.replaceChildren(...dots, ...paths, asker);
    const dpr = Math.min(2, devicePixelRatio || 1);
    Object.assign(canvas, {width: S * wide * dpr, height: T * high * dpr}); Object.assign(canvas.style, {width: S * wide + 'px', height: T * high + 'px', maxWidth: 'none'});
    line.style.height = high + 'px';
    const row = Array.from({length: S}, (_, i) => h('div', {role: 'gridcell', 'aria-colindex': i + 1, tabindex: -1, style: {width: wide + 'px'}}));
    line.replaceChildren(...row);
    grid.setAttribute('aria-rowcount', T); grid.setAttribute('aria-colcount', S);
    const list = all ? now.heads.flatMap((r, a) => r.map((_, b) => [a, b])) : now.heads[l].map((_, b) => [l, b]);
    const maps = list.map(([a, b]) => {
      const c = h('canvas', {width: S, height: T, 'aria-hidden': 'true'}), caption = h('span', {});
      const node = h('button', {type: 'button', onclick: () => { peek = null; put(model, {layer: a, head: b}); if (!guess) put(model, {col: strongest(pinned().t)}); }}, c, h('b', {}, L > 1 ? `${a + 1}·${b + 1}` : `head ${b + 1}`), caption);
      return {a, b, c, caption, node, context: c.getContext('2d'), image: new ImageData(S, T)};
    });
    heads.style.gridTemplateColumns = H === 4 || H === 8 ? `repeat(${w.root.clientWidth < 620 ? 4 : Math.min(8, list.length)},1fr)` : '';
    heads.replaceChildren(...maps.map(m => m.node));
    part = {buttons, paths, row, maps, rows: [...names.children]};
    buildCard(!!q);
    buildPanel();
    buildGrids();
    return true;
  }
  const keysWidth = () => own() || kind !== 'transformer' ? now.keys.join('|') : '';
  const hide = i => { const list = now.hidden.includes(i) ? now.hidden.filter(x => x !== i) : [...now.hidden, i]; put(model, {hidden: list}); };

  // ---- the card
  const edit = (n, i, d, value) => { const rows = model.get(n).map(r => [...r]); if (Number.isFinite(value)) { rows[i][d] = value; put(model, {[n]: rows}); } };
  const number = (label, on) => h('input', {type: 'number', step: 0.5, 'aria-label': label, oninput: e => on(e.target.valueAsNumber)});
  function buildCard(known) {
    const {D, S} = now, c = part.card = {known}, name = own() ? d => model.get('dims')[d] ?? d + 1 : d => d + 1;
    const chips = (n, make) => Array.from({length: n}, (_, d) => make(d));
    const span = (className, ...more) => h('span', {class: className}, ...more);
    const b = () => h('b', {}), li = (...x) => h('li', {}, ...x);
    const terms = after => { const list = chips(S, i => h('button', {type: 'button', class: 'am-term'})); roving(w, [list], {focus: (_, i) => light(i), activate: (_, i) => put(model, {col: i})});
      list.forEach((node, i) => { node.addEventListener('click', () => { peek = null; put(model, {col: i}); }); node.addEventListener('pointerenter', () => light(i)); node.addEventListener('pointerleave', () => light(-1)); node.addEventListener('blur', () => light(-1)); });
      return {list, node: h('div', {class: 'am-sum', role: 'group', 'aria-label': after}, ...list.flatMap((x, i) => i ? [' + ', x] : [x]))}; };
    c.head = h('p', {class: 'am-result', style: {margin: '10px 0 4px'}});
    if (known) {
      c.qk = chips(D, d => { const q = own() ? number('', v => edit('q', pinned().t, d, v)) : span(''), k = own() ? number('', v => edit('k', pinned().s, d, v)) : span(''), p = h('i', {});
        return {q, k, p, node: h('div', {class: 'am-chip'}, span('', own() ? name(d) : `q${lower(d + 1)} k${lower(d + 1)}`), h('span', {class: 'c-input'}, q), h('span', {class: 'c-state'}, '× ', k), h('span', {}, '= ', p))}; });
      c.dot = b(); c.step = h('span', {}); c.terms = terms('The exponentials of the row');
      c.one = li(h('span', {}, 'Multiply ', span('c-input', 'query'), ' and ', span('c-state', 'key'), ' number by number', own() ? ' (change them here), and add up:' : ', and add up:'), h('div', {class: 'am-chips'}, c.qk.map(x => x.node)), h('div', {}, 'q · k = ', c.dot));
      c.two = li(c.step);
    } else {
      c.terms = terms('The exponentials of the row'); c.step = h('span', {});
      c.one = li('q and k are not known here: only the weights were given. A weight tells its score up to a constant of the row, and softmax does not see constants: the score is log(weight).');
      c.two = li(c.step);
    }
    c.rule = h('span', {}); c.three = li(c.rule);
    c.exp = h('span', {}); c.sumText = h('span', {}); c.weight = h('div', {class: 'am-result c-weight'});
    c.four = li(c.exp, h('div', {}, 'The row’s sum:'), c.terms.node, c.sumText, c.weight);
    const list = [c.one, c.two, c.three, c.four];
    if (known) {
      c.av = chips(D, d => { const v = own() ? number('', x => edit('v', pinned().s, d, x)) : span(''), a = span(''), p = h('i', {}), pick = h('button', {type: 'button', 'aria-label': `Show how number ${d + 1} of the output adds up`, onclick: () => put(model, {dim: d})}, own() ? name(d) : `v${lower(d + 1)}`);
        return {v, a, p, node: h('div', {class: 'am-chip'}, pick, h('span', {class: 'c-output'}, v), h('span', {class: 'c-weight'}, '× ', a), h('span', {}, '= ', p))}; });
      c.out = h('span', {}); c.mix = terms('The weighted sum'); c.total = h('span', {class: 'am-result c-output'});
      c.five = li(h('span', {}, 'The weight scales the key’s ', span('c-output', 'value'), ':'), h('div', {class: 'am-chips'}, c.av.map(x => x.node)));
      c.six = li(c.out, c.mix.node, c.total);
      list.push(c.five, c.six);
    } else list.push(c.five = li('The output would be the weighted sum of the values. A weights tensor holds no values; give the module itself, AttentionMaps(module, x), to follow them.'));
    card.replaceChildren(...list);
    card.before(c.head);
    part.oldHead?.remove(); part.oldHead = null;
    for (const old of w.figure.querySelectorAll('.am-result.am-title')) old.remove();
    c.head.classList.add('am-title');
  }
  let lit = -1;
  function light(i) { if (lit >= 0) part.row[lit]?.style.removeProperty('background'); lit = i; if (i >= 0 && part.row[i]) part.row[i].style.background = 'rgba(255,140,60,.45)'; }
  // Write only what differs from what was written last: reading the document back would cost more than the numbers do.
  const write = (node, text) => { if (node.was !== text) { node.was = text; if (node.firstChild?.nodeType === 3 && !node.firstChild.nextSibling) node.firstChild.data = text; else node.textContent = text; } };
  const attr = (node, name, value) => { const was = node.wrote ??= {}; if (was[name] !== value) node.setAttribute(name, was[name] = value); };
  const enter = (node, x, label) => { if (document.activeElement !== node && node.value !== String(x)) node.value = x; attr(node, 'aria-label', label); };
  function drawCard() {
    const c = part.card, {t, s: i} = here(), {T, S, D, seen, temperature, queries, keys: names} = now, head = current(), hid = covered(t);
    card.hidden = hid; panel.hidden = hid || !now.logits;
    const {l, g} = place(), who = `“${queries[t]}” (row ${t + 1})`, whom = `“${names[i]}” (column ${i + 1})`;
    write(c.head, hid ? `Row ${t + 1}, “${queries[t]}”: where does it look?` : `${own() ? 'How' : `Layer ${l + 1}, head ${g + 1}: how`} much ${who} looks at ${whom}`);
    if (hid) return;
    const e = explain(head, t, i, T, S, D, {seen, temperature}), ok = e.allowed && e.score > -Infinity, none = e.sum === 0, f = short, wrap = x => x <= -0.005 ? `(${f(x)})` : f(x);
    if (c.known) {
      c.qk.forEach((chip, d) => {
        const a = head.q[t * D + d], b = head.k[i * D + d];
        if (own()) { enter(chip.q, a, `Query of ${queries[t]}, ${model.get('dims')[d] ?? d + 1}`); enter(chip.k, b, `Key of ${names[i]}, ${model.get('dims')[d] ?? d + 1}`); } else { write(chip.q, f(a)); write(chip.k, f(b)); }
        write(chip.p, f(e.terms[d]));
      });
      write(c.dot, f(e.dot));
      write(c.step, `Divide by √D = √${D} = ${f(Math.sqrt(D))}: ${f(e.dot)} / ${f(Math.sqrt(D))} = ${f(e.scaled)}` + (head.bias ? `; the module’s own mask adds ${f(e.bias)}` : '') + (temperature !== 1 ? `; divide by the temperature τ = ${f(temperature)}: ${f(e.score)}` : ''));
    } else write(c.step, `log(${fmt(e.given, 3)}) = ${f(Math.log(e.given))}` + (temperature !== 1 ? `; divided by the temperature τ = ${f(temperature)}: ${f(e.score)}` : ''));
    const rule = {full: 'The mask is full: every key may be seen', causal: `Causal mask: row ${t + 1} sees columns 1 to ${Math.min(t + 1, S)}`, window: `Sliding window: row ${t + 1} sees columns ${Math.max(1, t + 2 - now.reach)} to ${Math.min(t + 1, S)}`, prefix: `Prefix mask: row ${t + 1} sees columns 1 to ${Math.min(S, Math.max(now.prefix, t + 1))}`}[now.mask];
    write(c.rule, `${rule}${now.hidden.includes(i) ? `; column ${i + 1} is hidden from all` : ''}. ` + (ok ? `The score stays ${f(e.score)}.` : 'This score becomes −∞.'));
    write(c.exp, none ? 'This row may look nowhere. 0 / 0 is not a number, so the row is defined: all its weights are 0, and so is its output.' : ok ? `exp(${f(e.score)} − ${wrap(e.top)}) = ${fmt(e.exps[i], 3)}. The row’s largest score, ${f(e.top)}, is taken off first: no weight changes, and no exp overflows.` : 'exp(−∞) = 0.');
    c.terms.list.forEach((node, j) => { write(node, short(e.exps[j])); attr(node, 'class', 'am-term' + (j === i ? ' am-on' : '')); attr(node, 'aria-label', `${names[j]}: exp ${short(e.exps[j])}`); });
    write(c.sumText, ` = ${fmt(e.sum, 3)}`);
    write(c.weight, none ? 'weight α = 0' : `weight α = ${fmt(e.exps[i], 3)} / ${fmt(e.sum, 3)} = ${fmt(e.weight, 3)}`);
    if (c.known) {
      const d = clamp(model.get('dim'), D);
      c.av.forEach((chip, j) => {
        const x = head.v[i * D + j];
        if (own()) enter(chip.v, x, `Value of ${names[i]}, ${model.get('dims')[j] ?? j + 1}`); else write(chip.v, f(x));
        write(chip.a, short(e.weight)); write(chip.p, f(e.parts[j]));
        attr(chip.node, 'class', 'am-chip' + (j === d ? ' am-on' : ''));
      });
      write(c.out, `Number ${d + 1}${own() ? ` (${model.get('dims')[d] ?? ''})` : ''} of the output adds weight × value over all keys:`);
      c.mix.list.forEach((node, j) => { const a = head.weights[t * S + j], x = head.v[j * D + d]; write(node, `${short(a)}·${wrap(x)}`); attr(node, 'class', 'am-term' + (j === i ? ' am-on' : '')); attr(node, 'aria-label', `${names[j]}: ${short(a)} times ${f(x)}`); });
      write(c.total, ` = ${f(e.out[d])}.  The whole output of row ${t + 1}: (${e.out.map(f).join(', ')})`);
    }
    if (!peek && !players.playing()) w.say(`Row ${queries[t]}, column ${names[i]}: weight ${fmt(e.weight, 3)}${ok ? '' : ', hidden'}`);
  }

  // ---- the next letter
  function buildPanel() {
    panel.hidden = !now.logits;
    if (!now.logits) return;
    const p = part.next = {title: h('div', {class: 'am-result'}), note: h('p', {class: 'nnv-note'}), rows: Array.from({length: NEXT}, () => ({letter: h('b', {}), logit: h('span', {}), exp: h('span', {}), part: h('span', {class: 'c-masked'}), p: h('span', {class: 'c-output'}), bar: h('div', {class: 'am-bar'})}))};
    const table = h('div', {class: 'am-next'}, ['next', 'logit', 'exp(logit − max)', '÷ sum', '= p', ''].map(x => h('span', {class: 'c-head'}, x)), p.rows.flatMap(r => [r.letter, r.logit, r.exp, r.part, r.p, h('div', {}, r.bar)]));
    const add = button({label: 'Write the likeliest letter', on: () => { rest(); const T = now.T, best = spec.letters[ranked(T - 1)[0].i]; if (T < spec.context) { put(model, {text: model.get('text') + best, row: T}); follow(); } }});
    panel.replaceChildren(p.title, table, p.note, h('div', {class: 'nnv-bar'}, add));
  }
  const ranked = t => Array.from({length: now.V}, (_, i) => ({i, x: now.logits[t * now.V + i]})).sort((a, b) => b.x - a.x);
  function drawPanel() {
    if (!now.logits || panel.hidden) return;
    const {t} = here(), p = part.next, order = ranked(t), top = order[0].x, sum = order.reduce((a, r) => a + Math.exp(r.x - top), 0), real = now.ids[t + 1];
    write(p.title, `What the transformer expects after row ${t + 1}, “${now.queries[t]}”`);
    p.rows.forEach((row, n) => { const {i, x} = order[n], e = Math.exp(x - top); write(row.letter, shownLetter(spec.letters[i]) + (i === real ? ' ✓' : '')); write(row.logit, fmt(x, 2)); write(row.exp, fmt(e, 3)); write(row.part, `/ ${fmt(sum, 2)}`); write(row.p, fmt(e / sum, 3)); attr(row.bar, 'style', `transform:scaleX(${(e / sum).toFixed(4)})`); });
    let loss = 0;
    for (let r = 0; r + 1 < now.T; r++) { let all = 0; for (let i = 0; i < now.V; i++) all += Math.exp(now.logits[r * now.V + i] - now.logits[r * now.V + now.ids[r + 1]]); loss += Math.log(all); }
    write(p.note, `${real === undefined ? '' : `✓ is the letter that follows here: p = ${fmt(Math.exp(now.logits[t * now.V + real] - top) / sum, 3)}. `}Over the whole text −log p is ${fmt(loss / Math.max(1, now.T - 1), 2)} nats a letter (guessing among ${now.V}: ${fmt(Math.log(now.V), 2)}).`
      + (now.mask === 'causal' ? '' : ' It was trained with the causal mask; with another it is used as it never was.'));
  }

  // ---- the reader's own numbers
  function buildGrids() {
    grids.hidden = !own();
    if (!own()) return grids.replaceChildren();
    part.grid = {};
    grids.replaceChildren(...[['q', 'Queries Q', 'input', 'Query'], ['k', 'Keys K', 'state', 'Key'], ['v', 'Values V', 'output', 'Value']].map(([n, title, colour, one]) => {
      const inputs = now.queries.map((word, i) => model.get('dims').slice(0, now.D).map((d, j) => number(`${one} of ${word}, ${d}`, x => edit(n, i, j, x))));
      const rows = inputs.map((list, i) => h('tr', {}, h('th', {scope: 'row'}, now.queries[i]), list.map(x => h('td', {}, x))));
      part.grid[n] = {inputs, rows};
      return h('div', {class: 'am-grid'}, h('table', {}, h('caption', {class: 'c-' + colour}, title), h('thead', {}, h('tr', {}, h('td', {}), model.get('dims').slice(0, now.D).map(d => h('th', {scope: 'col'}, d)))), h('tbody', {}, rows)));
    }));
  }
  function drawGrids() {
    const p = ownPreset(), mine = own() && p.words.join() === model.get('words').join();
    goal.hidden = !mine;
    if (!own()) return;
    const {t, s: i} = here();
    for (const n of ['q', 'k', 'v']) {
      const rows = model.get(n);
      part.grid[n].inputs.forEach((list, r) => list.forEach((x, d) => { if (document.activeElement !== x && x.value !== String(rows[r][d])) x.value = rows[r][d]; }));
      part.grid[n].rows.forEach((row, r) => row.classList.toggle('am-on', r === (n === 'q' ? t : i)));
    }
    if (!mine) return;
    const one = current(), got = p.check.map(([what, a, b]) => what === 'weight' ? one.weights[a * now.S + b] : one.out[a * now.D + b]), done = p.check.every((c, n) => got[n] >= c[3]);
    write(goal, `${done ? '✓ Done. ' : 'Try it. '}${p.goal} Now: ${got.map(x => fmt(x, 2)).join(' and ')}.`);
  }

  // ---- what changes with a cell, and what with the numbers
  const name = (node, t, j) => attr(node, 'aria-label', `${now.queries[t]} looks at ${now.keys[j]}: ${covered(t) ? 'covered' : can(t, j) ? fmt(current().weights[t * now.S + j], 3) : 'hidden'}`);
  // The map follows the hand at every frame, the many numbers of the card at most 20 times a second: faster nobody reads.
  let late = 0, last = 0, cost = 0, due = 0;  // due: what has changed and is not drawn, 1 numbers, 2 the cell
  const drawCards = () => { clearTimeout(late); late = 0; last = performance.now(); drawCard(); drawPanel(); drawGrids(); if (!due) attr(card, 'aria-busy', 'false'); };
  const cards = () => { const wait = last + Math.max(48, 6 * cost) - performance.now(); if (wait <= 0) drawCards(); else late ||= setTimeout(drawCards, wait); };
  w.cleanups.push(() => clearTimeout(late));
  let pending = 0;  // the other cells of the row get their names when the hand rests
  const unnamed = () => { clearTimeout(pending); pending = setTimeout(() => { const {t} = here(); part.row.forEach((node, j) => name(node, t, j)); }, 120); };
  w.cleanups.push(() => clearTimeout(pending));
  function drawCell() {
    const {t, s: i} = here(), head = current(), {wide, high} = look, {S} = now, hid = covered(t), a = x => head.weights[t * S + x];
    attr(line, 'style', `height:${high}px;transform:translateY(${t * high}px)`); attr(line, 'aria-rowindex', String(t + 1));
    const stop = pinned().s;
    if (look.scrolls && !peek && look.at !== `${t},${stop}`) {  // keep the chosen column in view on a narrow page
      look.at = `${t},${stop}`;
      const x = stop * wide, view = scroll.clientWidth - look.left;
      if (x < scroll.scrollLeft || x + wide > scroll.scrollLeft + view) scroll.scrollLeft = x - view / 2;
    }
    part.row.forEach((node, j) => {
      attr(node, 'class', j === i ? 'am-on' : ''); attr(node, 'aria-selected', String(j === i)); attr(node, 'tabindex', j === stop ? '0' : '-1');
      if (j === i || hid) name(node, t, j);
    });
    unnamed();
    part.rows.forEach((node, j) => { write(node, now.queries[j]); attr(node, 'class', j === t ? 'am-on' : ''); });
    part.buttons.forEach((node, j) => { const gone = now.hidden.includes(j); write(node, now.keys[j]); attr(node, 'class', j === i ? 'am-on' : ''); attr(node, 'aria-pressed', String(gone)); attr(node, 'aria-label', `Key ${j + 1}, ${now.keys[j]}${gone ? ', hidden' : ''}`); });
    const from = (Math.min(t, S - 1) + 0.5) * wide;
    part.paths.forEach((path, j) => {
      const x = (j + 0.5) * wide, width = hid ? 0 : a(j) * Math.min(wide, 30) * 0.9;
      attr(path, 'd', `M${from} 19C${from} 44 ${x} 38 ${x} 64`); attr(path, 'stroke-width', width < 0.15 ? '0' : width.toFixed(2)); attr(path, 'opacity', j === i ? '1' : '0.6');
    });
    attr(asker, 'x', String(Math.max(12, Math.min(S * wide - 12, from)))); write(asker, now.queries[t]);
    cards();
  }
  function drawMap() {
    const {T, S} = now, {wide, high} = look, c = canvas.getContext('2d'), dpr = canvas.width / (S * wide), a = current().weights, {panel: panelColour, masked, paper} = theme;
    c.setTransform(dpr, 0, 0, dpr, 0, 0); c.font = '13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif'; c.textAlign = 'center'; c.textBaseline = 'middle';
    for (let t = 0; t < T; t++) for (let s = 0; s < S; s++) {
      const hid = covered(t), open = can(t, s), v = a[t * S + s], colour = COLOURS[Math.round(255 * v)], x = s * wide, y = t * high;
      const text = hid ? '?' : open ? percent(v) : '·', key = text + (open && !hid ? '#' + Math.round(255 * v) : '');
      if (look.drawn[t * S + s] === key) continue;
      look.drawn[t * S + s] = key;
      c.fillStyle = hid ? panelColour : open ? colour.fill : paper; c.fillRect(x, y, wide, high);
      if (text) { c.fillStyle = hid || !open ? masked : colour.ink; c.fillText(text, x + wide / 2, y + high / 2 + 1); }
    }
    const {l, g} = place(), blank = parse6(paper), off = model.get('off') ?? [];
    part.maps.forEach(m => {
      const head = now.heads[m.a][m.b], data = m.image.data;
      for (let i = 0; i < T * S; i++) { const open = now.seen[i] && head.scores[i] > -Infinity, rgb = open ? COLOURS[Math.round(255 * head.weights[i])].rgb : blank; data[4 * i] = rgb[0]; data[4 * i + 1] = rgb[1]; data[4 * i + 2] = rgb[2]; data[4 * i + 3] = 255; }
      m.context.putImageData(m.image, 0, 0);
      const silent = !own() && off.some(([x, y]) => x === m.a && y === m.b), chosen = m.a === l && m.b === g;
      let caption = '', spoken = '';
      if (silent) caption = spoken = 'off';
      else if (T === S && T > 2 && !own()) {
        const all = Object.entries(habits(head.weights, T, now.ids)).filter(x => x[1] !== null).sort((x, y) => y[1] - x[1]);
        const [name, value] = all.find(x => x[0] !== 'first' && x[1] >= 0.3) ?? all.find(x => x[0] === 'first');  // the first is where a head rests
        caption = value >= 0.3 ? `${name} ${percent(value)}` : 'mixed'; spoken = value >= 0.3 ? `${percent(value)} percent on ${MEANING[name]}` : 'mixed';
      }
      write(m.caption, caption); attr(m.node, 'aria-pressed', String(chosen)); attr(m.node, 'class', silent ? 'am-off' : '');
      attr(m.node, 'aria-label', `Layer ${m.a + 1}, head ${m.b + 1}${spoken ? ': ' + spoken : ''}`);
    });
  }
  const parse6 = colour => { const x = colour.replace('#', ''), f = x.length === 3 ? [...x].map(c => c + c) : x.match(/../g); return f.map(c => parseInt(c, 16)); };
  function drawControls() {
    const is = own();
    tab.given.set(!is); tab.own.set(is);
    textBar.hidden = !trained(); ownBar.hidden = !is; heads.hidden = is || now.L * now.H < 2;
    layers.parentNode.hidden = is || now.L * now.H <= 16 || now.L < 2;
    silent.hidden = !trained(); silent.set((model.get('off') ?? []).some(([a, b]) => a === place().l && b === place().g));
    if (document.activeElement !== field && field.value !== model.get('text')) field.value = model.get('text');
    if (document.activeElement !== texts.input) texts.set(TEXTS.includes(model.get('text')) ? model.get('text') : '');
    const phrased = model.get('words').join(' ');
    if (document.activeElement !== phrase && phrase.value !== phrased) phrase.value = phrased;
    const p = presets.find(x => x.words.join() === model.get('words').join());
    if (p) preset.set(p.name);
    if (document.activeElement !== mask.input) mask.set(now.mask);
    reach.hidden = now.mask !== 'window'; prefix.hidden = now.mask !== 'prefix'; reach.set(now.reach); prefix.set(now.prefix);
    const log = Math.log10(now.temperature);
    if (Math.abs(+heat.input.value - log) > 0.011) heat.set(log);
    layers.set(place().l);
    write(legend, is ? '' : kind === 'transformer' ? 'Under each head: what it does on this text, and with how much of its weight. before: looks at the letter before; two back: at the one before that. same: at the same letter earlier. copy: at what followed that. itself, first: as they say.' : kind === 'weights' ? 'Only weights are known here.' : '');
    legend.hidden = !legend.textContent;
  }
  function draw() { compute(); build(); drawControls(); drawMap(); drawCell(); players.show(); }
  let theme = {};
  const paint = () => { theme = Object.fromEntries(['panel', 'masked', 'paper'].map(n => [n, w.colour(n)])); look.drawn = []; };
  // Numbers that change without a pause (a slider's) are drawn 30 times a second, or as often as leaves the hand two thirds of the time.
  let drew = 0, soon = 0;
  const all = w.batch(() => { soon = due = 0; drew = performance.now(); draw(); cost = Math.min(60, performance.now() - drew); });
  const changed = () => { due |= 1; attr(card, 'aria-busy', 'true'); const wait = drew + Math.max(30, 3 * cost) - performance.now(); if (wait <= 0) all(); else soon ||= setTimeout(all, wait); };
  w.cleanups.push(() => clearTimeout(soon));
  const cell = w.batch(() => { due &= 1; if (now) { drawCell(); players.show(); } }), moved = () => { due |= 2; attr(card, 'aria-busy', 'true'); cell(); };

  // ---- pointer and keys on the map
  const at = e => { const r = canvas.getBoundingClientRect(); return {t: clamp(Math.floor((e.clientY - r.top) / look.high), now.T), s: clamp(Math.floor((e.clientX - r.left) / look.wide), now.S)}; };
  const judge = (t, i) => {
    shown.add(t);
    const best = strongest(t), pct = s => `${Math.round(100 * current().weights[t * now.S + s])} %`;
    write(verdict, best === i ? `Right: “${now.queries[t]}” looks most at “${now.keys[i]}” (column ${i + 1}), ${pct(i)}.` : `You said “${now.keys[i]}” (column ${i + 1}): ${pct(i)}. The strongest is “${now.keys[best]}” (column ${best + 1}): ${pct(best)}.`);
    changed();
  };
  const choose = (t, i) => { peek = null; players.pause(); put(model, {row: t, col: i}); if (covered(t)) judge(t, i); moved(); };
  w.listen(cells, 'pointermove', e => { if (players.playing() || guess || e.pointerType === 'touch') return; const p = at(e); if (!peek || p.t !== peek.t || p.s !== peek.s) { peek = p; moved(); } });
  w.listen(cells, 'pointerleave', () => { if (peek) { peek = null; moved(); } });
  w.listen(cells, 'click', e => { const p = at(e); choose(p.t, p.s); part.row[p.s].focus({preventScroll: true}); });
  w.listen(line, 'keydown', e => {
    const {t, s: i} = pinned(), to = {ArrowRight: [t, i + 1], ArrowLeft: [t, i - 1], ArrowDown: [t + 1, i], ArrowUp: [t - 1, i], Home: [t, 0], End: [t, now.S - 1]}[e.key];
    if (to) { peek = null; players.pause(); const [r, c] = [clamp(to[0], now.T), clamp(to[1], now.S)]; put(model, {row: r, col: c}); draw(); part.row[c].focus(); e.preventDefault(); } else if (e.key === 'Enter') { choose(t, i); e.preventDefault(); }
  });
  w.on(model, 'row col dim', moved);
  w.on(model, 'text layer head mask window prefix temperature hidden off words dims q k v tab', changed);
  paint(); draw();
  let width = w.root.clientWidth;
  w.onResize(() => { if (w.root.clientWidth !== width) { width = w.root.clientWidth; changed(); } });
  w.onTheme(() => { paint(); changed(); });
  return () => w.close();
}

export default {render};
