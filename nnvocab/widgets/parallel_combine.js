// Branches side by side: the arithmetic first (named exports, held to torch by the tests), then the figure.

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
const times = (M, x) => M.map(row => dot(row, x));  // M x
const back = (M, d) => M[0].map((_, k) => M.reduce((sum, row, i) => sum + row[k] * d[i], 0));  // Mᵀ d

// A gate's weights from its logits: softmax, sparsemax or 1.5-entmax of z / T. tau: the threshold of the sparse two.
export function gate(logits, kind, T) {
  const z = logits.map(x => x / T), top = Math.max(...z), order = [...z].sort((a, b) => b - a);
  if (kind === 'sparsemax') {
    let sum = 0, tau = 0;
    order.forEach((x, i) => { sum += x; if (1 + (i + 1) * x > sum) tau = (sum - 1) / (i + 1); });
    return {z, tau, weights: z.map(x => Math.max(0, x - tau))};
  }
  if (kind === 'entmax') {  // Peters et al. 2019: by sorting
    let sum = 0, squares = 0, tau = 0;
    for (let i = 0; i < order.length; i++) {
      const x = (order[i] - top) / 2, n = i + 1;
      sum += x; squares += x * x;
      const mean = sum / n, spread = squares / n - mean * mean, t = mean - Math.sqrt(Math.max(0, 1 / n - spread));
      if (t <= x) tau = t;
    }
    return {z, tau: tau + top / 2, weights: z.map(x => Math.max(0, (x - top) / 2 - tau) ** 2)};
  }
  const exp = z.map(x => Math.exp(x - top)), all = exp.reduce((a, b) => a + b, 0);
  return {z, top, exp, all, weights: exp.map(x => x / all)};
}

// The gradient of the logits from that of the weights.
export function gateBackward(weights, dw, kind, T) {
  const g = weights.map(w => kind === 'softmax' ? w : kind === 'entmax' ? Math.sqrt(w) : w > 0 ? 1 : 0), all = g.reduce((a, b) => a + b, 0), mean = dot(g, dw) / all;
  return {mean, g, dz: dw.map((x, i) => g[i] * (x - mean) / T)};
}

// Everything forward. spec: {x, branches: [{values, W, b, J}], linear, gate, logits, stitch, grid, positions}.
// sources[j]: which numbers of which branch make output j, and with what factor.
export function forward(spec, {mode = 'add', kind = 'softmax', temperature = 1, fit = 'pad', x, values, logits} = {}) {
  const N = spec.branches.length, own = spec.linear && x?.length === spec.x.length ? x : spec.x;
  const given = !spec.x.length && values?.length === N && values.every((v, i) => v.length === spec.branches[i].values.length) ? values : spec.branches.map(b => b.values);
  const parts = spec.branches.map((b, i) => spec.linear ? times(b.W, own).map((y, k) => y + b.b[k]) : given[i]);
  const wide = Math.max(...parts.map(p => p.length)), uneven = mode !== 'concat' && parts.some(p => p.length !== wide), how = uneven ? fit : null;
  const fitted = parts.map((p, i) => how === 'stitch' ? times(spec.stitch[i], p) : how === 'pad' ? Array.from({length: wide}, (_, k) => p[k] ?? 0) : p);
  const z = spec.gate.W && spec.linear ? times(spec.gate.W, own).map((y, i) => y + spec.gate.b[i]) : !spec.gate.J && !spec.gate.W && logits?.length === N ? logits : spec.logits;
  const mix = gate(z, kind, temperature), sources = [];
  if (mode === 'concat') fitted.forEach((p, i) => p.forEach((_, k) => sources.push([{i, k, c: 1}])));
  else if (mode === 'grid_scatter') {
    const [R, C, L] = spec.grid;
    for (let cell = 0; cell < R * C * L; cell++) { const i = spec.positions.findIndex(([r, c, l]) => (r * C + c) * L + l === cell); for (let k = 0; k < wide; k++) sources.push(i < 0 ? [] : [{i, k, c: 1}]); }
  } else for (let k = 0; k < wide; k++) sources.push(fitted.map((_, i) => ({i, k, c: mode === 'add' ? 1 : mode === 'avg' ? 1 / N : mix.weights[i]})));
  const out = sources.map(list => list.reduce((sum, {i, k, c}) => sum + c * fitted[i][k], 0));
  return {N, x: own, parts, wide, how, fitted, z, mix, sources, out};
}

// Everything backward, from g, the gradient of the loss by the output.
export function backward(spec, f, g, {mode = 'add', kind = 'softmax', temperature = 1, frozen = []} = {}) {
  const dFitted = f.fitted.map(p => p.map(() => 0));
  f.sources.forEach((list, j) => list.forEach(({i, k, c}) => { dFitted[i][k] += c * g[j]; }));
  const dParts = f.parts.map((p, i) => f.how === 'stitch' ? back(spec.stitch[i], dFitted[i]) : dFitted[i].slice(0, p.length));
  const gated = mode === 'filter', dWeights = f.fitted.map(p => gated ? dot(p, g) : 0), gz = gateBackward(f.mix.weights, dWeights, kind, temperature);
  const map = b => b.W ?? b.J, through = spec.branches.map((b, i) => spec.x.length ? back(map(b), dParts[i]) : []), gateMap = spec.gate.W ?? spec.gate.J;
  const dGate = gated && gateMap ? back(gateMap, gz.dz) : f.x.map(() => 0);
  const dW = spec.branches.map((b, i) => frozen[i] || !b.W ? null : dParts[i].map(d => f.x.map(v => d * v)));
  const dStitch = f.how === 'stitch' ? f.parts.map((p, i) => dFitted[i].map(d => p.map(v => d * v))) : null;
  return {dFitted, dParts, dWeights, mean: gz.mean, share: gz.g, dLogits: gz.dz, through, dGate, dW, dStitch, dx: f.x.map((_, k) => dGate[k] + through.reduce((sum, t) => sum + t[k], 0))};
}

// ---- The figure ----
const LOOK = `.nnv [hidden]{display:none!important}.pc-branches{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(300px,100%),1fr));gap:10px}.pc-card{border:1.5px solid var(--line);border-radius:9px;padding:7px 10px 8px;min-width:0}.pc-head{position:relative;z-index:1;background:var(--paper);display:flex;flex-wrap:wrap;gap:2px 10px;align-items:center;font-size:14px}.pc-head:not(:has(span)){width:fit-content;padding-right:6px}.pc-head b{font-size:15px}.pc-head span{margin-left:auto}
.pc-line{display:flex;align-items:flex-start;gap:6px;margin-top:5px;min-width:0}.pc-line>span,.pc-name{flex:none;width:82px;font-size:13px;color:var(--soft);line-height:15px;min-height:28px;display:flex;align-items:center}.pc-cells{display:flex;flex-wrap:wrap;gap:3px;min-width:0}
.pc-cell{position:relative;z-index:1;background:var(--paper);min-width:48px;height:28px;padding:0 4px;border-radius:5px;border:1px solid var(--line);font-size:14px;line-height:26px;text-align:center;cursor:pointer;white-space:nowrap}.pc-cell.pc-d{border-color:var(--gradient)}.pc-cell.pc-off{background:var(--paper)!important;color:var(--masked)!important;border-style:dashed}
.nnv .pc-cell.pc-at{outline:3px solid var(--focus);outline-offset:0;z-index:1}.pc-cell.pc-from{box-shadow:inset 0 0 0 2px #fff,inset 0 0 0 4px #b34700}.nnv .pc-line input[type=number]{position:relative;z-index:1;width:58px;min-height:28px;padding:1px 0 1px 4px;text-align:center}.nnv .pc-line input.pc-from{box-shadow:0 0 0 2.5px var(--gradient)}.nnv .pc-line input.pc-at{outline:3px solid var(--focus)}
.pc-group{display:flex;flex-wrap:wrap;gap:3px;border:1px solid var(--line);border-radius:7px;padding:3px;align-items:center}.pc-group i{font-style:normal;font-size:13px;color:var(--soft);padding:0 3px}.pc-frozen{border-style:dashed;border-color:var(--masked)}
.pc-grid{display:grid;gap:5px;width:max-content;max-width:100%}.pc-say{contain:layout paint;margin:10px 0 0;font-size:15px;line-height:1.55;padding:3px 0 3px 11px;border-left:3px solid var(--focus);min-height:5em}.pc-say b{display:block}.pc-say div{overflow-wrap:anywhere}.pc-two{display:grid;grid-template-columns:minmax(0,1fr);gap:10px;margin-top:26px}.pc-area{position:relative}.pc-wires{position:absolute;inset:0;pointer-events:none;max-width:none!important;overflow:visible;z-index:0}
@container (min-width:700px){.pc-cell{min-width:66px;height:36px;line-height:34px;font-size:17px}.nnv .pc-line input[type=number]{width:80px;min-height:36px;font-size:17px}.pc-line>span{width:92px;min-height:36px}.pc-two{grid-template-columns:repeat(auto-fit,minmax(min(480px,100%),1fr))}.pc-branches{margin-top:12px!important}}`;
const TITLE = {concat: 'concat: one behind the other', add: 'add: the sum', avg: 'avg: the mean', grid_scatter: 'grid scatter: each into its cell', filter: 'filter: the gate’s weighted sum'};
const KIND = {softmax: 'softmax', sparsemax: 'sparsemax', entmax: 'entmax 1.5'};
const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const attr = (node, name, value) => { if (node.getAttribute(name) !== value) node.setAttribute(name, value); };
const show = x => Math.abs(x) < 0.005 ? '0.00' : fmt(x), wrap = x => x <= -0.005 ? `(${show(x)})` : show(x), sum = list => list.join(' + ') || '0';
const START = [1, -0.5, 2, 0.5, -1, 1.5, 0.25, -0.75];

function render({model, el}) {
  const w = frame(el, {name: 'Parallel combine', title: 'How branches become one, and who gets which gradient',
    lead: 'Every branch sees the whole input. Point at a number, or choose it: what it is made of is outlined, and its arithmetic stands below.'});
  w.root.querySelector('style').append(LOOK);
  const link = shared(w, model, 'ParallelCombine', {preset: 'string', mode: 'string', kind: 'string', temperature: 'number', fit: 'string', x: 'json', values: 'json', logits: 'json', upstream: 'json', frozen: 'json', step: 'number', at: 'string'});
  const specs = model.get('specs'), names = Object.keys(specs);
  const numbers = (list, n) => Array.isArray(list) && list.length === n && list.every(Number.isFinite) ? list : null;
  let now = null, peek = null, shape = '', cell = {}, rows = [], order = [], pin = '';
  function compute() {
    const preset = specs[model.get('preset')] ? model.get('preset') : names[0], spec = specs[preset], N = spec.branches.length;
    const values = Array.isArray(model.get('values')) && model.get('values').every(v => Array.isArray(v) && v.every(Number.isFinite)) ? model.get('values') : [];
    const set = {mode: TITLE[model.get('mode')] ? model.get('mode') : 'add', kind: KIND[model.get('kind')] ? model.get('kind') : 'softmax', temperature: Math.max(0.05, Math.min(10, +model.get('temperature') || 1)), fit: model.get('fit') === 'stitch' ? 'stitch' : 'pad',
      x: numbers(model.get('x'), spec.x.length), values, logits: numbers(model.get('logits'), N), frozen: spec.branches.map((b, i) => !!(model.get('frozen')?.[i] ?? b.frozen))};
    const f = forward(spec, set), g = numbers(model.get('upstream'), f.out.length) ?? f.out.map((_, j) => START[j % START.length]);
    now = {preset, spec, set, f, g, b: backward(spec, f, g, set), known: spec.x.length > 0, gated: set.mode === 'filter', gateMoves: !(spec.gate.W || spec.gate.J)};
    now.steps = plan(); now.step = Math.max(1, Math.min(now.steps.length, Math.round(model.get('step')) || 1));
  }
  // The order in which everything is computed: [the numbers that appear, what is explained]
  function plan() {
    const {f, gated, known} = now, all = [], keys = (name, list) => list.map((_, k) => `${name}-${k}`), each = name => f.parts.flatMap((p, i) => keys(`${name}-${i}`, name === 'p' || name === 'e' ? f.fitted[i] : p));
    all.push([each('v'), 'v-0-0']);
    if (f.how) all.push([each('p'), `p-${f.parts.findIndex(p => p.length < f.wide)}-${f.wide - 1}`]);
    if (gated) all.push([keys('w', f.parts), 'w-0']);
    f.out.forEach((_, j) => all.push([[`out-${j}`], `out-${j}`]));
    f.parts.forEach((p, i) => all.push([[...(f.how ? keys(`e-${i}`, f.fitted[i]) : []), ...keys(`d-${i}`, p), `W-${i}`], `d-${i}-0`]));
    if (gated) all.push([[...keys('s', f.parts), ...keys('z', f.parts)], 'z-0']);
    if (known) all.push([keys('dx', f.x), 'dx-0']);
    return all;
  }
  const focus = () => { const key = peek ?? model.get('at'); return cell[key] ? key : 'out-0'; };

  // ---- every number: its value, its words, and the numbers it is made of
  function trace(key) {
    const [kind, ...rest] = key.split('-'), [i, k] = rest.map(Number), {f, g, b, spec, set, gated} = now, N = f.N, {mode, temperature: T} = set, t = T === 1 ? '' : ` / ${fmt(T)}`, one = n => `Branch ${n + 1}`, fromOut = (a, c) => f.sources.map((list, j) => ({j, s: list.find(s => s.i === a && s.k === c)})).filter(x => x.s);
    const of = f.how ? 'p' : 'v';
    if (kind === 'x') return {v: f.x[i], title: `Input ${i + 1}`, text: 'The whole input goes to every branch; it is not divided.', from: []};
    if (kind === 'v') {
      const part = spec.branches[i];
      return {v: f.parts[i][k], title: `${one(i)}, number ${k + 1}`, from: spec.linear ? f.x.map((_, m) => `x-${m}`) : [], text: spec.linear ? `W x + b = ${sum(part.W[k].map((x, m) => `${wrap(x)}·${wrap(f.x[m])}`))}${part.b[k] ? ` + ${wrap(part.b[k])}` : ''} = ${show(f.parts[i][k])}` : now.known ? `What ${part.name} returns for this x.` : 'Given; change it in its field.'};
    }
    if (kind === 'p') return f.how === 'stitch' ? {v: f.fitted[i][k], title: `${one(i)}, stitched to ${f.wide} numbers: number ${k + 1}`, from: f.parts[i].map((_, m) => `v-${i}-${m}`), text: `S v = ${sum(spec.stitch[i][k].map((x, m) => `${wrap(x)}·${wrap(f.parts[i][m])}`))} = ${show(f.fitted[i][k])}. A stitch is a linear layer that is learned with the rest; every number of it may be used.`}
      : {v: f.fitted[i][k], title: `${one(i)}, filled up to ${f.wide} numbers: number ${k + 1}`, from: k < f.parts[i].length ? [`v-${i}-${k}`] : [], text: k < f.parts[i].length ? `${show(f.fitted[i][k])}, as it was.` : '0: padding. This feature comes from the wider branches alone.'};
    if (kind === 'l') return {v: f.z[i], title: `The gate’s logit for branch ${i + 1}`, from: spec.gate.W && spec.linear ? f.x.map((_, m) => `x-${m}`) : [], text: spec.gate.W && spec.linear ? `A x + b = ${sum(spec.gate.W[i].map((x, m) => `${wrap(x)}·${wrap(f.x[m])}`))} + ${wrap(spec.gate.b[i])} = ${show(f.z[i])}` : now.gateMoves ? 'Change it in its field.' : 'What the gate’s layer returns for this x.'};
    if (kind === 'w') { const m = f.mix, from = f.z.map((_, n) => `l-${n}`);
      return {v: m.weights[i], title: `The weight of branch ${i + 1}`, from, text: set.kind === 'softmax' ? `exp(${show(f.z[i])}${t}) / Σ exp(z${t}) = ${fmt(m.exp[i], 3)} / (${m.exp.map(x => fmt(x, 3)).join(' + ')}) = ${fmt(m.weights[i], 3)} (each exponent less the largest).`
        : set.kind === 'sparsemax' ? `max(0, ${show(f.z[i])}${t} − τ) with τ = ${fmt(m.tau, 3)}, so that the weights sum to 1: ${fmt(m.weights[i], 3)}.${m.weights[i] ? '' : ' Exactly zero: the branch need not run.'}` : `max(0, ${show(f.z[i])}${t} / 2 − τ)² with τ = ${fmt(m.tau, 3)}, so that the weights sum to 1: ${fmt(m.weights[i], 3)}.${m.weights[i] ? '' : ' Exactly zero: the branch need not run.'}`}; }
    if (kind === 'out') { const list = f.sources[i], from = list.flatMap(s => [`${of}-${s.i}-${s.k}`, ...(gated ? [`w-${s.i}`] : [])]);
      return {v: f.out[i], title: `Output number ${i + 1}`, from, text: !list.length ? '0: no branch fills this cell.' : mode === 'concat' ? `Number ${list[0].k + 1} of branch ${list[0].i + 1}, as it is: ${show(f.out[i])}` : mode === 'grid_scatter' ? `Number ${list[0].k + 1} of branch ${list[0].i + 1}, whose cell this is: ${show(f.out[i])}`
        : mode === 'avg' ? `(${sum(list.map(s => wrap(f.fitted[s.i][s.k])))}) / ${N} = ${show(f.out[i])}` : `${sum(list.map(s => (gated ? `${show(s.c)}·` : '') + wrap(f.fitted[s.i][s.k])))} = ${show(f.out[i])}`}; }
    if (kind === 'g') return {v: g[i], title: `The gradient that comes from above, number ${i + 1}`, from: [], text: f.sources[i].length ? `∂L/∂y${i + 1}; change it in its field. It goes to ${f.sources[i].length === 1 ? `branch ${f.sources[i][0].i + 1} alone` : 'every branch'}.` : 'No branch fills this cell: it goes nowhere.'};
    const passed = (a, c) => { const hits = fromOut(a, c); return {from: hits.flatMap(x => [`g-${x.j}`, ...(gated ? [`w-${a}`] : [])]), text: hits.map(x => mode === 'filter' ? `w·g = ${show(x.s.c)}·${wrap(g[x.j])} = ${show(x.s.c * g[x.j])}` : mode === 'avg' ? `g / ${N} = ${wrap(g[x.j])} / ${N} = ${show(x.s.c * g[x.j])}` : `g = ${show(g[x.j])}`).join(' + ')}; };
    const why = {concat: 'Its own slice of the gradient.', add: 'The whole gradient, copied to every branch.', avg: 'The gradient divided by the number of branches.', grid_scatter: 'The gradient of its own cell.', filter: 'The gradient times its weight: a branch learns in proportion to it.'}[mode];
    if (kind === 'e') { const p = passed(i, k); return {v: b.dFitted[i][k], title: `The gradient of branch ${i + 1} behind the ${f.how === 'pad' ? 'padding' : 'stitch'}, number ${k + 1}`, from: p.from, text: `${p.text}. ${f.how === 'pad' && k >= f.parts[i].length ? 'It falls on padding and is lost.' : why}`}; }
    if (kind === 'd') {
      if (f.how === 'stitch') return {v: b.dParts[i][k], title: `The gradient of branch ${i + 1}, number ${k + 1}`, from: f.fitted[i].map((_, m) => `e-${i}-${m}`), text: `Sᵀ e = ${sum(b.dFitted[i].map((x, m) => `${wrap(spec.stitch[i][m][k])}·${wrap(x)}`))} = ${show(b.dParts[i][k])}. The stitch’s own weights get e vᵀ.`};
      const p = passed(i, k); return {v: b.dParts[i][k], title: `The gradient of branch ${i + 1}, number ${k + 1}`, from: p.from, text: `${p.text}. ${why}`};
    }
    if (kind === 'W') { const M = b.dW[i], from = [...f.parts[i].map((_, m) => `d-${i}-${m}`), ...f.x.map((_, m) => `x-${m}`)];
      return {v: M ? Math.hypot(...M.flat()) : NaN, title: `The gradient of the weights of branch ${i + 1}`, from: M ? from : [], text: set.frozen[i] ? 'Frozen: no gradient is made for its weights, and no step changes them. What goes through it to the input stays the same.' : M ? `d xᵀ = [${M.map(r => r.map(show).join(', ')).join('; ')}], of length ${show(Math.hypot(...M.flat()))}.${spec.branches[i].b.some(x => x) ? ' Its bias gets d itself.' : ''}` : spec.branches[i].weights ? `Its ${spec.branches[i].weights} weights get the gradient that autograd makes of d.` : 'It has no weights here.'}; }
    if (kind === 's') return {v: b.dWeights[i], title: `s${i + 1} = ⟨g, branch ${i + 1}⟩, the gradient of its weight`, from: f.fitted[i].flatMap((_, m) => [`${of}-${i}-${m}`, `g-${m}`]), text: `${sum(f.fitted[i].map((x, m) => `${wrap(g[m])}·${wrap(x)}`))} = ${show(b.dWeights[i])}`};
    if (kind === 'z') { const m = f.mix.weights[i];
      return {v: b.dLogits[i], title: `The gradient of logit ${i + 1}`, from: [`w-${i}`, ...f.parts.map((_, n) => `s-${n}`)], text: set.kind === 'softmax' ? `w (s − Σ w s)${t} = ${show(m)}·(${show(b.dWeights[i])} − ${wrap(b.mean)})${t} = ${show(b.dLogits[i])}. A step against the gradient ${b.dLogits[i] < -1e-9 ? 'raises' : b.dLogits[i] > 1e-9 ? 'lowers' : 'leaves'} this logit.`
        : !m ? 'Its weight is exactly zero: no gradient reaches the logit.' : set.kind === 'sparsemax' ? `s less the mean of s over the branches in use${t}: (${show(b.dWeights[i])} − ${wrap(b.mean)})${t} = ${show(b.dLogits[i])}` : `√w (s − mean of s weighted with √w)${t} = ${show(b.share[i])}·(${show(b.dWeights[i])} − ${wrap(b.mean)})${t} = ${show(b.dLogits[i])}`}; }
    return {v: b.dx[i], title: `The gradient of input ${i + 1}`, from: [...b.dParts.flatMap((d, n) => d.map((_, m) => `d-${n}-${m}`)), ...(gated && (spec.gate.W || spec.gate.J) ? f.parts.map((_, n) => `z-${n}`) : [])],
      text: `${sum(b.through.map((p, n) => `${wrap(p[i])} (branch ${n + 1}${set.frozen[n] ? ', frozen' : ''})`))}${gated && (spec.gate.W || spec.gate.J) ? ` + ${wrap(b.dGate[i])} (gate)` : ''} = ${show(b.dx[i])}. The gradients of all branches add up in x; a frozen branch lets its part through.`};
  }

  // ---- built anew when the shape of things changes
  const wires = s('svg', {class: 'pc-wires', 'aria-hidden': 'true', width: '100%', height: '100%'}), lines = [], area = h('div', {class: 'pc-area'}), say = h('div', {class: 'pc-say'}), sayTitle = h('b', {}), sayText = h('div', {});
  say.append(sayTitle, sayText);
  const set = (name, list, i, k) => v => { if (!Number.isFinite(v)) return; const next = JSON.parse(JSON.stringify(list())); if (k === undefined) next[i] = v; else next[i][k] = v; peek = null; put(model, {[name]: next}); };
  function field(key, label, on) {
    const node = h('input', {type: 'number', step: 0.5, 'aria-label': label, oninput: () => on(node.valueAsNumber), onfocus: () => pick(key)});
    cell[key] = {node, field: true}; watch(key, node); return node;
  }
  const pick = key => { if (players.playing()) return; peek = null; if (model.get('at') !== key) put(model, {at: key}); };
  function watch(key, node) { node.addEventListener('pointerenter', e => { if (e.pointerType !== 'touch' && !players.playing()) { peek = key; moved(); } }); node.addEventListener('pointerleave', () => { if (peek === key) { peek = null; moved(); } }); }
  function number(key, gradient) {
    const node = h('div', {class: 'pc-cell', role: 'button', tabindex: -1}); cell[key] = {node, gradient}; watch(key, node); node.addEventListener('click', () => { node.focus({preventScroll: true}); pick(key); }); return node;
  }
  // a line of numbers; one place in the tab order for all lines that hold no fields
  const line = (name, nodes, fields) => { if (!fields && nodes.length) rows.push(nodes); return h('div', {class: 'pc-line'}, h('span', {}, name), h('div', {class: 'pc-cells'}, nodes)); };
  function build() {
    const {f, spec, set: o, gated, known, gateMoves, preset} = now, id = [preset, o.mode, f.how, o.mode === 'filter' && o.kind, f.out.length].join();
    if (id === shape) return false;
    shape = id; cell = {}; rows = [];
    const list = n => Array.from({length: n}, (_, k) => k), parts = [], xs = list(f.x.length);
    if (known) parts.push(line('input x', xs.map(k => spec.linear ? field(`x-${k}`, `Input ${k + 1}`, set('x', () => now.f.x, k)) : number(`x-${k}`)), spec.linear));
    const cards = spec.branches.map((b, i) => {
      const n = f.parts[i].length, head = h('span', {class: 'c-weight'}), ice = toggle({label: 'Frozen', value: o.frozen[i], on: v => put(model, {frozen: now.set.frozen.map((x, m) => m === i ? v : x)})});
      ice.input.setAttribute('aria-label', `Freeze branch ${i + 1}`);
      const lines = [line('output', list(n).map(k => known ? number(`v-${i}-${k}`) : field(`v-${i}-${k}`, `Branch ${i + 1}, number ${k + 1}`, set('values', () => now.f.parts, i, k))), !known)];
      if (f.how) lines.push(line(f.how === 'pad' ? 'padded' : 'stitched', list(f.wide).map(k => number(`p-${i}-${k}`))), line('its gradient', list(f.wide).map(k => number(`e-${i}-${k}`, true))));
      lines.push(line('gradient', list(n).map(k => number(`d-${i}-${k}`, true))), line('to weights', [number(`W-${i}`, true)]));
      const node = h('div', {class: 'pc-card', role: 'group', 'aria-label': `Branch ${i + 1}`}, h('div', {class: 'pc-head'}, h('b', {}, `Branch ${i + 1}`), b.name === 'given' ? null : b.name, ice, head), lines);
      return {node, head, ice};
    });
    parts.push(h('div', {class: 'pc-branches', style: {marginTop: '8px'}}, cards.map(c => c.node)));
    const two = h('div', {class: 'pc-two'}), end = h('div', {class: 'pc-card', role: 'group', 'aria-label': 'Output'}, h('div', {class: 'pc-head'}, h('b', {}, `${o.mode === 'grid_scatter' ? 'Grid scatter' : o.mode[0].toUpperCase() + o.mode.slice(1)}`), TITLE[o.mode].split(': ')[1] + (f.how ? (f.how === 'pad' ? ', after zero padding' : ', after stitching') : '')));
    if (gated) two.append(h('div', {class: 'pc-card', role: 'group', 'aria-label': 'Gate'}, h('div', {class: 'pc-head'}, h('b', {}, 'Gate'), KIND[o.kind] + ' of z / T'), line('logits z', list(f.N).map(i => gateMoves ? field(`l-${i}`, `Logit of branch ${i + 1}`, set('logits', () => now.f.z, i)) : number(`l-${i}`)), gateMoves),
      line('weights w', list(f.N).map(i => number(`w-${i}`))), line('s = ⟨g, branch⟩', list(f.N).map(i => number(`s-${i}`, true))), line('gradient of z', list(f.N).map(i => number(`z-${i}`, true)))));
    two.append(end); parts.push(two);
    const out = list(f.out.length).map(j => number(`out-${j}`)), up = list(f.out.length).map(j => field(`g-${j}`, `Gradient of output ${j + 1}`, set('upstream', () => now.g, j)));
    if (o.mode === 'grid_scatter') {
      const [R, C, L] = spec.grid, boxes = nodes => list(R * C * L).map(c => h('div', {class: 'pc-group'}, h('i', {}, `${Math.floor(c / L / C)}, ${Math.floor(c / L) % C}${L > 1 ? `, ${c % L}` : ''}`), nodes.slice(c * f.wide, (c + 1) * f.wide)));
      list(R * C * L).forEach(c => rows.push(out.slice(c * f.wide, (c + 1) * f.wide)));
      const wall = nodes => h('div', {class: 'pc-grid', style: {gridTemplateColumns: w.root.clientWidth > 60 + C * (50 + 62 * f.wide) ? `repeat(${C},auto)` : 'auto'}}, boxes(nodes));
      end.append(h('div', {class: 'pc-line'}, h('span', {}, 'output (row, column)'), wall(out)), h('div', {class: 'pc-line'}, h('span', {}, 'gradient g from above'), wall(up)));
    } else if (o.mode === 'concat') {
      let from = 0; const boxes = nodes => { from = 0; return f.parts.map((p, i) => h('div', {class: 'pc-group'}, h('i', {}, i + 1), nodes.slice(from, from += p.length))); };
      rows.push(out); end.append(h('div', {class: 'pc-line'}, h('span', {}, 'output'), h('div', {class: 'pc-cells'}, boxes(out))), h('div', {class: 'pc-line'}, h('span', {}, 'gradient g from above'), h('div', {class: 'pc-cells'}, boxes(up))));
    } else end.append(line('output', out), line('gradient g from above', up, true));
    if (known) parts.push(line('gradient of x', xs.map(k => number(`dx-${k}`, true))));
    area.replaceChildren(...parts, wires);
    part = {cards}; order = Object.keys(cell);
    const keyOf = new Map(Object.entries(cell).map(([key, c]) => [c.node, key]));
    roving(w, rows, {focus: (r, c) => pick(keyOf.get(rows[r][c])), activate: (r, c) => pick(keyOf.get(rows[r][c]))});
    pin = ''; places.clear();
    return true;
  }
  let part = {};
  function drawNumbers() {
    places.clear();
    const {steps, step, set: o, f} = now, seen = new Set(steps.slice(0, step).flatMap(s => s[0])), later = new Set(steps.slice(step).flatMap(s => s[0]));
    const limit = Math.max(1e-9, ...f.fitted.flat().map(Math.abs), ...f.parts.flat().map(Math.abs), ...f.out.map(Math.abs));
    const slope = Math.max(1e-9, ...now.g.map(Math.abs), ...now.b.dParts.flat().map(Math.abs), ...now.b.dx.map(Math.abs));
    for (const key of order) {
      const c = cell[key], t = trace(key), hide = later.has(key) && !seen.has(key);
      if (c.field) { const text = String(+t.v.toFixed(3)); if (document.activeElement !== c.node && c.node.value !== text) c.node.value = text; continue; }
      const weight = key[0] === 'w', none = Number.isNaN(t.v), text = hide ? '·' : none ? (o.frozen[+key.split('-')[1]] ? 'none ❄' : '–') : key[0] === 'W' ? `length ${show(t.v)}` : show(t.v);
      write(c.node, text);
      const rgb = weight ? magnitudeRGB(t.v, 1) : signedRGB(t.v, c.gradient ? slope : limit), plain = hide || none || key[0] === 'W' || key[0] === 'l', fill = plain ? '' : css(rgb);
      if (c.fill !== fill) { c.fill = fill; c.node.style.background = fill; c.node.style.color = plain ? '' : inkOn(rgb); }
      c.base = `pc-cell${c.gradient ? ' pc-d' : ''}${hide ? ' pc-off' : ''}`;
      attr(c.node, 'aria-label', `${t.title}: ${hide ? 'not yet' : text}`);
    }
    part.cards.forEach((p, i) => { p.ice.set(o.frozen[i]); attr(p.node, 'class', 'pc-card' + (o.frozen[i] ? ' pc-frozen' : '')); write(p.head, now.gated ? `w${i + 1} = ${show(f.mix.weights[i])}` : o.mode === 'avg' ? `1 / ${f.N}` : ''); });
  }
  // curves from the numbers that the chosen one is made of; all places are read at once, anew when numbers or widths change
  const places = new Map();
  const place = key => { if (!places.size) { const origin = area.getBoundingClientRect(); for (const k of order) { const r = cell[k].node.getBoundingClientRect(); places.set(k, [r.left + r.width / 2 - origin.left, r.top - origin.top, r.height]); } } return places.get(key); };
  function wire(from, key) {
    const list = from.filter(k => cell[k]), [x, y, high] = place(key);
    while (lines.length < list.length) { const p = s('path', {fill: 'none', 'stroke-width': 2, 'stroke-linecap': 'round', opacity: 0.75}); lines.push(p); wires.append(p); }
    lines.forEach((p, n) => {
      if (n >= list.length) return attr(p, 'd', '');
      const [a, b, tall] = place(list[n]), down = b < y - 4, start = b > y + 4 ? b : b + tall, stop = down ? y : y + high, mid = Math.abs(b - y) <= 4 ? b + tall + 26 : null;
      attr(p, 'd', mid ? `M${a} ${b + tall}C${a} ${mid} ${x} ${mid} ${x} ${y + high}` : `M${a} ${start}C${a} ${(start + stop) / 2} ${x} ${(start + stop) / 2} ${x} ${stop}`);
      attr(p, 'stroke', cell[list[n]].gradient || list[n][0] === 'g' ? 'var(--gradient)' : list[n][0] === 'w' ? 'var(--weight)' : 'var(--input)');
    });
  }
  function drawFocus() {
    const key = focus(), t = trace(key), from = new Set(t.from), hide = !cell[key].field && cell[key].base?.includes('pc-off');
    for (const k of order) { const c = cell[k]; attr(c.node, 'class', `${c.field ? '' : c.base}${k === key ? ' pc-at' : ''}${from.has(k) ? ' pc-from' : ''}`); }
    wire(hide ? [] : t.from, key); write(sayTitle, t.title); write(sayText, hide ? 'Not computed yet: play on, or step forward.' : t.text);
    const stop = model.get('at');
    if (pin !== stop && cell[stop] && !cell[stop].field) { rows.flat().forEach(n => attr(n, 'tabindex', n === cell[stop].node ? '0' : '-1')); pin = stop; }
    else if (!rows.flat().some(n => n.getAttribute('tabindex') === '0') && rows[0]) rows[0][0].setAttribute('tabindex', 0);
    if (!peek && !players.playing()) w.say(`${t.title}. ${sayText.textContent}`);
  }
  // ---- controls
  const send = key => v => { peek = null; players.pause(); put(model, {[key]: v, step: 1000}); };
  const fresh = {x: [], values: [], logits: [], upstream: [], frozen: [], step: 1000, at: 'out-0'};
  const preset = choice({label: 'Branches', options: names.map(n => [n, {equal: 'three of 3 numbers', unequal: '3, 2 and 4 numbers', given: 'yours'}[n] ?? n]), value: model.get('preset'), on: v => { players.pause(); put(model, {...fresh, preset: v}); }});
  const mode = choice({label: 'Combine', options: Object.entries(TITLE), value: model.get('mode'), on: v => { peek = null; players.pause(); put(model, {mode: v, step: 1000, at: 'out-0'}); }});
  const fit = choice({label: 'Unequal sizes', options: [['pad', 'zero padding'], ['stitch', 'stitch: a linear layer each']], value: model.get('fit'), on: send('fit')});
  const kind = choice({label: 'Gate', options: Object.entries(KIND), value: model.get('kind'), on: send('kind')});
  const heat = slider({label: 'Temperature T', min: 0.1, max: 5, step: 0.1, value: model.get('temperature'), on: send('temperature')});
  const reset = button({label: 'Reset', name: 'Reset all numbers', on: () => { players.pause(); put(model, fresh); }});
  const players = player(w, {length: () => now?.steps.length ?? 1, get: () => (now?.step ?? 1) - 1, rate: 1.4, names: 'step', onPlay: on => { if (on) peek = null; },
    set: i => { peek = null; put(model, {step: i === now.steps.length - 1 ? 1000 : i + 1, at: now.steps[i][1]}); compute(); }});
  // Guess first: which branch gets the largest gradient?
  const verdict = h('span', {role: 'status'}), guessBox = h('span', {class: 'nnv-bar', style: {margin: 0}});
  const judge = i => { const size = now.b.dParts.map(d => Math.hypot(...d)), best = Math.max(...size), right = size[i] >= best - 1e-9; write(verdict, `${right ? 'Right' : 'No'}: the lengths are ${size.map(show).join(', ')}.`); players.pause(); put(model, {step: 1000, at: `d-${size.indexOf(best)}-0`}); };
  const asker = toggle({label: 'Guess first', value: false, on: v => { guessBar.hidden = !v; write(verdict, ''); if (v) { players.pause(); const first = now.steps.findIndex(s => s[1].startsWith('d-')); put(model, {step: first, at: 'g-0'}); } else put(model, {step: 1000}); }});
  const guessBar = h('div', {class: 'nnv-bar', hidden: true, role: 'group', 'aria-label': 'Guess'}, 'Which branch gets the longest gradient?', guessBox, verdict);
  w.figure.style.overflow = 'visible';
  w.figure.append(h('div', {class: 'nnv-bar', style: {margin: '0 0 8px'}}, preset, mode, fit, kind, heat), area, h('div', {class: 'nnv-bar'}, players), guessBar, say);
  w.controls.append(reset, asker, link);
  function drawControls() {
    const {set: o, f, gated} = now;
    preset.set(now.preset); mode.set(o.mode); fit.set(o.fit); kind.set(o.kind); heat.set(o.temperature); preset.hidden = names.length < 2; fit.hidden = !f.how; kind.hidden = heat.hidden = !gated;
    if (guessBox.children.length !== f.N) guessBox.replaceChildren(...f.parts.map((_, i) => button({label: String(i + 1), name: `Branch ${i + 1}`, on: () => judge(i)})));
  }
  function draw() { compute(); build(); drawControls(); drawNumbers(); drawFocus(); players.show(); }
  const changed = w.batch(draw), moved = w.batch(() => now && drawFocus());
  w.on(model, 'at', moved);
  w.on(model, 'preset mode kind temperature fit x values logits upstream frozen step', changed);
  draw();
  let width = w.root.clientWidth;
  w.onResize(() => { if (w.root.clientWidth !== width) { width = w.root.clientWidth; if (now.set.mode === 'grid_scatter') shape = ''; places.clear(); changed(); } });
  return () => w.close();
}

export default {render};
