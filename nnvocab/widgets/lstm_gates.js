// The LSTM from inside: gates, cell state, and the gradient that reaches back, beside a GRU and a plain RNN.

// ---- Arithmetic: exported, and held to torch's in tests/widgets/test_lstm_gates.py ----
const GATES = {lstm: 4, gru: 3, rnn: 1};
const ROW = {i: 0, f: 1, g: 2, o: 3};  // torch's order of an LSTM's gates
const sigmoid = a => 1 / (1 + Math.exp(-a));

// A half-precision number from its 16 bits.
export function fromHalf(bits) {
  const e = bits >> 10 & 31, f = bits & 1023, v = e ? (e === 31 ? (f ? NaN : Infinity) : 2 ** (e - 15) * (1 + f / 1024)) : 2 ** -24 * f;
  return bits & 0x8000 ? -v : v;
}

// A cell from its description: data holds W_ih, W_hh, b_ih, b_hh, and a read-out's weight and bias, one after another.
export function unpack({kind, hidden: H, input: I, outputs: O, relu, half, data}) {
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0)), G = GATES[kind];
  const all = half ? Float64Array.from(new Uint16Array(bytes.buffer), fromHalf) : Float64Array.from(new Float32Array(bytes.buffer));
  let at = 0;
  const take = n => all.subarray(at, at += n);
  return {kind, H, I, O, G, relu, W: take(G * H * I), U: take(G * H * H), bx: take(G * H), bh: take(G * H), V: take(O * H), bv: take(O)};
}

// The forward pass over x: a row of numbers a step, or one whole number a step for a one-hot row. px = W·x and ph = U·h
// without biases; gates after their squashing, in torch's order (LSTM i f g o, GRU r z n); c is the LSTM's cell.
export function run(m, x) {
  const {kind, H, I, W, U, bx, bh} = m, T = x.length, R = m.G * H;
  const px = new Float64Array(T * R), ph = new Float64Array(T * R), gates = new Float64Array(T * R), h = new Float64Array(T * H), c = new Float64Array(T * H);
  for (let t = 0; t < T; t++) {
    const a = t * R, now = t * H, before = now - H, row = x[t];
    for (let r = 0; r < R; r++) {
      let sx = 0, sh = 0;
      if (typeof row === 'number') sx = W[r * I + row]; else for (let j = 0; j < I; j++) sx += W[r * I + j] * row[j];
      if (t) for (let j = 0; j < H; j++) sh += U[r * H + j] * h[before + j];
      px[a + r] = sx; ph[a + r] = sh;
    }
    for (let k = 0; k < H; k++) {
      const sum = g => px[a + g * H + k] + bx[g * H + k] + ph[a + g * H + k] + bh[g * H + k], old = t ? h[before + k] : 0;
      if (kind === 'lstm') {
        const i = sigmoid(sum(0)), f = sigmoid(sum(1)), g = Math.tanh(sum(2)), o = sigmoid(sum(3));
        c[now + k] = f * (t ? c[before + k] : 0) + i * g;
        h[now + k] = o * Math.tanh(c[now + k]);
        gates[a + k] = i; gates[a + H + k] = f; gates[a + 2 * H + k] = g; gates[a + 3 * H + k] = o;
      } else if (kind === 'gru') {
        const r = sigmoid(sum(0)), z = sigmoid(sum(1)), n = Math.tanh(px[a + 2 * H + k] + bx[2 * H + k] + r * (ph[a + 2 * H + k] + bh[2 * H + k]));
        h[now + k] = (1 - z) * n + z * old;
        gates[a + k] = r; gates[a + H + k] = z; gates[a + 2 * H + k] = n;
      } else h[now + k] = gates[a + k] = m.relu ? Math.max(0, sum(0)) : Math.tanh(sum(0));
    }
  }
  return {T, px, ph, gates, h, c};
}

// Backpropagation through time from one step: dh and dc are the gradients at h and c of that step.
// Returns the gradient at every input up to it, a row of I numbers a step.
export function backward(m, trace, step, dh, dc = new Float64Array(m.H)) {
  const {kind, H, I, W, U, bh} = m, R = m.G * H, {gates, ph, h, c} = trace;
  const dx = new Float64Array((step + 1) * I), da = new Float64Array(R), db = new Float64Array(R);
  dh = Float64Array.from(dh); dc = Float64Array.from(dc);
  for (let t = step; t >= 0; t--) {
    const a = t * R, now = t * H, before = now - H, through = new Float64Array(H);
    for (let k = 0; k < H; k++) {
      if (kind === 'lstm') {
        const i = gates[a + k], f = gates[a + H + k], g = gates[a + 2 * H + k], o = gates[a + 3 * H + k], th = Math.tanh(c[now + k]);
        const d = dc[k] + dh[k] * o * (1 - th * th);
        da[k] = d * g * i * (1 - i);
        da[H + k] = d * (t ? c[before + k] : 0) * f * (1 - f);
        da[2 * H + k] = d * i * (1 - g * g);
        da[3 * H + k] = dh[k] * th * o * (1 - o);
        dc[k] = d * f;
      } else if (kind === 'gru') {
        const r = gates[a + k], z = gates[a + H + k], n = gates[a + 2 * H + k], dn = dh[k] * (1 - z) * (1 - n * n);
        da[k] = dn * (ph[a + 2 * H + k] + bh[2 * H + k]) * r * (1 - r);
        da[H + k] = dh[k] * ((t ? h[before + k] : 0) - n) * z * (1 - z);
        da[2 * H + k] = dn;
        db[2 * H + k] = dn * r;
        through[k] = dh[k] * z;
      } else da[k] = dh[k] * (m.relu ? +(h[now + k] > 0) : 1 - h[now + k] ** 2);
    }
    for (let r = 0; r < R; r++) {
      const d = da[r], e = kind === 'gru' && r >= 2 * H ? db[r] : d;
      if (d !== 0) for (let j = 0, w = r * I, q = t * I; j < I; j++) dx[q + j] += d * W[w + j];
      if (e !== 0) for (let j = 0, w = r * H; j < H; j++) through[j] += e * U[w + j];
    }
    dh = through;
  }
  return dx;
}

// The read-out's probabilities for the next token after a step.
export function guess(m, trace, step) {
  const z = Float64Array.from(m.bv);
  for (let o = 0; o < m.O; o++) for (let k = 0; k < m.H; k++) z[o] += m.V[o * m.H + k] * trace.h[step * m.H + k];
  const top = Math.max(...z), e = z.map(v => Math.exp(v - top)), sum = e.reduce((a, b) => a + b, 0);
  return e.map(v => v / sum);
}

// The length of dx at every step.
export function lengths(m, dx) {
  const n = new Float64Array(dx.length / m.I);
  for (let t = 0; t < n.length; t++) { let q = 0; for (let j = 0; j < m.I; j++) q += dx[t * m.I + j] ** 2; n[t] = Math.sqrt(q); }
  return n;
}

// How strongly each earlier input moves log p(best guess), or c of one unit: the length of the gradient there.
export function reach(m, trace, step, target, unit) {
  const dh = new Float64Array(m.H), dc = new Float64Array(m.H);
  if (target === 'cell') dc[unit] = 1;
  else {
    const p = guess(m, trace, step), best = p.indexOf(Math.max(...p));
    for (let o = 0; o < m.O; o++) for (let k = 0; k < m.H; k++) dh[k] += ((o === best) - p[o]) * m.V[o * m.H + k];
  }
  return lengths(m, backward(m, trace, step, dh, dc));
}

// The same for all of h: the Frobenius norm of ∂h_step/∂x_t, in H passes; it yields between passes so that a page stays quick.
export function* jacobianNorms(m, trace, step) {
  const square = new Float64Array(step + 1);
  for (let k = 0; k < m.H; k++) {
    const dh = new Float64Array(m.H);
    dh[k] = 1;
    lengths(m, backward(m, trace, step, dh)).forEach((v, t) => { square[t] += v * v; });
    if (k < m.H - 1) yield;
  }
  return square.map(Math.sqrt);
}

// The fewest last steps that hold this share of the whole.
export function within(norms, share) {
  const all = norms.reduce((a, b) => a + b, 0);
  let sum = 0, n = 0;
  while (n < norms.length && sum < share * all - 1e-12) sum += norms[norms.length - ++n];
  return n;
}

// The text that the models can read: lower case, characters of the vocabulary alone.
export const clean = (text, vocabulary) => [...text.toLowerCase().replace(/[’‘]/g, "'").replace(/[“”]/g, '"').replace(/[–—]/g, '-')].filter(c => vocabulary.includes(c)).slice(0, 80).join('');

// ---- The figure ----
const LANE = 26, WIDE = 70, LANES = 8;
const CSS = `
.lg-scroll,.lg-gates,.lg-eq,.lg-guess,.lg-note{contain:layout paint style}.lg-scroll{overflow-x:auto;position:relative;scroll-padding:0 40px 0 70px}.lg-grid{position:relative;isolation:isolate;width:max-content;min-width:100%}
.lg-row{display:flex}.lg-head{position:sticky;left:0;z-index:4;width:60px;flex:none;background:var(--paper);font-size:13px;color:var(--soft);display:flex;align-items:center}
.lg-cap{position:sticky;left:0;width:fit-content;max-width:min(100cqw,100%);font-size:13px;color:var(--soft);padding:8px 4px 2px 0;z-index:4;line-height:1.3;background:var(--paper)}
.lg-cap b,.lg-head b{color:var(--ink)}
.lg-cell{contain:size layout style;width:var(--col);flex:none;overflow:hidden;text-align:center;font-size:13px;line-height:1.15;cursor:pointer;display:flex;flex-direction:column;justify-content:center;align-items:center;white-space:pre;letter-spacing:-.4px}
.lg-cell:focus-visible{outline-offset:-2px}
.lg-text .lg-cell{height:32px;font-size:17px;letter-spacing:0}.lg-long .lg-text .lg-cell{font-size:14px}.lg-text .lg-cell.ahead,.lg-grad .lg-cell.ahead{color:var(--soft)}
.lg-lane .lg-cell{height:${LANE}px;justify-content:flex-end}.lg-lane.on .lg-cell{height:${WIDE}px}.lg-lane.on .lg-head{color:var(--state);font-weight:700}
.lg-lane .lg-head{cursor:pointer}.lg-grad .lg-cell{height:38px;border:1px solid var(--paper);border-radius:4px}.lg-grad b{font-weight:400}
.lg-lanes{position:relative}.lg-lanes canvas{z-index:-2;position:absolute;left:60px;top:0;max-width:none!important}
.lg-clip{position:absolute;left:60px;top:0;bottom:0;overflow:hidden;z-index:-1;pointer-events:none}.lg-veil{will-change:transform;position:absolute;inset:0;background:var(--paper);opacity:.72}.lg-ask .lg-veil{opacity:1}
.lg-now{will-change:transform;position:absolute;top:0;bottom:0;left:60px;width:var(--col);border:2px solid var(--state);border-radius:6px;pointer-events:none;z-index:3}
.lg-scale{display:inline-block;width:90px;height:12px;border-radius:3px;vertical-align:-1px;margin:0 4px}
.lg-note{min-height:4.5em}.lg-below{align-items:start;display:grid;grid-template-columns:minmax(0,1fr);gap:10px 22px;margin-top:10px}
@container (min-width:700px){.lg-below{grid-template-columns:minmax(0,380px) minmax(0,1fr)}.lg-note{min-height:1.5em}}
.lg-gates{display:grid;grid-template-columns:46px repeat(6,minmax(0,1fr));gap:2px}.lg-gates [role=row]{display:contents}
.lg-gates [role=columnheader],.lg-gates [role=rowheader]{font-size:13px;color:var(--soft);line-height:1.15;text-align:center;align-self:center;overflow-wrap:anywhere}
.lg-gates [role=rowheader]{text-align:left}.lg-gates i{font-family:Georgia,"DejaVu Serif",serif;font-size:16px;color:var(--ink)}
.lg-gate{background:linear-gradient(var(--output),var(--output)) no-repeat 0 100%/0 4px var(--panel);border-radius:4px;min-height:28px;font-size:14px;text-align:center;padding:3px 0 6px;cursor:pointer}
.lg-gates .on .lg-gate{font-size:16px;font-weight:650;padding:10px 0 14px}.lg-gates .on [role=rowheader]{color:var(--state);font-weight:700}
@container (max-width:480px){.lg-gates .on .lg-gate{font-size:14px}}
.lg-gate[aria-selected=true]{box-shadow:inset 0 0 0 2px var(--focus)}.lg-gate:focus-visible{outline-offset:-2px}
.lg-gate.mid{background-image:linear-gradient(var(--state),var(--state))}
.lg-eq{font-size:15px;line-height:1.75;min-width:0;padding:0 4px}.lg-eq p{margin:0 0 2px}.lg-eq i,.lg-cap i{font-family:Georgia,"DejaVu Serif",serif}.lg-eq sub{font-size:13px;line-height:1}
.lg-eq .num{white-space:nowrap}.lg-eq .lit{background:var(--panel);border-radius:5px;box-shadow:0 0 0 3px var(--panel)}
.nnv .lg-eq button{min-height:26px;min-width:26px;padding:0 5px;font-size:15px;line-height:1.4}
.lg-terms{font-size:14px;color:var(--soft)}.lg-eq summary{cursor:pointer;font-size:14px;min-height:26px}.lg-all{columns:170px;font-size:13px;margin:0;padding:0;list-style:none;max-height:260px;overflow:auto}
.lg-guess{display:grid;grid-template-columns:60px repeat(5,minmax(0,1fr));gap:3px;max-width:520px;margin-top:4px}.lg-guess>*{font-size:13px;text-align:center;align-self:center;white-space:nowrap;border-radius:4px;padding:2px 0;line-height:1.35}
.lg-guess>.who{text-align:left;color:var(--soft)}.lg-guess>.chip{contain:layout style;background:var(--panel)}.lg-guess>.chip b{font-size:16px}.lg-guess>.chip.yes{box-shadow:inset 0 0 0 2px var(--output)}
.nnv .lg-examples select{max-width:150px}.nnv .nnv-player .nnv-scrub{flex-basis:80px}.nnv .nnv-player{gap:6px 10px}.nnv .lg-type{flex:1 1 240px}.nnv .lg-type input{flex:1;width:100%;font-size:16px}
`;
const NAMES = {f: 'forget', i: 'input', g: 'candidate', o: 'output', c: 'cell', h: 'out'};
const MODELS = {lstm: 'LSTM', gru: 'GRU', rnn: 'RNN'};
const shownAs = token => token === ' ' ? '␣' : token;
const quoted = token => token === ' ' ? 'a space' : token === '"' ? 'a quotation mark' : `“${token}”`;
const plus = (v, digits = 3) => `${v < 0 ? '−' : '+'} ${fmt(Math.abs(v), digits)}`;
const sign = v => plus(v, 2).replace(' ', '');
const short = v => { const t = fmt(v, Math.abs(v) < 9.95 ? 1 : 0); return Math.abs(v) < 0.05 ? '0' : t.replace(/^(−?)0\./, '$1.'); };
const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const attr = (node, name, value) => { if (node.getAttribute(name) !== value) node.setAttribute(name, value); };
const it = text => h('i', {}, text);

function render({model, el}) {
  const cells = model.get('models').map(unpack), lstm = cells[0], H = lstm.H, vocabulary = model.get('vocabulary'), typed = vocabulary.length > 0;
  const lanes = Math.min(LANES, H), notes = model.get('notes'), targets = typed ? ['guess', 'cell'] : ['hidden', 'cell'];
  const examples = model.get('examples');
  const word = typed ? 'character' : 'step', Word = typed ? 'Character' : 'Step';
  // A column is as wide as the longest label needs, within reason; longer labels are cut here and read out in full.
  const longest = typed ? 1 : Math.max(...model.get('tokens').map(t => [...t].length)), COL = Math.min(76, Math.max(30, 9 * longest + 8));
  const label = token => [...token].length > 8 ? [...token].slice(0, 7).join('') + '…' : shownAs(token);
  let tokens = [], x = [], traces = [], drawn = {}, view = 600, job = 0, hint = '', asked = 0, right = 0, ready = null;
  const T = () => tokens.length;
  const clamp = (v, n) => Math.min(Math.max(Math.round(+v) || 0, 0), n - 1);
  const step = () => clamp(model.get('step'), T()), unit = () => clamp(model.get('unit'), H);
  const gate = () => model.get('gate') in NAMES ? model.get('gate') : 'f';
  const target = () => targets.includes(model.get('target')) ? model.get('target') : targets[0];
  const base = () => Math.min(Math.floor(unit() / lanes) * lanes, H - lanes);
  const at = (g, t, k) => g === 'c' || g === 'h' ? (t < 0 ? 0 : traces[0][g][t * H + k]) : traces[0].gates[(t * 4 + ROW[g]) * H + k];

  const w = frame(el, {name: 'LSTM gates', title: 'What an LSTM keeps, erases and writes',
    lead: typed ? 'Type a text and step through it. Each lane is the cell state of one unit; below it, three models lit by where their gradient reaches.'
      : 'Step through the sequence. Each lane is the cell state of one unit; below it, where the gradient reaches.'});
  w.root.prepend(h('style', {}, CSS));
  w.root.style.setProperty('--col', `${COL}px`);
  w.root.classList.toggle('lg-long', longest > 2);

  // The reader's text.
  const box = typed && h('input', {type: 'text', maxlength: 80, spellcheck: 'false', autocomplete: 'off', autocapitalize: 'off', 'aria-label': 'Text that the models read',
    oninput: () => {
      const lost = [...box.value.toLowerCase()].filter(c => !clean(c, vocabulary));
      hint = lost.length ? `Not in the models’ alphabet, left out: ${[...new Set(lost)].join(' ')}` : '';
      const text = clean(box.value, vocabulary);
      put(model, {text, step: Math.max(text.length, 1) - 1});
    }});
  const typing = typed && h('div', {class: 'nnv-bar'}, h('label', {class: 'lg-type'}, 'Text', box),
    button({label: 'Add its guess', name: 'Add the LSTM’s guess to the text', on: () => {
      play.pause();
      const p = guess(lstm, traces[0], T() - 1), text = clean(tokens.join(''), vocabulary).slice(-79) + vocabulary[p.indexOf(Math.max(...p))];
      hint = ''; box.value = text; put(model, {text, step: text.length - 1});
    }}),
    Object.assign(choice({label: 'Examples', options: [['', 'choose'], ...examples.map(e => [e, e.slice(0, 22) + '…'])], value: '', on: text => { if (text) { play.pause(); hint = ''; put(model, {text, step: 0}); } }}), {className: 'lg-examples'}));

  // The timeline: text, lanes, gradients, one column a step.
  const cell = (row, t) => Object.assign(h('div', {class: 'lg-cell', role: 'gridcell', tabindex: -1}), {row, t});
  const line = (kind, index, head) => ({kind, index, cells: [], head, node: h('div', {class: `lg-row lg-${kind}`, role: 'row'}, head)});
  const header = text => h('div', {class: 'lg-head', role: 'rowheader'}, text);
  const textRow = line('text', 0, header(typed ? 'text' : 'step'));
  const laneRows = Array.from({length: lanes}, (_, r) => line('lane', r, header('')));
  const gradRows = cells.map((m, r) => line('grad', r, header(h('b', {}, MODELS[m.kind]))));
  const rows = [textRow, ...laneRows, ...gradRows];
  const canvas = h('canvas', {'aria-hidden': 'true'}), veil = h('div', {class: 'lg-veil'}), clip = h('div', {class: 'lg-clip'}, veil), now = h('div', {class: 'lg-now'});
  const laneCap = h('div', {class: 'lg-cap'}), gradCap = h('div', {class: 'lg-cap'});
  const grid = h('div', {class: 'lg-grid', role: 'grid', 'aria-label': 'The sequence: text, cell state of each unit, gradients'},
    textRow.node, laneCap, h('div', {class: 'lg-lanes', role: 'rowgroup'}, canvas, clip, laneRows.map(r => r.node)), gradCap, h('div', {role: 'rowgroup'}, gradRows.map(r => r.node)), now);
  const scroller = h('div', {class: 'lg-scroll'}, grid), note = h('p', {class: 'nnv-note lg-note'}), far = h('p', {class: 'nnv-note'});
  laneRows.forEach((r, k) => r.head.addEventListener('click', () => put(model, {unit: base() + k})));
  let holder = null;  // the one cell in the tab order
  const hold = c => { if (holder !== c) { holder?.setAttribute('tabindex', -1); holder = c; c.setAttribute('tabindex', 0); } };
  const about = c => {
    const {kind, index} = rows[c.row], t = c.t, where = `${word} ${t + 1}, ${quoted(tokens[t])}`;
    if (kind === 'text') return where;
    if (kind === 'lane') {
      const k = base() + index, old = at('c', t - 1, k), f = at('f', t, k), wrote = at('i', t, k) * at('g', t, k);
      return `Unit ${k}, ${where}: keeps ${fmt(100 * f, 0)} % of ${fmt(old)}, writes ${sign(wrote)}, so the cell holds ${fmt(at('c', t, k))}.`;
    }
    const n = ready?.[index], name = MODELS[cells[index].kind];
    if (!n || t > step()) return `${name}, ${where}: after the chosen step, so it has no part in it.`;
    return `${name}, ${where}, ${step() - t} steps back: gradient ${fmt(n[t], 4)}, ${fmt(100 * n[t] / (Math.max(...n) || 1), 1)} of 100.`;
  };
  const pick = c => {
    const {kind, index} = rows[c.row];
    if (kind === 'grad') { write(note, about(c)); w.say(about(c)); return; }
    play.pause();
    put(model, kind === 'lane' ? {step: c.t, unit: base() + index} : {step: c.t});
  };
  const cellOf = e => { const c = e.target.closest('.lg-cell'); return c && grid.contains(c) ? c : null; };
  w.listen(grid, 'focusin', e => { const c = cellOf(e); if (c) { hold(c); pick(c); } });
  w.listen(grid, 'click', e => { const c = cellOf(e); if (c) { c.focus({preventScroll: true}); pick(c); } });
  w.listen(grid, 'pointerover', e => { const c = cellOf(e); if (c && e.pointerType !== 'touch') write(note, about(c)); });
  w.listen(grid, 'pointerleave', () => write(note, sentence()));
  w.listen(grid, 'keydown', e => {
    const c = cellOf(e), by = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0], Home: [0, -1e6], End: [0, 1e6]}[e.key];
    if (!c || !by) return;
    let r = c.row + by[0];
    if (rows[r]?.node.hidden) r = c.row;
    rows[r]?.cells[clamp(c.t + by[1], T())]?.focus();
    e.preventDefault();
  });

  // Gates of the units on show at the chosen step.
  const KEYS = ['f', 'i', 'g', 'o', 'c', 'h'], HEADS = {f: 'forget', i: 'input', g: 'cand.', o: 'output', c: 'cell', h: 'out'};
  const table = Array.from({length: lanes}, () => {
    const head = h('div', {role: 'rowheader'});
    const boxes = KEYS.map(g => { return {g, node: h('div', {class: 'foi'.includes(g) ? 'lg-gate' : 'lg-gate mid', role: 'gridcell'})}; });
    return {head, boxes, node: h('div', {role: 'row'}, head, boxes.map(b => b.node))};
  });
  const gates = h('div', {class: 'lg-gates', role: 'grid', 'aria-label': 'Gates of the units on show, at the chosen step'},
    h('div', {role: 'row'}, h('div', {role: 'columnheader'}, 'unit'), KEYS.map(g => h('div', {role: 'columnheader'}, it(g), h('br'), HEADS[g]))), table.map(r => r.node));
  const choose = (r, c) => put(model, {unit: base() + r, gate: KEYS[c]});
  roving(w, table.map(r => r.boxes.map(b => b.node)), {focus: choose, activate: choose});
  table.forEach((r, k) => r.boxes.forEach((b, c) => b.node.addEventListener('click', () => { b.node.focus({preventScroll: true}); choose(k, c); })));

  // The arithmetic of the chosen gate.
  const n = () => h('span', {class: 'num'}), jump = (g, name) => Object.assign(button({label: '', name, on: () => put(model, {gate: g})}), {gate: g});
  const eq = {head: h('p', {}), symbols: h('p', {}), px: n(), bx: n(), ph: n(), bh: n(), sum: n(), value: n(), terms: h('p', {class: 'lg-terms'}), old: null,
    f: jump('f', 'forget gate'), i: jump('i', 'input gate'), g: jump('g', 'candidate'), o: jump('o', 'output gate'), c: n(), c2: n(), h: n(), open: h('span', {}), all: h('ol', {class: 'lg-all', tabindex: 0, 'aria-label': 'All products'})};
  eq.old = button({label: '', name: 'c one step earlier', on: () => { play.pause(); put(model, {step: Math.max(0, step() - 1)}); }});
  const sums = h('p', {}, '= ', eq.open, '( ', eq.px, ' ', eq.bx, ' ', eq.ph, ' ', eq.bh, ' ) = ', eq.sum, ' = ', eq.value);
  const summary = h('summary', {}), more = h('details', {ontoggle: () => drawAll()}, summary, eq.all);
  const sub = (name, index) => [it(name), h('sub', {}, index)];
  const cLine = h('p', {}, h('span', {class: 'c-state'}, sub('c', 't')), ' = ', it('f'), ' ', sub('c', 't−1'), ' + ', it('i'), ' ', it('g'), ' = ', eq.f, ' × ', eq.old, ' + ', eq.i, ' × ', eq.g, ' = ', h('b', {class: 'c-state'}, eq.c));
  const hLine = h('p', {}, h('span', {class: 'c-output'}, sub('h', 't')), ' = ', it('o'), ' tanh ', sub('c', 't'), ' = ', eq.o, ' × tanh ', eq.c2, ' = ', h('b', {class: 'c-output'}, eq.h));
  const gateBlock = h('div', {}, eq.symbols, sums, eq.terms, more);
  const equations = h('div', {class: 'lg-eq', role: 'group', 'aria-label': 'The arithmetic of the chosen gate'}, eq.head, gateBlock, cLine, hLine);

  // The guesses.
  const guesses = typed ? cells.map(m => ({m, chips: Array.from({length: 5}, () => { const b = h('b', {}), p = h('span', {}); return {b, p, node: h('span', {class: 'chip'}, b, ' ', p)}; })})) : [];
  const guessBox = typed && h('div', {class: 'lg-guess', role: 'group', 'aria-label': 'What each model expects next'}, guesses.flatMap(g => [h('span', {class: 'who'}, MODELS[g.m.kind]), ...g.chips.map(c => c.node)]));
  const guessCap = typed && h('p', {class: 'nnv-note'});

  // Predict first.
  const question = h('span', {}), verdict = h('span', {role: 'status'});
  const answer = g => {
    if (step() >= T() - 1) return;
    const t = step() + 1, k = unit(), v = {f: at('f', t, k), i: at('i', t, k), o: at('o', t, k)}, lowest = Object.keys(v).reduce((a, b) => v[b] < v[a] ? b : a);
    asked++; right += g === lowest;
    write(verdict, `${g === lowest ? 'Right' : 'No'}: f ${fmt(v.f)}, i ${fmt(v.i)}, o ${fmt(v.o)}. The ${NAMES[lowest]} gate closes most. ${right} of ${asked}.`);
    play.pause(); put(model, {step: t, gate: lowest});
  };
  const quiz = h('div', {class: 'nnv-bar', role: 'group', 'aria-label': 'Predict'}, question, ['f', 'i', 'o'].map(g => button({label: NAMES[g], name: `The ${NAMES[g]} gate`, on: () => answer(g)})), verdict);

  // Controls.
  const play = player(w, {length: T, get: step, set: v => put(model, {step: v}), rate: 1.5, names: word});
  const unitText = k => { const found = notes.filter(o => o.unit === k); return `${k}${found.length ? ' · ' + found.map(o => o.name).join(', ') : ''}`; };
  const unitPick = choice({label: 'Unit', options: Array.from({length: H}, (_, k) => [k, unitText(k)]), value: unit(), on: k => put(model, {unit: k})});
  const targetPick = choice({label: 'Gradient of', options: targets.map(v => [v, {guess: 'each best guess', cell: 'the unit’s cell', hidden: 'all of h'}[v]]), value: target(), on: v => put(model, {target: v})});
  const askPick = toggle({label: 'Ask me first', value: model.get('ask'), on: v => put(model, {ask: v})});
  const link = shared(w, model, 'LSTMGates', {...(typed ? {text: 'string'} : {}), step: 'number', unit: 'number', gate: 'string', target: 'string'});
  w.figure.append(...[typing, scroller, far, note].filter(Boolean));
  w.figure.after(play, quiz, ...[guessCap, guessBox].filter(Boolean), h('div', {class: 'lg-below'}, gates, equations));
  w.controls.append(unitPick, targetPick, askPick, link);

  // ---- Drawing: each part only when what it shows has changed ----
  function readInput() {
    if (typed) {
      const text = clean(String(model.get('text')), vocabulary) || ' ';
      tokens = [...text]; x = tokens.map(c => vocabulary.indexOf(c));
      if (document.activeElement !== box) box.value = text;
    } else { tokens = model.get('tokens'); x = model.get('x'); }
    traces = cells.map(m => run(m, x));
    rows.forEach((r, index) => {
      for (let t = r.cells.length; t < T(); t++) { const c = cell(index, t); if (r.kind === 'grad') { c.char = h('b', {}); c.num = h('span', {}); c.append(c.char, c.num); } r.cells.push(c); r.node.append(c); }
      r.cells.splice(T()).forEach(c => { if (holder === c) holder = null; c.remove(); });
    });
    if (!holder) hold(textRow.cells[0]);
    textRow.cells.forEach((c, t) => { write(c, label(tokens[t])); attr(c, 'aria-label', about(c)); });
    gradRows.forEach(r => r.cells.forEach((c, t) => write(c.char, label(tokens[t]))));
    clip.style.width = `${T() * COL}px`;
  }

  function drawLanes() {
    const b = base(), u = unit(), tops = [], total = (lanes - 1) * LANE + WIDE, dpr = Math.min(devicePixelRatio || 1, 2), c = traces[0].c;
    canvas.width = T() * COL * dpr; canvas.height = total * dpr;
    canvas.style.width = `${T() * COL}px`; canvas.style.height = `${total}px`;
    const g = canvas.getContext('2d'), ink = w.colour('ink'), rail = w.colour('line'), panel = w.colour('panel');
    g.scale(dpr, dpr);
    const shade = (v, limit) => signed(Math.sign(v) * (0.42 + 0.33 * Math.min(1, Math.abs(v) / limit)), 1);
    for (let r = 0, y = 0; r < lanes; r++) {
      const k = b + r, wide = k === u, height = wide ? WIDE : LANE, room = wide ? WIDE - 24 : LANE - 4, mid = y + 2 + room / 2;
      let limit = 0.5;
      for (let t = 0; t < T(); t++) limit = Math.max(limit, Math.abs(c[t * H + k]));
      tops.push(y);
      if (wide) { g.fillStyle = panel; g.fillRect(0, y, T() * COL, height); }
      g.strokeStyle = rail; g.lineWidth = 1; g.beginPath(); g.moveTo(0, mid); g.lineTo(T() * COL, mid); g.stroke();
      for (let t = 0; t < T(); t++) {
        const left = t * COL, old = at('c', t - 1, k), f = at('f', t, k), v = at('c', t, k), wrote = at('i', t, k) * at('g', t, k);
        const band = (from, to, value) => { const half = Math.abs(value) / limit * room / 2; g.fillStyle = shade(value, limit); g.fillRect(left + from, mid - half, to - from, 2 * half); };
        band(0, 5, old); band(5, 11, f * old); band(11, COL, v);
        if (Math.abs(old) * (1 - f) > 0.12 * limit) {  // the gate that lets go: a bar across the lane
          g.fillStyle = ink; g.fillRect(left + 4, mid - room / 2, 2.5, room);
        }
        if (Math.abs(wrote) > 0.12 * limit) {  // what is written comes in from above
          const size = 3 + 5 * Math.min(1, Math.abs(wrote) / limit);
          g.fillStyle = shade(wrote, limit); g.strokeStyle = ink; g.lineWidth = 1; g.beginPath(); g.moveTo(left + 14 - size, y + 1); g.lineTo(left + 14 + size, y + 1); g.lineTo(left + 14, y + 1 + 1.5 * size); g.closePath(); g.fill(); g.stroke();
        }
      }
      y += height;
    }
    const named = `${b} ${drawn.text}`;  // the lanes' names change with the text and with the units on show
    laneRows.forEach((r, k) => {
      r.node.classList.toggle('on', b + k === u);
      write(r.head, `unit ${b + k}`);
      r.cells.forEach(e => { if (named !== drawn.named) attr(e, 'aria-label', about(e)); if (b + k !== u) write(e, ''); });
    });
    drawn.named = named;
    const found = notes.filter(o => o.unit === u);
    laneCap.replaceChildren(h('b', {}, `Cell state, units ${b} to ${b + lanes - 1} of ${H}.`), ' Width: |', it('c'), '| beside the unit’s largest; red +, blue −. ▼ written, ┃ let go.', ...found.map(o => h('span', {}, ` Unit ${u}: ${o.text}`)));
  }

  const sentence = () => {
    const t = step(), k = unit(), f = at('f', t, k);
    return `${hint ? hint + ' · ' : ''}${Word} ${t + 1} is ${quoted(tokens[t])}. Unit ${k} ${f > 0.8 ? 'keeps' : f < 0.2 ? 'lets go of' : 'keeps part of'} its ${fmt(at('c', t - 1, k))} (forget gate ${fmt(f)}) and writes ${sign(at('i', t, k) * at('g', t, k))}: the cell holds ${fmt(at('c', t, k))}.`;
  };

  function drawGates() {
    const t = step(), b = base(), u = unit(), chosen = gate();
    table.forEach((r, k) => {
      const on = b + k === u;
      r.node.classList.toggle('on', on);
      write(r.head, `${b + k}`); attr(r.head, 'aria-label', `unit ${b + k}`);
      r.boxes.forEach(x => {
        const v = at(x.g, t, b + k), text = Math.abs(v) < 0.005 ? '0.00' : fmt(v);
        if (x.shown !== v || x.unit !== b + k || x.on !== on) {
          x.shown = v; x.unit = b + k; x.on = on;
          write(x.node, text);
          const size = 50 * Math.min(1, Math.abs(v)), tall = on ? 8 : 4;  // a bar from the left, or from the middle for what has a sign
          x.node.style.backgroundSize = 'foi'.includes(x.g) ? `${(2 * size).toFixed(1)}% ${tall}px` : `${size.toFixed(1)}% ${tall}px`;
          if (!'foi'.includes(x.g)) x.node.style.backgroundPosition = `${(100 * (v < 0 ? 50 - size : 50) / (100 - size)).toFixed(2)}% 100%`;
          attr(x.node, 'aria-label', `unit ${b + k}, ${NAMES[x.g]} ${text}`);
        }
        attr(x.node, 'aria-selected', String(on && x.g === chosen));
      });
    });
  }

  function drawEquations() {
    const t = step(), k = unit(), g = gate(), gated = g in ROW, digits = 3;
    if (drawn.eqGate !== g) {
      drawn.eqGate = g;
      gateBlock.hidden = !gated;
      const squash = g === 'g' ? 'tanh' : 'σ';
      eq.symbols.replaceChildren(h('b', {}, sub(g, 't')), ` = ${squash}( `, h('span', {class: 'c-input'}, sub('W', g), sub('x', 't')), ' + ', h('span', {class: 'c-weight'}, sub('b', g)), ' + ', h('span', {class: 'c-output'}, sub('U', g), sub('h', 't−1')), ' + ', h('span', {class: 'c-weight'}, sub('b′', g)), ' )');
      write(eq.open, squash);
      for (const [key, cls] of [['px', 'c-input'], ['bx', 'c-weight'], ['ph', 'c-output'], ['bh', 'c-weight']]) eq[key].className = `num ${cls}`;
      cLine.classList.toggle('lit', g === 'c'); hLine.classList.toggle('lit', g === 'h');
      ['f', 'i', 'g', 'o'].forEach(q => eq[q].set(q === g));
    }
    const does = {f: v => `keeps ${fmt(100 * v, 0)} % of the cell`, i: v => `lets in ${fmt(100 * v, 0)} % of the candidate`, g: v => `proposes ${fmt(v)}`, o: v => `shows ${fmt(100 * v, 0)} % of tanh c`, c: v => `holds ${fmt(v)}`, h: v => `gives ${fmt(v)}`};
    write(eq.head, `Unit ${k} after ${quoted(tokens[t])}: the ${g === 'h' ? 'output h' : NAMES[g] + ('fio'.includes(g) ? ' gate' : '')} ${does[g](at(g, t, k))}.`);
    if (gated) {
      const r = ROW[g] * H + k, a = t * 4 * H + r, tr = traces[0], px = tr.px[a], ph = tr.ph[a], bx = lstm.bx[r], bh = lstm.bh[r], sum = px + bx + ph + bh;
      write(eq.px, fmt(px, digits)); write(eq.bx, plus(bx)); write(eq.ph, plus(ph)); write(eq.bh, plus(bh));
      write(eq.sum, `${g === 'g' ? 'tanh' : 'σ'}(${fmt(sum, digits)})`); write(eq.value, fmt(at(g, t, k), digits));
      const best = products().slice(0, 3);
      write(eq.terms, `${typed ? `The one-hot input, ${quoted(tokens[t])}, picks one column of W: ${fmt(px, digits)}. ` : ''}Largest products: ${best.length ? best.map(productText).join(', ') : 'none, for this is the first step and h is 0'}.`);
      drawAll();
    }
    write(eq.f, fmt(at('f', t, k))); write(eq.i, fmt(at('i', t, k))); write(eq.g, fmt(at('g', t, k))); write(eq.o, fmt(at('o', t, k)));
    for (const q of ['f', 'i', 'g', 'o']) attr(eq[q], 'aria-label', `${NAMES[q]} ${fmt(at(q, t, k))}: show its arithmetic`);
    write(eq.old, fmt(at('c', t - 1, k))); attr(eq.old, 'aria-label', `c one step earlier, ${fmt(at('c', t - 1, k))}: go there`); eq.old.disabled = t === 0;
    write(eq.c, fmt(at('c', t, k), digits)); write(eq.c2, `(${fmt(at('c', t, k), digits)})`); write(eq.h, fmt(at('h', t, k), digits));
  }
  // The products behind the chosen gate, largest first.
  function products() {
    const t = step(), r = ROW[gate()] * H + unit(), list = [];
    if (t) for (let j = 0; j < H; j++) list.push(['h', j, traces[0].h[(t - 1) * H + j], lstm.U[r * H + j]]);
    if (!typed) for (let j = 0; j < lstm.I; j++) list.push(['x', j, x[t][j], lstm.W[r * lstm.I + j]]);
    return list.sort((a, b) => Math.abs(b[2] * b[3]) - Math.abs(a[2] * a[3]));
  }
  const productText = ([name, j, v, weight]) => `${name}${[...String(j)].map(d => '₀₁₂₃₄₅₆₇₈₉'[d]).join('')}: ${fmt(v)} × ${fmt(weight)} = ${fmt(v * weight)}`.replace(/ /g, '\u00a0');
  function drawAll() {
    const count = H + (typed ? 0 : lstm.I), list = more.open && gate() in ROW ? products() : [], most = 128;
    write(summary, count > most ? `The ${most} largest of ${count} products` : `All ${count} products`);
    if (!more.open) return;
    while (eq.all.children.length < Math.min(list.length, most)) eq.all.append(h('li', {}));
    while (eq.all.children.length > Math.min(list.length, most)) eq.all.lastChild.remove();
    list.slice(0, most).forEach((p, q) => write(eq.all.children[q], productText(p)));
  }

  function drawGuesses() {
    if (!typed) return;
    const t = step(), next = tokens[t + 1];
    guesses.forEach(({m, chips}, q) => {
      const p = guess(m, traces[q], t), order = [...p.keys()].sort((a, b) => p[b] - p[a]);
      chips.forEach((c, r) => { const o = vocabulary[order[r]]; write(c.b, shownAs(o)); write(c.p, `${p[order[r]] < 0.005 ? '<1' : fmt(100 * p[order[r]], 0)} %`); c.node.classList.toggle('yes', o === next); });
      if (!q) write(guessCap, `Next character, each model’s guess after ${quoted(tokens[t])}${next === undefined ? '.' : `; what follows is ${quoted(next)} (outlined), to which the LSTM gives ${fmt(100 * p[vocabulary.indexOf(next)], 1)} %.`}`);
    });
  }

  function paintRow(index, norms) {
    const r = gradRows[index], t = step(), top = norms ? Math.max(...norms) || 1 : 1;
    r.cells.forEach((c, q) => {
      const v = norms && q <= t ? Math.round(100 * norms[q] / top) : norms ? -1 : -2;
      if (c.shown === v) return;
      c.shown = v;
      write(c.num, v >= 0 ? String(v) : v === -2 && q <= t ? '…' : '');
      c.classList.toggle('ahead', v < 0);
      const rgb = magnitudeRGB(v, 100);
      c.style.background = v >= 0 ? css(rgb) : '';
      c.style.color = v >= 0 ? inkOn(rgb) : '';
      attr(c, 'aria-label', v >= 0 ? `${MODELS[cells[index].kind]}, ${word} ${q + 1}, ${quoted(tokens[q])}: ${v} of 100` : `${word} ${q + 1}, after the chosen one`);
    });
  }
  function drawGradients() {
    cancelAnimationFrame(job);
    const t = step(), kind = target(), shown = kind === 'cell' ? 1 : cells.length;
    gradRows.forEach((r, q) => { r.node.hidden = q >= shown; r.node.style.display = q >= shown ? 'none' : ''; });
    ready = cells.map(() => null);
    const done = () => {
      const parts = cells.slice(0, shown).map((m, q) => `${MODELS[m.kind]} ${within(ready[q], 0.9)}`);
      write(far, `Nine tenths of the gradient lie in the last: ${parts.join(' · ')} ${within(ready[0], 0.9) === 1 && shown === 1 ? 'step' : 'steps'}.`);
    };
    if (kind !== 'hidden') { for (let q = 0; q < shown; q++) paintRow(q, ready[q] = reach(cells[q], traces[q], t, kind, unit())); done(); return; }
    const work = cells.map((m, q) => jacobianNorms(m, traces[q], t));
    const go = () => {
      const until = performance.now() + 6;
      for (let q = 0; q < shown; q++) while (!ready[q]) {
        const s = work[q].next();
        if (s.done) { ready[q] = s.value; paintRow(q, s.value); } else if (performance.now() > until) { paintRow(q, null); job = requestAnimationFrame(go); return; }
      }
      done();
    };
    go();
  }
  w.cleanups.push(() => cancelAnimationFrame(job));
  const gradText = kind => ({guess: 'log p(its best guess)', cell: `c of unit ${unit()}`, hidden: 'all of h (Frobenius norm)'})[kind];

  function drawStep() {
    const t = step(), u = unit();
    const room = view - 60, want = (t + 1) * COL - room + Math.min(2 * COL, room / 4), left = scroller.scrollLeft;
    if (drawn.view !== view) { drawn.view = view; scroller.scrollLeft = Math.max(0, COL * Math.round(want / COL)); }
    else if (t * COL < left || (t + 2) * COL > left + room) scroller.scrollLeft = t * COL < left ? Math.max(0, (t - 1) * COL) : COL * Math.round(want / COL);
    now.style.transform = `translateX(${t * COL}px)`;
    veil.style.transform = `translateX(${(t + 1) * COL}px)`;
    textRow.cells.forEach((c, q) => { c.classList.toggle('ahead', q > t); attr(c, 'aria-selected', String(q === t)); });
    laneRows[u - base()].cells.forEach((c, q) => write(c, q <= t ? short(at('c', q, u)) : ''));
    play.show();
    drawGates(); drawEquations(); drawGuesses(); drawGradients();
    const next = tokens[t + 1];
    quiz.style.display = model.get('ask') ? '' : 'none';
    write(question, next === undefined ? 'The text ends here.' : `Next is ${quoted(next)}. Which gate of unit ${u} will be closed most?`);
    quiz.querySelectorAll('button').forEach(b => { b.disabled = next === undefined; });
    if (!grid.contains(document.activeElement) || rows[document.activeElement.row]?.kind !== 'grad') write(note, sentence());
    if (!play.playing()) w.say(sentence());
  }

  function draw() {
    const text = typed ? model.get('text') : 0, key = [text, step(), unit(), gate(), target(), model.get('ask'), hint].join('\u0000');
    if (drawn.text !== text) { drawn.text = text; readInput(); drawn.lanes = null; }
    const lanesKey = `${unit()}`;
    if (drawn.lanes !== lanesKey) { drawn.lanes = lanesKey; drawLanes(); }
    const kind = `${target()} ${unit()} ${step()}`;
    if (drawn.kind !== kind) {
      drawn.kind = kind;
      if (!drawn.scale) { drawn.scale = h('span', {class: 'lg-scale'}); drawn.scale.style.background = `linear-gradient(90deg,${MAGNITUDE.join()})`; drawn.lead = h('span', {}); gradCap.append(drawn.lead, ' 0', drawn.scale, '100, the largest'); }
      write(drawn.lead, `Gradient of ${gradText(target())} at each input:`);
    }
    w.root.classList.toggle('lg-ask', Boolean(model.get('ask')));
    unitPick.set(unit()); targetPick.set(target()); askPick.set(model.get('ask'));
    if (drawn.key !== key) { drawn.key = key; drawStep(); }
  }
  const later = w.batch(draw);
  w.on(model, 'text step unit gate target ask', later);
  w.onTheme(() => { drawn.lanes = null; later(); });
  w.onResize(() => { if (scroller.clientWidth < 120 || scroller.clientWidth === view) return; view = scroller.clientWidth; drawn.key = null; later(); });
  view = scroller.clientWidth || view;
  draw();
  return () => w.close();
}

export default {render};
