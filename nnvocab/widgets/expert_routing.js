// A mixture of experts' routing: the arithmetic first (named exports, held to torch by the tests), then the figure.

// Standard normal numbers, the same ones as in Python (mulberry32, Box and Muller).
export function gaussian(count, seed) {
  let a = seed | 0;
  const next = () => { a = a + 0x6D2B79F5 | 0; let b = Math.imul(a ^ a >>> 15, 1 | a); b = b + Math.imul(b ^ b >>> 7, 61 | b) ^ b; return ((b ^ b >>> 14) >>> 0) / 4294967296; };
  return Array.from({length: count}, () => { const u = next(), v = next(); return Math.sqrt(-2 * Math.log(1 - u)) * Math.cos(2 * Math.PI * v); });
}

// One row's softmax, with every number on its way.
export function softmaxRow(z) {
  const top = Math.max(...z), exp = z.map(x => Math.exp(x - top)), sum = exp.reduce((a, b) => a + b, 0);
  return {top, exp, sum, p: exp.map(x => x / sum), lse: top + Math.log(sum)};
}

// The routing of logits (rows of numbers, one row a token). moves: the choices in the order in which they are carried
// out, {n: token, e: expert, rank, kept, slot}; weight: (tokens, experts).
export function route(logits, {bias = [], noise = 0, seed = 0, mode = 'token', top_k = 1, renormalize = true, limit = true, capacity_factor = 1.25} = {}) {
  const N = logits.length, E = logits[0].length, k = Math.min(top_k, E), added = noise ? gaussian(N * E, seed).map(x => noise * x) : new Array(N * E).fill(0);
  const z = logits.map((row, n) => row.map((x, e) => x + (bias[e] ?? 0) + added[n * E + e])), rows = z.map(softmaxRow), p = rows.map(r => r.p);
  const best = (values) => values.map((_, i) => i).sort((a, b) => values[b] - values[a] || a - b);
  const moves = [], load = new Array(E).fill(0), wanted = new Array(E).fill(0), share = capacity_factor * N / E;
  const chosen = p.map(r => r.map(() => false)), kept = p.map(r => r.map(() => false)), ranks = p.map(r => r.map(() => 0));
  let capacity;
  if (mode === 'token') {
    capacity = limit ? Math.min(N, Math.max(1, Math.ceil(share * k - 1e-9))) : Infinity;
    const order = z.map(best);
    order.forEach((list, n) => list.forEach((e, rank) => { ranks[n][e] = rank; }));
    for (let rank = 0; rank < k; rank++) for (let n = 0; n < N; n++) {
      const e = order[n][rank], fits = load[e] < capacity;
      moves.push({n, e, rank, kept: fits, slot: fits ? load[e] : -1, before: load[e]});
      chosen[n][e] = true; wanted[e]++;
      if (fits) { kept[n][e] = true; load[e]++; }
    }
  } else {
    capacity = Math.min(N, Math.max(1, Math.ceil(share - 1e-9)));
    const order = Array.from({length: E}, (_, e) => best(p.map(r => r[e])));
    order.forEach((list, e) => list.forEach((n, rank) => { ranks[n][e] = rank; }));
    for (let rank = 0; rank < capacity; rank++) for (let e = 0; e < E; e++) {
      const n = order[e][rank];
      moves.push({n, e, rank, kept: true, slot: rank, before: rank});
      chosen[n][e] = kept[n][e] = true; load[e]++; wanted[e]++;
    }
  }
  const weight = p.map((row, n) => { const sum = mode === 'token' && renormalize ? row.reduce((a, x, e) => a + (chosen[n][e] ? x : 0), 0) : 1; return row.map((x, e) => kept[n][e] ? x / sum : 0); });
  const f = wanted.map(x => x / moves.length), P = f.map((_, e) => p.reduce((a, row) => a + row[e], 0) / N);
  return {N, E, k, z, added, rows, p, ranks, chosen, kept, weight, moves, load, wanted, capacity, f, P, balance: E * f.reduce((a, x, e) => a + x * P[e], 0), zLoss: rows.reduce((a, r) => a + r.lse ** 2, 0) / N};
}

// ---- The figure ----
const LOOK = `.nnv [hidden]{display:none!important}.er-board{display:flex;position:relative;width:max-content;min-width:100%}.er-grid{flex:none}.er-row{display:flex;height:28px}.er-row [role=rowheader]{width:var(--name);flex:none;font-size:14px;line-height:28px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;padding-right:4px}
.er-row [role=rowheader] i{font-style:normal;color:var(--soft);font-size:13px;display:inline-block;min-width:20px}.er-row [role=columnheader]{width:var(--cell);flex:none;font-size:13px;color:var(--soft);text-align:center;line-height:28px}
.er-cell{width:calc(var(--cell) - 2px);margin:1px;height:26px;flex:none;border-radius:4px;font-size:13px;line-height:26px;text-align:center;cursor:pointer;position:relative}.er-cell.er-kept{box-shadow:inset 0 0 0 2px var(--paper),0 0 0 2px var(--output)}.er-cell.er-gone{box-shadow:inset 0 0 0 2px var(--paper);outline:2px dashed var(--gradient);outline-offset:0}
.nnv .er-cell:focus-visible{outline:3px solid var(--focus);outline-offset:1px;z-index:2}.er-row.er-on [role=rowheader]{font-weight:700;color:var(--input)}.er-row.er-on{background:var(--panel)}
.er-flow{flex:1 1 60px;min-width:52px;position:relative}.er-flow svg{position:absolute;inset:0;width:100%;height:100%;max-width:none;overflow:visible}.er-flow .er-above{will-change:transform}.er-experts{contain:layout;flex:none;width:var(--box);display:flex;flex-direction:column;justify-content:space-around;gap:6px;padding-top:4px}
.er-box{border:1.5px solid var(--line);border-radius:8px;padding:3px 6px 6px;background:var(--panel);cursor:pointer}.er-box.er-on{border-color:var(--focus)}.er-box p{margin:0;font-size:13px;line-height:20px;white-space:nowrap}.er-slots{display:flex;flex-wrap:wrap;gap:2px}
.er-slot{min-width:25px;height:24px;border:1px dashed var(--masked);border-radius:4px;font-size:13px;line-height:22px;text-align:center}.er-slot.er-full{border-style:solid;border-color:var(--output);background:var(--paper);font-weight:600}.er-slot.er-out{border-color:var(--gradient);color:var(--gradient);text-decoration:line-through}.er-slot.er-me{background:var(--input);color:var(--paper);border-color:var(--input);text-decoration:none}
.er-cards>div{contain:layout paint}.er-cards{display:grid;grid-template-columns:minmax(0,1fr);gap:6px 24px;margin-top:10px}@container (min-width:860px){.er-cards{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}}.er-cards h4{font-size:15px;margin:4px 0;font-weight:650}.er-cards .nnv-fig{padding:2px}
.nnv .er-cards td,.nnv .er-cards th{padding:1px 5px;font-size:14px;white-space:nowrap;font-weight:400;border:0}.nnv .er-cards th{color:var(--soft);font-size:13px}.er-cards tr.er-on td,.er-cards tr.er-on th{background:var(--panel);font-weight:650}.nnv .er-cards input[type=number]{width:70px;min-height:26px;padding:1px 2px 1px 4px;text-align:right}
.er-say{contain:layout paint;margin:6px 0 0;font-size:15px;line-height:1.5;padding:2px 0 2px 10px;border-left:3px solid var(--focus);min-height:3em}.er-sum{font-size:15px;margin:5px 0 0;line-height:1.5;overflow-wrap:anywhere}`;
const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const attr = (node, name, value) => { if (node.getAttribute(name) !== value) node.setAttribute(name, value); };
const plus = x => `${x < 0 ? '−' : '+'} ${fmt(Math.abs(x))}`, nth = i => `${i}${i % 10 === 1 && i !== 11 ? 'st' : i % 10 === 2 && i !== 12 ? 'nd' : i % 10 === 3 && i !== 13 ? 'rd' : 'th'}`;
const percent = x => `${Math.round(100 * x)}`, list = x => x.length ? x.join(', ') : 'none', times = (n, one) => `${n} ${one}${n === 1 ? '' : 's'}`;

function render({model, el}) {
  const w = frame(el, {name: 'Expert routing', title: 'Which token goes to which expert',
    lead: 'A cell is the router’s probability in percent. Play carries out the choices one by one; choose a token to read its softmax, and change its logits.'});
  w.root.querySelector('style').append(LOOK);
  const first = {logits: model.get('logits')}, name = n => model.get('tokens')[n] ?? String(n + 1), bare = n => name(n) === String(n + 1), who = n => bare(n) ? `Token ${n + 1}` : `“${name(n)}” (token ${n + 1})`;
  const link = shared(w, model, 'ExpertRouting', {mode: 'string', top_k: 'number', renormalize: 'boolean', limit: 'boolean', capacity_factor: 'number', noise: 'number', seed: 'number', step: 'number', token: 'number', expert: 'number', bias: 'json', logits: 'json'});
  const clamp = (x, n) => Math.max(0, Math.min(n - 1, Math.round(x) || 0)), real = (x, low, high, other) => Number.isFinite(+x) ? Math.max(low, Math.min(high, +x)) : other;
  let now = null, peek = null, shape = '', part = {}, hidden = false;
  const well = rows => Array.isArray(rows) && rows.length === first.logits.length && rows.every(r => Array.isArray(r) && r.length === first.logits[0].length && r.every(Number.isFinite));
  function compute() {
    const logits = well(model.get('logits')) ? model.get('logits') : first.logits, E = logits[0].length, given = model.get('bias');
    const bias = Array.from({length: E}, (_, e) => real(given?.[e], -50, 50, 0));
    const set = {bias, noise: real(model.get('noise'), 0, 20, 0), seed: Math.round(real(model.get('seed'), 0, 2 ** 31, 0)), mode: model.get('mode') === 'expert' ? 'expert' : 'token', top_k: Math.round(real(model.get('top_k'), 1, E, 1)), renormalize: !!model.get('renormalize'), limit: !!model.get('limit'), capacity_factor: real(model.get('capacity_factor'), 0.1, 8, 1.25)};
    now = {...route(logits, set), set, logits};
    now.step = Math.max(1, Math.min(now.moves.length, Math.round(model.get('step')) || 1));
    now.slots = Array.from({length: E}, (_, e) => now.capacity === Infinity ? now.wanted[e] : Math.min(now.capacity, now.N));
  }
  const me = () => ({n: clamp(peek?.n ?? model.get('token'), now.N), e: clamp(peek?.e ?? model.get('expert'), now.E)});
  const finished = () => now.step === now.moves.length && !hidden;

  // ---- parts that stand still
  const grid = h('div', {class: 'er-grid', role: 'grid', 'aria-label': 'The router’s probabilities: a row is a token, a column an expert'}), svg = s('svg', {'aria-hidden': 'true'}), above = s('svg', {'aria-hidden': 'true', class: 'er-above'}), bright = Array.from({length: 8}, () => above.appendChild(s('path', {fill: 'none', 'stroke-linecap': 'round'}))), flow = h('div', {class: 'er-flow'}, svg, above), experts = h('div', {class: 'er-experts', role: 'list', 'aria-label': 'Experts and what they hold'});
  const board = h('div', {class: 'er-board'}, grid, flow, experts), scroll = h('div', {class: 'nnv-fig'}, board);
  const say = h('p', {class: 'er-say'}), tokenCard = h('div', {role: 'group', 'aria-label': 'The softmax of the chosen token'}), expertCard = h('div', {role: 'group', 'aria-label': 'Load and losses'});
  const play = player(w, {length: () => now?.moves.length ?? 1, get: () => (now?.step ?? 1) - 1, rate: 2, names: 'choice', onPlay: on => { if (on) peek = null; },
    set: i => { const m = now.moves[i]; peek = null; put(model, {step: i === now.moves.length - 1 ? 1000 : i + 1, token: m.n, expert: m.e}); compute(); }});
  const send = key => v => { peek = null; play.pause(); put(model, {[key]: v, step: 1000}); };
  const mode = choice({label: 'Who chooses', options: [['token', 'each token its experts'], ['expert', 'each expert its tokens']], value: model.get('mode'), on: v => { guessAgain(); send('mode')(v); }});
  const topk = slider({label: 'Top k', min: 1, max: first.logits[0].length, value: model.get('top_k'), on: send('top_k')});
  const norm = toggle({label: 'Weights sum to 1', value: model.get('renormalize'), on: send('renormalize')});
  const limit = toggle({label: 'Limited capacity', value: model.get('limit'), on: send('limit')});
  const factor = slider({label: 'Capacity factor', min: 0.25, max: 4, step: 0.25, value: model.get('capacity_factor'), on: send('capacity_factor')});
  const noise = slider({label: 'Noise σ', min: 0, max: 3, step: 0.1, value: model.get('noise'), on: send('noise')});
  const again = button({label: 'New noise', name: 'New noise: the next seed', on: () => send('seed')((model.get('seed') || 0) + 1)});
  const collapse = button({label: 'Collapse', name: 'Collapse: add 5 to the logits of expert 1', on: () => send('bias')(now.set.bias.map((b, e) => e ? b : b + 5))});
  const reset = button({label: 'Reset', name: 'Reset logits, bias and noise', on: () => { peek = null; play.pause(); put(model, {logits: first.logits, bias: first.logits[0].map(() => 0), noise: 0, step: 1000}); }});
  const guess = h('input', {type: 'number', min: 0, 'aria-label': 'Your guess', style: {width: '72px'}}), verdict = h('span', {role: 'status'}), question = h('span', {});
  const answer = () => now.set.mode === 'token' ? now.moves.filter(m => !m.kept).length : now.kept.filter(r => !r.some(x => x)).length;
  const judge = () => { const x = guess.valueAsNumber; if (!Number.isFinite(x)) return; hidden = false; write(verdict, x === answer() ? `Right: ${x}.` : `It is ${answer()}, not ${x}. Play it to see which.`); changed(); };
  guess.addEventListener('keydown', e => { if (e.key === 'Enter') judge(); });
  const guessBar = h('div', {class: 'nnv-bar', hidden: true}, h('label', {}, question, guess), button({label: 'Check', on: judge}), verdict);
  const asker = toggle({label: 'Guess first', value: false, on: v => { hidden = v; guessBar.hidden = !v; guess.value = ''; write(verdict, ''); changed(); }});
  const guessAgain = () => { if (asker.input.checked) { hidden = true; guess.value = ''; write(verdict, ''); } };
  w.figure.style.overflow = 'visible';
  w.figure.append(h('div', {class: 'nnv-bar', style: {margin: '0 0 6px'}}, mode, topk, norm, limit, factor), scroll, h('div', {class: 'nnv-bar'}, play), guessBar, say, h('div', {class: 'er-cards'}, tokenCard, expertCard));
  w.controls.append(noise, again, collapse, reset, asker, link);

  const edit = (n, e, v) => { if (Number.isFinite(v)) { const rows = now.logits.map(r => [...r]); rows[n][e] = v; put(model, {logits: rows, step: 1000}); } };
  // ---- built anew when the number of tokens, experts or slots, or the width changes
  function build() {
    const {N, E, slots} = now, wide = w.root.clientWidth - 30, out = now.wanted.map((x, e) => Math.max(0, x - slots[e]));
    const id = [N, E, slots, out, wide].join('|');
    if (id === shape) return;
    shape = id;
    const cell = Math.max(30, Math.min(52, Math.floor((wide - 250) / E / 1.6))), longest = Math.max(...model.get('tokens').map(x => [...x].length)), left = Math.min(wide < 460 ? 66 : 120, 34 + 9 * longest);
    const box = Math.max(112, Math.min(270, wide - left - E * cell - (wide < 460 ? 52 : 150)));
    board.style.setProperty('--name', left + 'px'); board.style.setProperty('--cell', cell + 'px'); board.style.setProperty('--box', box + 'px');
    part.rows = Array.from({length: N}, (_, n) => {
      const cells = Array.from({length: E}, () => h('div', {class: 'er-cell', role: 'gridcell'})), word = document.createTextNode('');
      return {cells, word, node: h('div', {class: 'er-row', role: 'row'}, h('div', {role: 'rowheader'}, h('i', {}, n + 1), word), cells)};
    });
    grid.replaceChildren(h('div', {class: 'er-row', role: 'row'}, h('div', {role: 'rowheader'}, 'token'), Array.from({length: E}, (_, e) => h('div', {role: 'columnheader'}, `E${e + 1}`))), ...part.rows.map(r => r.node));
    roving(w, part.rows.map(r => r.cells), {focus: (n, e) => { peek = null; if (!play.playing()) put(model, {token: n, expert: e}); }});
    part.rows.forEach((r, n) => {
      r.node.addEventListener('pointerenter', e => { if (e.pointerType !== 'touch' && !play.playing()) { peek = {n}; moved(); } });
      r.cells.forEach((c, e) => {
        c.addEventListener('click', () => { peek = null; play.pause(); c.focus({preventScroll: true}); put(model, {token: n, expert: e}); });
        c.addEventListener('keydown', ev => { const by = {'+': 0.5, '=': 0.5, '-': -0.5}[ev.key]; if (by) { edit(n, e, +(now.logits[n][e] + by).toFixed(4)); ev.preventDefault(); } });
      });
    });
    part.boxes = Array.from({length: E}, (_, e) => {
      const cells = Array.from({length: slots[e] + out[e]}, (_, i) => h('span', {class: 'er-slot'})), head = h('p', {}), extra = h('p', {class: 'c-gradient'}, 'dropped');
      extra.hidden = !out[e];
      return {cells, head, extra, node: h('div', {class: 'er-box', role: 'listitem', onclick: () => { peek = null; put(model, {expert: e}); }}, head, h('div', {class: 'er-slots'}, cells.slice(0, slots[e])), extra, h('div', {class: 'er-slots'}, cells.slice(slots[e])))};
    });
    experts.replaceChildren(...part.boxes.map(b => b.node));
    part.paths = now.moves.map(() => s('path', {fill: 'none', 'stroke-linecap': 'round'}));
    svg.replaceChildren(...part.paths);
    part.width = flow.clientWidth; part.tops = part.boxes.map(b => b.node.offsetTop + 14);
    buildCards();
  }
  const paths = () => { const n = now.moves.length; while (part.paths.length < n) { const p = s('path', {fill: 'none', 'stroke-linecap': 'round'}); part.paths.push(p); svg.append(p); } while (part.paths.length > n) part.paths.pop().remove(); };
  function buildCards() {
    const {E} = now, td = () => h('td', {}), cols = (...x) => h('thead', {}, h('tr', {}, x.map(t => h('th', {scope: 'col'}, t))));
    part.title = h('h4', {}); part.biasHead = h('th', {scope: 'col'}, '+ bias'); part.noiseHead = h('th', {scope: 'col'}, '+ noise');
    part.lines = Array.from({length: E}, (_, e) => {
      const input = h('input', {type: 'number', step: 0.5, oninput: () => edit(me().n, e, input.valueAsNumber)}), r = {input, bias: td(), noise: td(), exp: td(), p: td(), rank: td(), weight: td()};
      r.node = h('tr', {}, h('th', {scope: 'row'}, `E${e + 1}`), h('td', {}, input), r.bias, r.noise, r.exp, r.p, r.rank, r.weight); return r;
    });
    const head = cols('', 'logit'); head.firstChild.append(part.biasHead, part.noiseHead, ...['exp(z − max)', '÷ sum = p', 'choice', 'weight'].map(t => h('th', {scope: 'col'}, t)));
    part.row = h('p', {class: 'er-sum'}); part.mix = h('p', {class: 'er-sum c-output'}); part.prefix = h('p', {class: 'er-sum'});
    tokenCard.replaceChildren(part.title, h('div', {class: 'nnv-fig'}, h('table', {}, head, h('tbody', {}, part.lines.map(r => r.node)))), part.row, part.mix, part.prefix);
    part.loads = Array.from({length: E}, (_, e) => {
      const input = h('input', {type: 'number', step: 0.5, 'aria-label': `Bias of expert ${e + 1}`, oninput: () => { if (Number.isFinite(input.valueAsNumber)) put(model, {bias: now.set.bias.map((b, i) => i === e ? input.valueAsNumber : b), step: 1000}); }}), r = {input, f: td(), P: td(), fP: td(), kept: td(), out: td()};
      r.node = h('tr', {}, h('th', {scope: 'row'}, `E${e + 1}`), h('td', {}, input), r.f, r.P, r.fP, r.kept, r.out); return r;
    });
    part.balance = h('p', {class: 'er-sum'}); part.zLoss = h('p', {class: 'er-sum'}); part.cover = h('p', {class: 'er-sum'});
    expertCard.replaceChildren(h('h4', {}, 'Load and losses'), h('div', {class: 'nnv-fig'}, h('table', {}, cols('', 'bias', 'f: share', 'P: mean p', 'f · P', 'kept', 'dropped'), h('tbody', {}, part.loads.map(r => r.node)))), part.balance, part.zLoss, part.cover);
  }

  // ---- what changes with the numbers, and what with the step
  let cells = [];
  function drawGrid() {
    const {N, E, p, moves, step} = now, done = Array.from({length: N * E}, () => 0);
    if (!hidden) for (let i = 0; i < step; i++) done[moves[i].n * E + moves[i].e] = moves[i].kept ? 1 : 2;
    part.rows.forEach((r, n) => {
      const word = bare(n) ? '' : name(n); if (r.word.data !== word) r.word.data = word;
      r.cells.forEach((c, e) => {
        const x = p[n][e], state = done[n * E + e], id = `${x.toFixed(4)}${state}`;
        if (c.shown === id) return;
        c.shown = id;
        const rgb = magnitudeRGB(x, 1); c.style.background = css(rgb); c.style.color = inkOn(rgb);
        write(c, percent(x)); attr(c, 'class', 'er-cell' + ['', ' er-kept', ' er-gone'][state]);
        attr(c, 'aria-label', `${bare(n) ? '' : name(n) + ', '}token ${n + 1}, expert ${e + 1}: ${percent(x)} percent${['', ', chosen', ', dropped'][state]}`);
      });
    });
  }
  function drawFlow() {
    const {moves, step, weight, p, slots, E} = now, {n: mine, e: expert} = me(), wide = part.width, count = new Array(E).fill(0), lost = new Array(E).fill(0), holds = Array.from({length: E}, () => []);
    paths();
    let used = 0;
    const filled = part.boxes.map(b => new Array(b.cells.length).fill(null));
    moves.forEach((m, i) => {
      const path = part.paths[i], on = i < step && !hidden, y = 28 * m.n + 42, to = part.tops[m.e];
      if (on) { if (m.kept) { filled[m.e][m.slot] = m; count[m.e]++; holds[m.e].push(name(m.n)); } else filled[m.e][slots[m.e] + lost[m.e]++] = m; }
      const d = `M2 ${y}C${wide * 0.5} ${y} ${wide * 0.5} ${to} ${m.kept ? wide - 2 : wide * 0.8} ${m.kept ? to : to + (y < to ? -12 : 12)}`, thick = (1 + 5 * (m.kept ? weight[m.n][m.e] : p[m.n][m.e])).toFixed(1);
      for (const node of m.n === mine ? [path, bright[used++]] : [path]) {  // the chosen token's lie once more above all others
        attr(node, 'd', d); attr(node, 'stroke', !m.kept ? 'var(--gradient)' : node === path ? 'var(--weight)' : 'var(--input)'); attr(node, 'stroke-dasharray', m.kept ? '' : '4 4');
        attr(node, 'stroke-width', thick); attr(node, 'opacity', !on ? '0' : node === path ? '0.45' : '1');
      }
    });
    bright.slice(used).forEach(node => attr(node, 'opacity', '0'));
    part.boxes.forEach((b, e) => {
      write(b.head, `E${e + 1} · ${count[e]}${now.capacity === Infinity ? '' : ' of ' + slots[e]}`); attr(b.node, 'class', 'er-box' + (e === expert ? ' er-on' : ''));
      attr(b.node, 'aria-label', `Expert ${e + 1} holds ${list(holds[e])}`); 
      b.cells.forEach((c, i) => { const m = filled[e][i]; write(c, m ? String(m.n + 1) : ''); attr(c, 'class', 'er-slot' + (m ? (m.kept ? ' er-full' : ' er-out') + (m.n === mine ? ' er-me' : '') : '')); });
    });
  }
  function drawToken() {
    const {n, e: focus} = me(), {E, z, rows, p, ranks, chosen, kept, weight, set, added, capacity, moves} = now, row = rows[n], token = set.mode === 'token', biased = set.bias.some(b => b), noisy = set.noise > 0, mine = moves.filter(m => m.n === n);
    write(part.title, bare(n) ? `Token ${n + 1}` : `Token ${n + 1}, “${name(n)}”`); part.biasHead.hidden = !biased; part.noiseHead.hidden = !noisy;
    part.lines.forEach((r, e) => {
      const shown = String(+now.logits[n][e].toFixed(2)); if (document.activeElement !== r.input && r.input.value !== shown) r.input.value = shown;
      attr(r.input, 'aria-label', `Logit of ${bare(n) ? 'token ' : ''}${name(n)} for expert ${e + 1}`); r.bias.hidden = !biased; r.noise.hidden = !noisy;
      write(r.bias, plus(set.bias[e])); write(r.noise, plus(added[n * E + e])); write(r.exp, fmt(row.exp[e], 3)); write(r.p, fmt(p[n][e], 3));
      write(r.rank, hidden ? '?' : token ? chosen[n][e] ? `${nth(ranks[n][e] + 1)}${kept[n][e] ? ' ✓' : ' ✗ full'}` : '–' : kept[n][e] ? `✓ its ${nth(ranks[n][e] + 1)}` : `– its ${nth(ranks[n][e] + 1)}`); write(r.weight, hidden ? '?' : fmt(weight[n][e], 3));
      attr(r.node, 'class', e === focus ? 'er-on' : '');
    });
    write(part.row, `p${focus + 1} = exp(${fmt(z[n][focus])} − ${fmt(row.top)}) / (${row.exp.map(x => fmt(x, 3)).join(' + ')}) = ${fmt(row.exp[focus], 3)} / ${fmt(row.sum, 3)} = ${fmt(p[n][focus], 3)}`);
    const used = p[n].map((_, e) => e).filter(e => kept[n][e]);
    write(part.mix, hidden ? '' : used.length ? `output = ${used.map(e => `${fmt(weight[n][e], 3)} · E${e + 1}(x)`).join(' + ')}` : 'output = 0: no expert works on it; the residual connection carries it on.');
    let text = '';
    if (!token && !hidden) {  // what would have been chosen if the text ended here: expert choice looks ahead
      if (n > 0) { const before = route(now.logits.slice(0, n + 1), {...set, noise: 0}), was = before.kept[n].map((x, e) => x ? `E${e + 1}` : null).filter(Boolean); text = `If the text ended here${set.noise ? ' (without noise)' : ''}, it would be taken by: ${list(was)}. With all tokens it is taken by: ${list(used.map(e => `E${e + 1}`))}. Expert choice compares with later tokens.`; }
    } else if (token && set.renormalize && set.top_k > 1) text = 'Dividing by the sum of the chosen is the same as a softmax over the chosen alone (the others at −∞).';
    else if (token && set.renormalize) text = 'With one choice, a weight divided by itself is 1: the router then gets no gradient through the output.';
    write(part.prefix, text); part.prefix.hidden = !text;
    const last = now.step < moves.length && !peek ? moves[now.step - 1] : null;
    const tell = m => token ? `${['First', 'Second', 'Third'][m.rank] ?? nth(m.rank + 1)} choice E${m.e + 1} (p ${fmt(p[m.n][m.e])}): ${m.kept ? `place ${m.slot + 1}${capacity === Infinity ? '' : ` of ${capacity}`}, weight ${fmt(weight[m.n][m.e])}.` : `its ${times(capacity, 'place')} ${capacity === 1 ? 'is' : 'are'} taken, so this choice is dropped.`}` : `E${m.e + 1} takes it, the ${nth(m.rank + 1)} of its ${capacity} (p ${fmt(p[m.n][m.e])}).`;
    const story = hidden ? 'Covered until you have guessed.' : last ? `${who(last.n)}. ${tell(last)}` : `${who(n)}. ${mine.length ? mine.map(tell).join(' ') : 'No expert has it among its best: none works on it.'}`;
    write(say, story);
    if (!peek && !play.playing()) w.say(story);
  }
  function drawLoads() {
    const {E, f, P, load, wanted, balance, zLoss, rows, set, kept, capacity, N, moves} = now, {n, e: focus} = me();
    part.loads.forEach((r, e) => {
      if (document.activeElement !== r.input && r.input.value !== String(set.bias[e])) r.input.value = set.bias[e];
      write(r.f, hidden ? '?' : `${wanted[e]}/${moves.length} = ${fmt(f[e])}`); write(r.P, fmt(P[e])); write(r.fP, hidden ? '?' : fmt(f[e] * P[e], 3)); write(r.kept, hidden ? '?' : String(load[e])); write(r.out, hidden ? '?' : String(wanted[e] - load[e]));
      attr(r.node, 'class', e === focus ? 'er-on' : '');
    });
    write(part.balance, hidden ? '' : `Load-balancing loss = ${E} · Σ f P = ${E} · ${fmt(balance / E, 3)} = ${fmt(balance, 3)}.${set.mode === 'expert' ? ' Every expert holds the same number by design, so it is 1 whatever the router says.' : ' With equal shares it is 1.'}`);
    write(part.zLoss, `z-loss = mean of (log Σ exp z)² = ${fmt(zLoss, 3)}; of this token (${fmt(rows[n].lse, 3)})² = ${fmt(rows[n].lse ** 2, 3)}.`);
    const counts = kept.map(r => r.filter(x => x).length), none = counts.filter(c => !c).length, many = counts.filter(c => c > 1).length;
    write(part.cover, hidden ? '' : `Capacity ${capacity === Infinity ? 'without limit' : capacity}. Of ${N} tokens ${none} reach no expert, ${N - none - many} one, ${many} more than one; ${times(moves.filter(m => !m.kept).length, 'choice')} dropped.`);
  }
  function drawControls() {
    const {set} = now, token = set.mode === 'token';
    mode.set(set.mode); topk.set(set.top_k); norm.set(set.renormalize); limit.set(set.limit); factor.set(set.capacity_factor); noise.set(set.noise);
    topk.hidden = norm.hidden = limit.hidden = !token; factor.hidden = token && !set.limit; again.hidden = !set.noise;
    write(question, token ? 'How many choices will be dropped?' : 'How many tokens will no expert take?');
  }
  // The ways follow the hand at every frame; the tables at most 16 times a second.
  let late = 0, last = 0, cost = 0;
  const drawTables = () => { clearTimeout(late); late = 0; last = performance.now(); drawToken(); drawLoads(); cost = Math.min(60, performance.now() - last); };
  w.cleanups.push(() => clearTimeout(late));
  function drawFocus() { const {n} = me(), wait = last + Math.max(60, 5 * cost) - performance.now(); part.rows.forEach((r, i) => attr(r.node, 'class', 'er-row' + (i === n ? ' er-on' : ''))); drawFlow(); if (!peek || wait <= 0) drawTables(); else late ||= setTimeout(drawTables, wait); }
  function draw() { compute(); build(); drawControls(); drawGrid(); drawFocus(); play.show(); }
  const changed = w.batch(draw), moved = w.batch(() => now && drawFocus());
  w.listen(grid, 'pointerleave', () => { if (peek) { peek = null; moved(); } });
  w.on(model, 'token expert', moved);
  w.on(model, 'step logits bias mode top_k renormalize limit capacity_factor noise seed tokens', changed);
  draw();
  let width = w.root.clientWidth;
  w.onResize(() => { if (w.root.clientWidth !== width) { width = w.root.clientWidth; changed(); } });
  return () => w.close();
}

export default {render};
