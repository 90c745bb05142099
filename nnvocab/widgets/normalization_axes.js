// Which entries share a mean: the arithmetic first (named exports, held to torch by the tests), then the figure.

// A tensor (N, C, H, W); (N, C, L) is taken with H = 1.
export const whole = shape => shape.length === 3 ? [shape[0], shape[1], 1, shape[2]] : shape;

// The number of the set that each entry belongs to. Layer and RMS norm run over a whole sample, or over the channels at each position.
export function sets(shape, {kind, groups = 1, span = 'sample'}) {
  const [N, C, H, W] = whole(shape), P = H * W, G = C % groups ? 1 : groups, ids = new Int32Array(N * C * P);
  for (let n = 0, i = 0; n < N; n++) for (let c = 0; c < C; c++) for (let p = 0; p < P; p++, i++) {
    ids[i] = kind === 'batch' ? c : kind === 'instance' ? n * C + c : kind === 'group' ? n * G + Math.floor(c / (C / G)) : span === 'channels' ? n * P + p : n;
  }
  return ids;
}

// Every set's mean and (biased) variance, and the normalised tensor. RMS norm takes no mean off; in evaluation batch norm uses running averages.
export function normalize(x, shape, {kind, groups = 1, span = 'sample', eps = 1e-5, training = true, runningMean = [], runningVar = []}) {
  const ids = sets(shape, {kind, groups, span}), count = Math.max(...ids) + 1, size = new Float64Array(count), sum = new Float64Array(count), square = new Float64Array(count);
  x.forEach((v, i) => { size[ids[i]]++; sum[ids[i]] += v; });
  const found = Float64Array.from(sum, (s, k) => kind === 'rms' ? 0 : s / size[k]);
  x.forEach((v, i) => { square[ids[i]] += (v - found[ids[i]]) ** 2; });
  const spread = Float64Array.from(square, (s, k) => s / size[k]), stored = kind === 'batch' && !training;
  const mean = stored ? Float64Array.from(found, (_, k) => runningMean[k] ?? 0) : found, variance = stored ? Float64Array.from(found, (_, k) => runningVar[k] ?? 1) : spread;
  return {ids, size, sum, square, found, spread, mean, variance, stored, y: x.map((v, i) => (v - mean[ids[i]]) / Math.sqrt(variance[ids[i]] + eps))};
}

// What a training step does to batch norm's running averages; the variance it stores is the unbiased one.
export function step(running, found, size, momentum, isVariance) {
  return running.map((r, k) => (1 - momentum) * r + momentum * found[k] * (isVariance ? size[k] / (size[k] - 1) : 1));
}

const KINDS = {batch: ['Batch', 'one mean for each channel, over the batch and all positions'], layer: ['Layer', ''], instance: ['Instance', 'one mean for each sample and channel, over its positions'], group: ['Group', 'one mean for each sample and group of channels'], rms: ['RMS', '']};
const SPANS = {sample: 'channels and positions', channels: 'channels, at each position'};
const LOOK = `.nnv [hidden]{display:none!important}.na-tabs{display:flex;flex-wrap:wrap;gap:5px 5px;margin:6px 0;align-items:center}.na-tabs button{padding:3px 12px}.na-about{font-size:14px;margin:4px 0 8px}.na-axes{display:flex;flex-wrap:wrap;gap:5px;margin:0 0 8px;font-size:14px}
.na-axis{border:1px solid var(--line);border-radius:6px;padding:1px 8px;color:var(--soft)}.na-axis.na-on{border-color:var(--output);color:var(--output);font-weight:650}.na-board{width:max-content}.na-row{display:flex;align-items:center}.na-row.na-gap{margin-top:6px}
.na-row>span{flex:none;font-size:13px;color:var(--soft);overflow:hidden;text-overflow:ellipsis;white-space:nowrap;padding-right:4px}.na-heads{display:flex;font-size:13px;color:var(--soft)}.na-heads span{flex:none;text-align:center;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.na-cell{flex:none;font-size:13px;display:flex;align-items:center;justify-content:center;cursor:pointer;outline-offset:-2px;border:1px solid transparent}.na-cell.na-in{border-color:var(--output);box-shadow:inset 0 0 0 1px var(--output)}.na-cell.na-at{box-shadow:inset 0 0 0 2px var(--paper),inset 0 0 0 5px var(--gradient)}.na-cell.na-moved{text-decoration:underline;text-decoration-thickness:2px;text-underline-offset:3px}
.na-lower{display:grid;grid-template-columns:minmax(0,1.35fr) minmax(0,1fr);gap:6px 26px;margin-top:12px;border-top:1px solid var(--line);padding-top:8px}.na-heading{font-weight:650;margin:0 0 4px}.na-card{margin:0;padding:0;list-style:none;counter-reset:n}.na-card li{counter-increment:n;padding:4px 0 5px 28px;position:relative}
.na-card li::before{content:counter(n);position:absolute;left:0;top:5px;width:20px;height:20px;border-radius:50%;border:1px solid var(--line);background:var(--panel);font-size:13px;line-height:18px;text-align:center}.nnv .na-term{border:0;background:none;padding:0 2px;min-width:24px;min-height:24px;font-size:14px;line-height:1.4}.nnv .na-term.na-on{box-shadow:inset 0 -2px 0 var(--gradient);font-weight:700;border-radius:0}
.na-result{font-weight:650;color:var(--output);margin:4px 0 0}.na-guess{border-left:3px solid var(--gradient);padding:2px 0 4px 10px;margin:8px 0}.nnv .na-edit input[type=number]{width:90px}.na-lit{outline:3px solid var(--gradient)!important;z-index:1}.na-scroll{overflow-x:auto}.nnv .na-scroll th,.nnv .na-scroll td{font-size:13px;padding:2px 5px}.nnv .na-scroll thead th{font-weight:400;color:var(--soft)}.na-sum{font-weight:600;margin:8px 0 0}
@container (max-width:560px){.na-lower{grid-template-columns:minmax(0,1fr)}.na-card li{padding-left:0}.na-card li::before{display:none}}`;

function render({model, el}) {
  const w = frame(el, {name: 'Normalization axes', title: 'Which numbers share a mean', lead: 'Choose an entry: all that share its mean and variance are framed. Rows are samples, columns channels; each block holds the positions.'});
  w.root.querySelector('style').append(LOOK);
  const TRAITS = {kind: 'string', groups: 'number', span: 'string', eps: 'number', focus: 'number', training: 'boolean', view: 'string', momentum: 'number'};
  const link = shared(w, model, 'NormalizationAxes', TRAITS);
  const write = (node, text) => { if (node.was === text) return; node.was = text; if (node.firstChild?.nodeType === 3 && !node.firstChild.nextSibling) node.firstChild.data = text; else node.textContent = text; };
  const attr = (node, name, value) => { const was = node.wrote ??= {}; if (was[name] !== value) { was[name] = value; node.setAttribute(name, value); } };
  const show = (node, yes) => { if (node.hidden === yes) node.hidden = !yes; };
  const shape = model.get('shape'), [N, C, H, W] = whole(shape), P = H * W, total = N * C * P, samples = model.get('samples'), channels = model.get('channels');
  const original = [...model.get('values')];
  let state = {}, now = {}, plain = {}, guess = false, answered = false, asked = '', paper = [255, 255, 255];
  const place = i => ({n: Math.floor(i / (C * P)), c: Math.floor(i / P) % C, h: Math.floor(i / W) % H, w: i % W});
  const at = () => Math.max(0, Math.min(total - 1, Math.round(state.focus) || 0));
  const title = i => { const p = place(i); return `${samples[p.n]}, ${channels[p.c]}, ${H > 1 ? `row ${p.h + 1}, column ${p.w + 1}` : `position ${p.w + 1}`}`; };
  function compute() {
    state = Object.fromEntries([...Object.keys(TRAITS), 'values', 'runningMean', 'runningVar'].map(n => [n, model.get({runningMean: 'running_mean', runningVar: 'running_var'}[n] ?? n)]));
    if (!KINDS[state.kind]) state.kind = 'batch';
    if (!SPANS[state.span]) state.span = 'sample';
    state.view = state.view === 'after' ? 'after' : 'before';
    state.groups = C % state.groups ? 1 : state.groups; state.eps = Math.max(0, +state.eps || 0); state.momentum = Math.max(0, Math.min(1, +state.momentum || 0));
    now = normalize(state.values, shape, state);
    const id = [state.kind, state.groups, state.span, state.eps, state.training, state.runningMean, state.runningVar].join();
    if (id !== asked) { asked = id; plain = normalize(original, shape, state); }
  }
  compute();
  const kind = () => state.kind, hid = () => guess && !answered;

  // ---- controls
  const tabs = h('div', {class: 'na-tabs', role: 'group', 'aria-label': 'Normalization'}), buttons = {};
  for (const [name, [text]] of Object.entries(KINDS)) tabs.append(buttons[name] = button({label: text, pressed: false, on: () => put(model, {kind: name})}));
  const about = h('p', {class: 'na-about'}), axes = h('div', {class: 'na-axes', role: 'group', 'aria-label': 'Axes that the mean runs over'}), chips = [['N', 'samples'], ['C', 'channels'], ...(H > 1 ? [['H', 'rows'], ['W', 'columns']] : [['L', 'positions']])].map(([name, what]) => { const node = h('span', {class: 'na-axis'}); axes.append(node); return {name, what, node}; });
  const groups = choice({label: 'Groups', options: Array.from({length: C}, (_, i) => i + 1).filter(g => C % g === 0), value: state.groups, on: v => put(model, {groups: v})});
  const span = choice({label: 'Over', options: Object.entries(SPANS), value: state.span, on: v => put(model, {span: v})});
  const views = {before: button({label: 'Before', name: 'Show the tensor before', pressed: true, on: () => put(model, {view: 'before'})}), after: button({label: 'After', name: 'Show the tensor after', pressed: false, on: () => put(model, {view: 'after'})})};
  const view = h('div', {class: 'nnv-field', role: 'group', 'aria-label': 'What the cells show'}, views.before, views.after);
  const evaluation = toggle({label: 'Evaluation (running averages)', value: !state.training, on: v => put(model, {training: !v})});
  const learn = button({label: 'One training step', on: () => put(model, {running_mean: step(state.runningMean, now.found, now.size, state.momentum, false), running_var: step(state.runningVar, now.spread, now.size, state.momentum, true)})});
  const momentum = slider({label: 'Momentum', min: 0, max: 1, step: 0.05, value: state.momentum, on: v => put(model, {momentum: v})});
  const EPS = [0, 1e-5, 1e-3, 1e-1, 1], eps = choice({label: 'ε', options: [...new Set([...EPS, state.eps])].sort((a, b) => a - b).map(e => [e, String(e)]), value: state.eps, on: v => put(model, {eps: v})});
  const players = player(w, {length: () => now.size.length, get: () => now.ids[at()], set: k => put(model, {focus: now.ids.indexOf(k)}), rate: 1.5, names: 'set'});
  const field = h('input', {type: 'number', step: 'any', 'aria-label': 'Value of the chosen entry', oninput: () => { if (Number.isFinite(field.valueAsNumber)) edit(field.valueAsNumber); }});
  const reach = Math.max(1, ...original.map(Math.abs)), pull = h('input', {type: 'range', min: -3 * reach, max: 3 * reach, step: reach / 100, 'aria-label': 'Move the value of the chosen entry', oninput: () => edit(+pull.value)});
  const edit = x => { const values = [...state.values]; values[at()] = x; put(model, {values}); };
  const reset = button({label: 'Reset the tensor', on: () => put(model, {values: original, running_mean: Array(C).fill(0), running_var: Array(C).fill(1)})});
  const guesser = toggle({label: 'Guess first', value: false, on: v => { guess = v; answered = false; draw(); }});
  const question = h('span', {}), verdict = h('p', {class: 'nnv-note', 'aria-live': 'polite'});
  const sizes = [...new Set([C * P, N * P, P, C, N, total, 1])].sort((a, b) => a - b);
  const answers = h('div', {class: 'nnv-bar'}, sizes.map(n => button({label: String(n), name: `${n} entries`, on: () => {
    answered = true; draw();
    const m = now.size[now.ids[at()]];
    write(verdict, `${m === n ? 'Right' : `You said ${n}`}: ${m} entries share this mean. ${sentence()}`);
  }})));
  const guessBox = h('div', {class: 'na-guess'}, question, answers, verdict);

  // ---- what stands still
  const board = h('div', {class: 'na-board'}), scroll = h('div', {class: 'nnv-fig'}, board), changedNote = h('p', {class: 'nnv-note', 'aria-live': 'polite'}), sum = h('p', {class: 'na-sum'});
  const heading = h('p', {class: 'na-heading'}), card = h('ol', {class: 'na-card'}), result = h('p', {class: 'na-result'});
  const one = () => { const text = h('span', {}), terms = h('span', {}), after = h('span', {}), node = h('li', {}, text, ' ', terms, after); card.append(node); return {text, terms, after, node, list: []}; };
  const steps = [one(), one(), one()];
  const table = h('tbody', {}), running = h('div', {}, h('p', {class: 'na-heading'}, 'Batch norm’s running averages'), h('div', {class: 'na-scroll'}, h('table', {}, h('thead', {}, h('tr', {}, ['channel', 'batch μ', 'running μ', 'batch σ²', 'running σ²'].map(x => h('th', {scope: 'col'}, x)))), table)), h('div', {class: 'nnv-bar'}, learn, momentum, evaluation), h('p', {class: 'nnv-note'}, 'A training step: running ← (1 − momentum) · running + momentum · batch. The stored variance is the unbiased one, divided by m − 1.'));
  const lines = channels.map(name => { const node = h('tr', {}, h('th', {scope: 'row'}, name), [1, 2, 3, 4].map(() => h('td', {}))); table.append(node); return [...node.children].slice(1); });
  w.figure.style.overflow = 'visible';
  w.figure.append(tabs, about, axes, guessBox, scroll, h('div', {class: 'nnv-bar'}, view, groups, span, players), sum, h('div', {class: 'na-lower'}, h('div', {}, heading, card, result, h('div', {class: 'nnv-bar na-edit'}, h('label', {}, 'Change it', field), h('label', {}, pull), reset), changedNote), h('div', {}, running, h('div', {class: 'nnv-bar'}, eps))));
  w.controls.append(guesser, link);

  // ---- the grid: rows are samples and their rows, columns are channels and their columns
  let cells = [], flat = [], wide = 0, high = 0, built = '';
  function build() {
    const width = w.root.clientWidth;
    if (String(width) === built) return;
    built = String(width);
    const left = width < 480 ? 36 : 62, gap = 5, room = width - 32 - left - (C - 1) * gap;
    wide = Math.max(24, Math.min(58, Math.floor(room / (C * W)))); high = Math.max(24, Math.min(32, wide));
    const spot = (n, c, y, x) => ((n * C + c) * H + y) * W + x;
    flat = Array(total);
    cells = Array.from({length: N * H}, (_, r) => Array.from({length: C * W}, (_, k) => {
      const i = spot(Math.floor(r / H), Math.floor(k / W), r % H, k % W);
      return flat[i] = h('div', {class: 'na-cell', role: 'gridcell', style: {width: wide + 'px', height: high + 'px', marginLeft: k && k % W === 0 ? gap + 'px' : '0'}, onclick: () => { choose(i); flat[i].focus({preventScroll: true}); }});
    }));
    flat.forEach((node, i) => { node.place = i; });
    board.replaceChildren(h('div', {class: 'na-heads', 'aria-hidden': 'true', style: {paddingLeft: left + 'px'}}, channels.map((name, c) => h('span', {title: name, style: {width: W * wide + 'px', marginLeft: c ? gap + 'px' : '0'}}, name))),
      h('div', {role: 'grid', 'aria-label': 'The tensor: rows are samples, columns are channels'}, cells.map((line, r) => h('div', {class: 'na-row' + (r && r % H === 0 ? ' na-gap' : ''), role: 'row'}, h('span', {role: 'rowheader', style: {width: left + 'px'}, title: samples[Math.floor(r / H)]}, r % H === 0 ? samples[Math.floor(r / H)] : ''), line))));
    roving(w, cells, {focus: (r, k) => choose(cells[r][k].place)});
    const tab = flat[at()];
    cells[0][0].setAttribute('tabindex', -1); tab.setAttribute('tabindex', 0);
  }
  const choose = i => { players.pause(); if (i !== model.get('focus')) put(model, {focus: i}); };
  let lit = null;
  const light = i => { lit?.classList.remove('na-lit'); lit = i === null ? null : flat[i]; lit?.classList.add('na-lit'); };

  const f = x => fmt(x, 2), f3 = x => fmt(x, 3), inside = x => x < 0 ? `(${f3(x)})` : f3(x);
  const short = x => Math.abs(x) < 0.005 ? '0' : Math.abs(x) >= 100 ? fmt(x, 0) : Math.abs(x) >= 10 ? fmt(x, 1) : fmt(x, 2);
  const sentence = () => {
    const m = now.size[now.ids[at()]], count = now.size.length;
    return `${KINDS[kind()][0]} norm keeps ${count} ${kind() === 'rms' ? (count === 1 ? 'mean square' : 'mean squares') : `${count === 1 ? 'mean' : 'means'} and variance${count === 1 ? '' : 's'}`} for this tensor, each from ${m} ${m === 1 ? 'entry' : 'entries'}. ${kind() === 'batch' ? 'It alone mixes samples.' : 'No sample sees another.'}`;
  };
  const shares = () => ({N: kind() === 'batch', C: ['layer', 'rms', 'group'].includes(kind()), H: !(['layer', 'rms'].includes(kind()) && state.span === 'channels')});
  function drawGrid() {
    const own = now.ids[at()], after = state.view === 'after' && !hid(), values = after ? now.y : state.values, limit = after ? 2.5 : Math.max(1e-9, ...state.values.map(Math.abs)), numbers = wide >= 40;
    let moved = 0;
    for (let i = 0; i < total; i++) {
      const node = flat[i], x = values[i], member = hid() ? i === at() : now.ids[i] === own, rgb = signedRGB(x, limit), shown = member ? rgb : rgb.map((v, k) => Math.round(0.2 * v + 0.8 * paper[k])), change = Math.abs(now.y[i] - plain.y[i]) > 1e-9;
      moved += change;
      const fill = css(shown);
      if (node.seen !== fill) { node.style.background = node.seen = fill; node.style.color = inkOn(shown); }
      write(node, numbers ? short(x) : change && !hid() ? '•' : '');
      attr(node, 'class', 'na-cell' + (member ? ' na-in' : '') + (i === at() ? ' na-at' : '') + (change && !hid() ? ' na-moved' : ''));
    }
    write(changedNote, moved && !hid() ? `Your change moves ${moved} of ${total} outputs (underlined).` : '');
    show(changedNote, !!changedNote.textContent);
  }
  let pending = 0;
  const names = () => { clearTimeout(pending); pending = setTimeout(() => flat.forEach((node, i) => attr(node, 'aria-label', `${title(i)}: ${f3(state.values[i])}${hid() ? '' : `, after ${f3(now.y[i])}${now.ids[i] === now.ids[at()] ? ', in the set' : ''}`}`)), 150); };
  w.cleanups.push(() => clearTimeout(pending));
  function terms(step, list, after) {
    list.forEach(([text, k], m) => {
      const b = step.list[m] ??= (() => {
        const gap = m ? h('span', {}, ' + ') : null, node = h('button', {type: 'button', class: 'na-term'}), one = {node, gap, k: null};
        node.addEventListener('click', () => choose(one.k));
        for (const [type, g] of [['pointerenter', () => light(one.k)], ['pointerleave', () => light(null)], ['focus', () => light(one.k)], ['blur', () => light(null)]]) node.addEventListener(type, g);
        if (gap) step.terms.append(gap);
        step.terms.append(node);
        return one;
      })();
      b.k = k; show(b.node, true); if (b.gap) show(b.gap, true);
      write(b.node, text); attr(b.node, 'class', 'na-term' + (k === at() ? ' na-on' : '')); attr(b.node, 'aria-label', `${title(k)}: ${text}`);
    });
    step.list.slice(list.length).forEach(b => { show(b.node, false); if (b.gap) show(b.gap, false); });
    write(step.after, after);
  }
  function drawCard() {
    const i = at(), k = now.ids[i], m = now.size[k], x = state.values[i], mean = now.mean[k], variance = now.variance[k], members = [];
    now.ids.forEach((id, j) => { if (id === k) members.push(j); });
    const listed = m <= 40, wrap = v => v <= -0.005 ? `(${short(v)})` : short(v), rms = kind() === 'rms';
    write(heading, `${title(i)}: x = ${f3(x)}`);
    show(card, !hid()); show(result, !hid()); show(sum, !hid());
    if (hid()) return;
    write(sum, sentence() + (m === 1 ? ' From one entry the variance is 0, and y is 0 whatever x is: torch refuses it in training for batch and instance norm.' : ''));
    const [a, b, c] = steps;
    show(a.node, !rms);
    if (now.stored) {
      write(a.text, `In evaluation this batch does not count. The channel’s running mean: μ = ${f3(mean)}.`); terms(a, [], '');
      write(b.text, `Its running variance: σ² = ${f3(variance)}.`); terms(b, [], '');
    } else {
      write(a.text, listed ? `Add up the set and divide by its ${m} ${m === 1 ? 'entry' : 'entries'}:` : `The ${m} framed entries sum to ${f3(now.sum[k])}.`);
      terms(a, listed ? members.map(j => [wrap(state.values[j]), j]) : [], `${listed ? ` = ${f3(now.sum[k])}; ` : ' '}μ = ${f3(now.sum[k])} / ${m} = ${f3(mean)}`);
      write(b.text, rms ? `Square each of the ${m} entries; no mean is taken off:` : `Square each distance to μ; this one’s is (${f3(x)} − ${inside(mean)})² = ${f3((x - mean) ** 2)}:`);
      terms(b, listed ? members.map(j => [short((state.values[j] - mean) ** 2), j]) : [], `${listed ? ' = ' : ' their sum is '}${f3(now.square[k])}; ${rms ? 'mean square' : 'σ²'} = ${f3(now.square[k])} / ${m} = ${f3(variance)}`);
    }
    write(c.text, `Add ε = ${state.eps} and take the root: √(${f3(variance)} + ${state.eps}) = ${f3(Math.sqrt(variance + state.eps))}.`);
    write(result, rms ? `y = ${f3(x)} / ${f3(Math.sqrt(variance + state.eps))} = ${f3(now.y[i])}` : `y = (${f3(x)} − ${inside(mean)}) / ${f3(Math.sqrt(variance + state.eps))} = ${f3(now.y[i])}`);
    if (!players.playing()) w.say(`${title(i)}: ${f3(x)} becomes ${f3(now.y[i])}; ${m} entries share its ${rms ? 'mean square' : 'mean'}`);
  }
  let controlled = '';
  function drawControls() {
    const i = at(), x = state.values[i];
    if (document.activeElement !== field) { const v = String(+x.toPrecision(4)); if (field.value !== v) field.value = v; }
    if (+pull.value !== x) pull.value = x;
    attr(pull, 'aria-valuetext', f(x));
    if (kind() === 'batch') lines.forEach((line, c) => [now.found[c], state.runningMean[c] ?? 0, now.spread[c], state.runningVar[c] ?? 1].forEach((v, n) => write(line[n], f3(v))));
    const id = [kind(), state.groups, state.span, state.eps, state.training, state.momentum, state.view, guess, answered].join();
    if (id === controlled) return;
    controlled = id;
    for (const [name, b] of Object.entries(buttons)) attr(b, 'aria-pressed', String(name === kind()));
    for (const [name, b] of Object.entries(views)) attr(b, 'aria-pressed', String(name === state.view));
    const wideSpan = state.span === 'sample' ? 'one for each sample, over its channels and positions' : 'one for each sample and position, over its channels';
    write(about, hid() ? `${KINDS[kind()][0]} norm.` : { layer: `Layer norm: one mean ${wideSpan.slice(4)}.`, rms: `RMS norm: one root mean square ${wideSpan.slice(4)}; no mean is taken off.` }[kind()] ?? `${KINDS[kind()][0]} norm: ${KINDS[kind()][1]}.`);
    const yes = shares();
    chips.forEach(({name, what, node}) => { const on = name === 'N' ? yes.N : name === 'C' ? yes.C : yes.H, part = name === 'C' && kind() === 'group' && state.groups > 1; write(node, hid() ? `${name} ?` : `${name} ${on ? `✓ over ${part ? `${C / state.groups} of ${C} ` : 'all '}${what}` : `✗ each of the ${what} apart`}`); attr(node, 'class', 'na-axis' + (on && !hid() ? ' na-on' : '')); });
    show(groups, kind() === 'group'); show(span, ['layer', 'rms'].includes(kind())); show(running, kind() === 'batch'); show(guessBox, guess); show(answers, !answered); show(verdict, answered);
    groups.set(state.groups); span.set(state.span); eps.set(state.eps); evaluation.set(!state.training); momentum.set(state.momentum);
    write(question, `How many of the ${total} entries share the ${kind() === 'rms' ? 'root mean square' : 'mean'} of the chosen one, under ${KINDS[kind()][0].toLowerCase() === 'rms' ? 'RMS' : KINDS[kind()][0].toLowerCase()} norm${kind() === 'group' ? ` with ${state.groups} groups` : ''}?`);
  }
  // The grid follows the hand at every frame, the many numbers of the card less often.
  let late = 0, last = 0, cost = 0;
  const lower = card.parentNode.parentNode, drawLate = () => { clearTimeout(late); late = 0; last = performance.now(); drawCard(); cost = Math.min(80, performance.now() - last); attr(lower, 'aria-busy', 'false'); };
  const cards = () => { attr(lower, 'aria-busy', 'true'); const wait = last + Math.max(60, 7 * cost) - performance.now(); if (wait <= 0) drawLate(); else late ||= setTimeout(drawLate, wait); };
  w.cleanups.push(() => clearTimeout(late));
  let turned = '', stop = null;
  function draw() {
    compute(); build(); drawControls(); drawGrid(); cards(); names();
    const turn = [at(), kind(), state.groups, state.span].join();
    if (turn !== turned) { turned = turn; players.show(); }
    if (stop !== flat[at()] && !board.contains(document.activeElement)) { board.querySelectorAll('[tabindex="0"]').forEach(node => node.setAttribute('tabindex', -1)); (stop = flat[at()]).setAttribute('tabindex', 0); }
  }
  const colours = () => { const x = w.colour('paper').replace('#', ''); paper = (x.length === 3 ? [...x].map(c => c + c) : x.match(/../g)).map(c => parseInt(c, 16)); };
  const changed = w.batch(draw);
  w.on(model, 'focus kind groups span training', () => { if (answered) answered = false; changed(); });
  w.on(model, 'values eps view momentum running_mean running_var', changed);
  colours(); draw();
  let width = w.root.clientWidth;
  w.onResize(() => { if (w.root.clientWidth !== width) { width = w.root.clientWidth; changed(); } });
  w.onTheme(() => { colours(); changed(); });
  return () => w.close();
}

export default {render};
