// Attention masks: the arithmetic first (named exports, held to torch by the tests), then the figure.

const OPEN = {window: 1, global: 2, random: 3, stride: 4, plain: 5, dilated: 6};  // why a cell is open; 0: it is closed

// Random numbers in [0, 1), the same ones as in Python (mulberry32).
export function uniform(seed) {
  let a = seed | 0;
  return () => { a = a + 0x6D2B79F5 | 0; let b = Math.imul(a ^ a >>> 15, 1 | a); b = b + Math.imul(b ^ b >>> 7, 61 | b) ^ b; return ((b ^ b >>> 14) >>> 0) / 4294967296; };
}

// Opens `count` more keys in each row of a T × T grid: distinct ones that are still closed, none of the future if causal.
function pick(grid, T, count, causal, seed) {
  const next = uniform(seed);
  for (let t = 0; t < T; t++) {
    const left = [];
    for (let s = 0; s < T; s++) if (!grid[t * T + s] && (s <= t || !causal)) left.push(s);
    for (let n = 0; n < Math.min(count, left.length); n++) { const at = n + Math.floor(next() * (left.length - n)); [left[n], left[at]] = [left[at], left[n]]; grid[t * T + left[n]] = OPEN.random; }
  }
}

// A named pattern over T positions: a grid of reasons for each mask that the layers take in turn.
export function pattern(kind, T, {causal = false, window: w = 2, dilation: d = 2, global_tokens: g = 1, random_keys: r = 2, seed = 0, stride: l = 4, summary: c = 1, unit = 1, split = false} = {}) {
  const grid = (rule, n = T) => { const out = new Uint8Array(n * n); for (let t = 0; t < n; t++) for (let s = 0; s < n; s++) out[t * n + s] = rule(t, s); return out; };
  const past = (t, s) => s <= t || !causal;
  const near = (t, s) => (causal ? t - w < s && s <= t : Math.abs(t - s) <= w) ? OPEN.window : 0;
  const anchored = (t, s) => (t < g || s < g) && past(t, s) ? OPEN.global : near(t, s);
  if (kind === 'oscillating') return [grid(() => OPEN.plain), grid((t, s) => s <= t ? OPEN.plain : 0), grid((t, s) => s >= t ? OPEN.plain : 0)];
  if (kind === 'strided' || kind === 'fixed') {
    const strided = kind === 'strided';
    const first = grid((t, s) => s <= t && (strided ? s >= t - l : Math.floor(s / l) === Math.floor(t / l)) ? OPEN.window : 0);
    const second = grid((t, s) => s <= t && (strided ? (t - s) % l === 0 : s % l >= l - c) ? OPEN.stride : 0);
    return split ? [first, second] : [first.map((x, i) => x || second[i])];
  }
  if (kind === 'bigbird') {
    const n = Math.ceil(T / unit), blocks = grid(anchored, n);
    pick(blocks, n, r, causal, seed);
    return [grid((t, s) => past(t, s) ? blocks[Math.floor(t / unit) * n + Math.floor(s / unit)] : 0)];
  }
  if (kind === 'random') { const out = grid((t, s) => s === t ? OPEN.plain : 0); pick(out, T, r, causal, seed); return [out]; }
  if (kind === 'dilated') return [grid((t, s) => { const k = t - s, far = (causal ? w - 1 : w) * d; return k % d === 0 && k <= far && k >= (causal ? 0 : -far) ? OPEN.dilated : 0; })];
  return [grid({full: () => OPEN.plain, causal: (t, s) => s <= t ? OPEN.plain : 0, window: near, global: anchored}[kind])];
}

// Masks drawn by hand or given: rows of text of 0 and 1.
export const fromText = drawn => drawn.map(rows => Uint8Array.from(rows.join(''), c => c === '1' ? OPEN.plain : 0));

// How many layers information needs from s to t, for each (t, s); 255 where it never comes. Each position keeps what it
// has. settled: the layer after which nothing is added; pairs[n]: how many pairs are reached after n layers.
export function layersNeeded(masks, T) {
  const words = Math.ceil(T / 32), need = new Uint8Array(T * T).fill(255), pairs = [T];
  let reached = new Uint32Array(T * words), settled = 0, quiet = 0;
  for (let t = 0; t < T; t++) { reached[t * words + (t >> 5)] |= 1 << (t & 31); need[t * T + t] = 0; }
  for (let n = 1; quiet < masks.length && n < 255; n++) {
    const mask = masks[(n - 1) % masks.length], next = reached.slice();
    let count = pairs[n - 1];
    for (let t = 0; t < T; t++) {
      for (let s = 0; s < T; s++) if (mask[t * T + s]) for (let i = 0; i < words; i++) next[t * words + i] |= reached[s * words + i];
      for (let s = 0; s < T; s++) if (need[t * T + s] === 255 && next[t * words + (s >> 5)] >>> (s & 31) & 1) { need[t * T + s] = n; count++; }
    }
    quiet = count === pairs[n - 1] ? quiet + 1 : 0;
    if (!quiet) settled = n;
    pairs.push(count); reached = next;
  }
  return {need, settled, pairs: pairs.slice(0, settled + 1), all: pairs[settled] === T * T};
}

// Which nodes and edges lie between position t after n layers and what it knows: node[k * T + s] is 1 if what s holds
// after k layers can come to t; the edges of layer k lead from such a node's row of the mask down to layer k − 1.
export function cone(masks, T, t, n) {
  const node = new Uint8Array((n + 1) * T);
  node[n * T + t] = 1;
  for (let k = n; k > 0; k--) for (let i = 0; i < T; i++) if (node[k * T + i]) {
    node[(k - 1) * T + i] = 1;
    for (let s = 0; s < T; s++) if (masks[(k - 1) % masks.length][i * T + s]) node[(k - 1) * T + s] = 1;
  }
  return node;
}

// One way from s up to t in n layers: the position after each layer, from n down to 0. null if there is none.
export function way(masks, T, t, s, n) {
  const able = Array.from({length: n + 1}, () => new Uint8Array(T));
  able[0][s] = 1;
  for (let k = 1; k <= n; k++) for (let i = 0; i < T; i++) { able[k][i] = able[k - 1][i]; for (let j = 0; j < T && !able[k][i]; j++) if (masks[(k - 1) % masks.length][i * T + j] && able[k - 1][j]) able[k][i] = 1; }
  if (!able[n][t]) return null;
  const path = [t];
  for (let k = n, i = t; k > 0; k--) {
    if (!able[k - 1][i]) for (let j = 0; j < T; j++) if (masks[(k - 1) % masks.length][i * T + j] && able[k - 1][j]) { i = j; break; }
    path.push(i);
  }
  return path;
}

// What a mask costs: open cells, and the cells of the blocks that hold one (a kernel skips only blocks that hold none).
export function work(mask, T, S, block) {
  const across = Math.ceil(S / block), down = Math.ceil(T / block), full = new Uint8Array(across * down), rows = new Uint16Array(T), keys = new Uint16Array(S);
  let open = 0, computed = 0, blocks = 0;
  for (let t = 0; t < T; t++) for (let s = 0; s < S; s++) if (mask[t * S + s]) { open++; rows[t]++; keys[s]++; full[Math.floor(t / block) * across + Math.floor(s / block)] = 1; }
  for (let a = 0; a < down; a++) for (let b = 0; b < across; b++) if (full[a * across + b]) { blocks++; computed += (Math.min(T, (a + 1) * block) - a * block) * (Math.min(S, (b + 1) * block) - b * block); }
  return {open, all: T * S, blocks, allBlocks: across * down, computed, full, rows, keys};
}

// 0–3, 7
export function spans(list) {
  const out = [];
  for (let i = 0; i < list.length; i++) { const from = list[i]; while (list[i + 1] === list[i] + 1) i++; out.push(from === list[i] ? `${from}` : `${from}${list[i] === from + 1 ? ', ' : '–'}${list[i]}`); }
  return out.join(', ') || 'none';
}

// ---- The figure ----
const LETTER = ['', 'w', 'g', 'r', 's', '•', 'd'], WORD = ['', 'w window', 'g global', 'r random', 's stride', '', 'd dilated'];
const FILL = [null, PALETTE.input, PALETTE.output, PALETTE.weight, PALETTE.state, PALETTE.input, PALETTE.second].map(c => c && {fill: c, ink: inkOn(parse(c))});
const NAMES = {full: 'full', causal: 'causal', window: 'sliding window', global: 'global + local', dilated: 'dilated', random: 'random', bigbird: 'BigBird: window + global + random', strided: 'strided (Sparse Transformer)', fixed: 'fixed (Sparse Transformer)', oscillating: 'oscillating: both ways, back, ahead', drawn: 'drawn'};
const USES = {window: 'causal window', global: 'causal window global_tokens', dilated: 'causal window dilation', random: 'causal random_keys seed', bigbird: 'causal window global_tokens random_keys unit seed', strided: 'stride split', fixed: 'stride summary split'};
const LOOK = `.nnv [hidden]{display:none!important}.mp-two{display:flex;flex-wrap:wrap;gap:10px 26px;align-items:flex-start}.mp-two>div{max-width:100%}.mp-cap{font-weight:650;font-size:14px;margin:8px 0 3px;line-height:1.35}.mp-cap span{font-weight:400;color:var(--soft)}
.mp-board{width:max-content;position:relative}.mp-row{display:flex}.mp-side,.mp-corner{position:sticky;left:0;z-index:3;background:var(--paper);flex:none;width:30px}.mp-corner{font-size:13px;color:var(--soft);line-height:22px}
.mp-side div,.mp-top div{font-size:13px;color:var(--soft);text-align:center;overflow:visible;white-space:nowrap}.mp-top{display:flex;height:22px;line-height:22px}.mp-top div{flex:none}.mp-board .mp-q{color:var(--input);font-weight:700}.mp-board .mp-k{color:var(--gradient);font-weight:700}
.mp-cells{position:relative;flex:none;cursor:pointer;overflow:hidden;touch-action:pan-x pan-y}.mp-cells>[role=grid]{position:absolute;inset:0}.mp-cells.mp-pen{cursor:crosshair;touch-action:none}.mp-line{position:absolute;left:0;top:0;display:flex;box-shadow:inset 0 0 0 2.5px var(--input);z-index:1}
.mp-line>div{flex:none;height:100%;outline-offset:-3px}.mp-down{position:absolute;left:0;top:0;bottom:0;box-shadow:inset 0 0 0 2.5px var(--gradient);pointer-events:none;z-index:2}
.mp-facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(215px,1fr));gap:8px;margin:10px 0 0;padding:0;list-style:none}.mp-facts li{background:var(--panel);border-radius:8px;padding:6px 10px;font-size:14px;line-height:1.4;color:var(--soft)}.mp-facts b{display:block;font-size:18px;color:var(--ink)}
.mp-words{contain:layout paint;margin:10px 0 0;padding:8px 12px;border-left:3px solid var(--focus);font-size:15px;line-height:1.55}.mp-words div{overflow-wrap:anywhere}.mp-stack canvas{max-width:none}.mp-note{min-height:1.4em}`;
const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const attr = (node, name, value) => { if (node.getAttribute(name) !== value) node.setAttribute(name, value); };
const percent = (a, b) => { const x = 100 * a / b; return `${x > 0 && x < 1 ? fmt(x, 1) : Math.round(x)} %`; };

function render({model, el}) {
  const w = frame(el, {name: 'Mask patterns', title: 'Who may look at whom, and what a stack of layers reaches',
    lead: 'Row t is a query, column s a key; a coloured cell is open. Point at a cell, or choose it, to read it. Switch drawing on to change the mask.'});
  w.root.querySelector('style').append(LOOK);
  const KEYS = {pattern: 'string', T: 'number', causal: 'boolean', window: 'number', dilation: 'number', global_tokens: 'number', random_keys: 'number', seed: 'number', stride: 'number', summary: 'number', unit: 'number', split: 'boolean', block: 'number', layers: 'number', row: 'number', col: 'number', drawn: 'json'};
  const link = shared(w, model, 'MaskPatterns', KEYS);
  const clamp = (x, n) => Math.max(0, Math.min(n - 1, Math.round(x) || 0)), whole = (name, low, high) => Math.max(low, Math.min(high, Math.round(model.get(name)) || 0));
  let peek = null, pen = false, stroke = null, undo = [], hidden = false, now = null, theme = {};
  const drawnWell = rows => Array.isArray(rows) && rows.length > 0 && rows.every(m => Array.isArray(m) && m.length > 0 && m.length <= 48 && m.every(r => typeof r === 'string' && /^[01]{1,48}$/.test(r) && r.length === rows[0][0].length) && m.length === rows[0].length);
  function compute() {
    const wanted = model.get('pattern'), drawn = model.get('drawn');
    let kind = NAMES[wanted] ? wanted : 'full', T = whole('T', 2, 48), S = T, masks;
    if (kind === 'drawn' && !drawnWell(drawn)) kind = 'full';
    const o = {causal: !!model.get('causal'), window: whole('window', 0, 48), dilation: whole('dilation', 1, 48), global_tokens: whole('global_tokens', 0, 48), random_keys: whole('random_keys', 0, 48), seed: whole('seed', 0, 1e9), stride: whole('stride', 1, 48), summary: whole('summary', 1, 48), unit: whole('unit', 1, 8), split: !!model.get('split')};
    if (kind === 'drawn') { masks = fromText(drawn); T = drawn[0].length; S = drawn[0][0].length; } else masks = pattern(kind, T, o);
    const square = T === S, far = square ? layersNeeded(masks, T) : null, length = square ? Math.max(2, far.settled) : 1;
    const n = Math.max(1, Math.min(length, Math.round(model.get('layers')) || 1)), which = (n - 1) % masks.length, block = whole('block', 1, 48);
    now = {kind, T, S, o, masks, square, far, length, n, which, mask: masks[which], block, work: work(masks[which], T, S, block)};
  }
  const pinned = () => ({t: clamp(model.get('row'), now.T), s: clamp(model.get('col'), now.S)});
  const here = () => peek && peek.t < now.T && peek.s < now.S ? peek : pinned();
  const rowOf = t => { const out = []; for (let s = 0; s < now.S; s++) if (now.mask[t * now.S + s]) out.push(s); return out; };
  const columnOf = s => { const out = []; for (let t = 0; t < now.T; t++) if (now.mask[t * now.S + s]) out.push(t); return out; };
  const knows = t => { const out = []; for (let s = 0; s < now.T; s++) if (now.far.need[t * now.T + s] <= now.n) out.push(s); return out; };

  // ---- two grids of one make: a canvas for the colours, and over it the one row of cells that has the focus
  function board(label, look) {
    const canvas = h('canvas', {'aria-hidden': 'true'}), line = h('div', {class: 'mp-line', role: 'row'}), grid = h('div', {role: 'grid', 'aria-label': label}, line), down = h('div', {class: 'mp-down'});
    const cells = h('div', {class: 'mp-cells'}, canvas, grid, down), side = h('div', {class: 'mp-side', 'aria-hidden': 'true'}), top = h('div', {class: 'mp-top', 'aria-hidden': 'true'}), scroll = h('div', {class: 'nnv-fig'}, h('div', {class: 'mp-board'}, h('div', {class: 'mp-row', 'aria-hidden': 'true'}, h('div', {class: 'mp-corner'}, 't \\ s'), top), h('div', {class: 'mp-row'}, side, cells)));
    const cap = h('div', {class: 'mp-cap'}), b = {node: h('div', {}, cap, scroll), cap, cells, canvas, line, down, scroll, size: 0, row: [], drawn: [], seen: ''};
    b.build = (T, S, size) => {
      b.size = size; b.drawn = []; b.seen = ''; b.q = b.k = -1;
      const dpr = Math.min(2, devicePixelRatio || 1), every = size < 20 ? 4 : 1;
      Object.assign(canvas, {width: S * size * dpr, height: T * size * dpr}); Object.assign(canvas.style, {width: S * size + 'px', height: T * size + 'px', maxWidth: 'none'});
      b.tops = Array.from({length: S}, (_, i) => h('div', {style: {width: size + 'px'}}, i % every ? '' : i)); top.replaceChildren(...b.tops);
      b.sides = Array.from({length: T}, (_, i) => h('div', {style: {height: size + 'px', lineHeight: size + 'px'}}, i % every ? '' : i)); side.replaceChildren(...b.sides);
      b.row = Array.from({length: S}, (_, i) => h('div', {role: 'gridcell', 'aria-colindex': i + 1, tabindex: -1, style: {width: size + 'px'}})); line.replaceChildren(...b.row);
      line.style.height = down.style.width = size + 'px'; attr(grid, 'aria-rowcount', String(T)); attr(grid, 'aria-colcount', String(S));
    };
    b.paint = () => {
      const {T, S} = now, c = canvas.getContext('2d'), size = b.size, dpr = canvas.width / (S * size);
      c.setTransform(dpr, 0, 0, dpr, 0, 0); c.font = '13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif'; c.textAlign = 'center'; c.textBaseline = 'middle';
      for (let t = 0; t < T; t++) for (let s = 0; s < S; s++) {
        const {key, fill, ink, text, edge} = look.cell(t, s), id = `${key}`;
        if (b.drawn[t * S + s] === id) continue;
        b.drawn[t * S + s] = id;
        const x = s * size, y = t * size;
        c.fillStyle = theme.line; c.fillRect(x, y, size, size);
        c.fillStyle = fill; c.fillRect(x + 0.5, y + 0.5, size - 1, size - 1);
        if (text && size >= 20) { c.fillStyle = ink; c.fillText(text, x + size / 2, y + size / 2 + 1); }
        if (edge) { c.fillStyle = theme.ink; if (edge & 1) c.fillRect(x, y, size, 1.5); if (edge & 2) c.fillRect(x, y, 1.5, size); }
      }
    };
    b.mark = () => {
      const {t, s} = here(), stop = pinned().s, size = b.size;
      attr(line, 'style', `height:${size}px;transform:translateY(${t * size}px)`); attr(line, 'aria-rowindex', String(t + 1)); attr(down, 'style', `width:${size}px;transform:translateX(${s * size}px)`);
      b.row.forEach((node, i) => { attr(node, 'tabindex', i === stop ? '0' : '-1'); attr(node, 'aria-selected', String(i === s)); if (!peek) attr(node, 'aria-label', look.name(t, i)); });
      if (b.q !== t) { b.sides[b.q]?.removeAttribute('class'); b.q = t; b.sides[t].className = 'mp-q'; }
      if (b.k !== s) { b.tops[b.k]?.removeAttribute('class'); b.k = s; b.tops[s].className = 'mp-k'; }
      if (!peek && b.seen !== `${stop}` && scroll.scrollWidth > scroll.clientWidth) {  // the chosen column stays in view on a narrow page
        const x = stop * size, view = scroll.clientWidth - 30;
        if (x < scroll.scrollLeft || x + size > scroll.scrollLeft + view) scroll.scrollLeft = x - view / 2;
      }
      b.seen = `${stop}`;
    };
    const at = e => { const r = canvas.getBoundingClientRect(); return {t: clamp(Math.floor((e.clientY - r.top) / b.size), now.T), s: clamp(Math.floor((e.clientX - r.left) / b.size), now.S)}; };
    const choose = (t, s) => { peek = null; put(model, {row: t, col: s}); };
    w.listen(cells, 'pointermove', e => {
      const p = at(e);
      if (stroke && look.pen) { if (p.t !== stroke.t || p.s !== stroke.s) { Object.assign(stroke, p); set(p.t, p.s, stroke.to); choose(p.t, p.s); } return; }
      if (e.pointerType === 'touch' || play.playing() || (peek && p.t === peek.t && p.s === peek.s)) return;
      peek = p; moved();
    });
    w.listen(cells, 'pointerleave', () => { if (peek) { peek = null; moved(); } });
    w.listen(cells, 'pointerdown', e => {
      if (!pen || !look.pen || e.button) return;
      const p = at(e); keep(); stroke = {...p, to: !now.mask[p.t * now.S + p.s]}; set(p.t, p.s, stroke.to); choose(p.t, p.s);
    });
    w.listen(cells, 'click', e => { const p = at(e); choose(p.t, p.s); draw(); b.row[p.s]?.focus({preventScroll: true}); });
    w.listen(line, 'keydown', e => {
      const {t, s} = pinned(), to = {ArrowRight: [t, s + 1], ArrowLeft: [t, s - 1], ArrowDown: [t + 1, s], ArrowUp: [t - 1, s], Home: [t, 0], End: [t, now.S - 1]}[e.key];
      if (to) { choose(clamp(to[0], now.T), clamp(to[1], now.S)); draw(); b.row[pinned().s].focus(); e.preventDefault(); } else if (look.pen && (e.key === 'Enter' || e.key === ' ')) { keep(); set(t, s, !now.mask[t * now.S + s]); e.preventDefault(); }
    });
    return b;
  }
  // ---- drawing: from the first stroke on the masks are the reader's own
  const texts = () => now.masks.map(m => Array.from({length: now.T}, (_, t) => Array.from({length: now.S}, (_, s) => m[t * now.S + s] ? '1' : '0').join('')));
  const keep = () => { undo.push({pattern: now.kind, drawn: model.get('drawn')}); if (undo.length > 30) undo.shift(); };
  function set(t, s, open) {
    if (!!now.mask[t * now.S + s] === open && now.kind === 'drawn') return;
    const rows = texts(); rows[now.which][t] = rows[now.which][t].slice(0, s) + (open ? '1' : '0') + rows[now.which][t].slice(s + 1);
    put(model, {drawn: rows, pattern: 'drawn'}); compute();
    w.say(`${t} ${open ? 'may look' : 'may not look'} at ${s}`);
  }
  const whole2 = text => { keep(); const rows = texts(); rows[now.which] = rows[now.which].map(r => text.repeat(r.length)); put(model, {drawn: rows, pattern: 'drawn'}); };
  w.listen(window, 'pointerup', () => { stroke = null; });
  w.listen(window, 'pointercancel', () => { stroke = null; });

  const blockEdge = (t, s) => (t && t % now.block === 0 ? 1 : 0) | (s && s % now.block === 0 ? 2 : 0);
  const left = board('The mask: rows are queries, columns are keys', {pen: true,
    cell: (t, s) => {
      const code = now.mask[t * now.S + s], edge = now.block > 1 ? blockEdge(t, s) : 0, skipped = !now.work.full[Math.floor(t / now.block) * Math.ceil(now.S / now.block) + Math.floor(s / now.block)];
      return {key: code * 100 + edge * 10 + skipped, edge, text: code ? LETTER[code] : skipped ? '' : '·', fill: code ? FILL[code].fill : skipped ? theme.panel : theme.paper, ink: code ? FILL[code].ink : theme.masked};
    },
    name: (t, s) => `query ${t}, key ${s}: ${now.mask[t * now.S + s] ? 'open' : 'closed'}`});
  const right = board('Layers that information needs: rows are where it arrives, columns where it comes from', {
    cell: (t, s) => {
      const need = now.far.need[t * now.T + s], on = need <= now.n && !hidden, c = need === 255 ? null : SHADE[need === 0 ? 0 : Math.round(1 + (need - 1) * 15 / Math.max(1, now.far.settled - 1 || 1))] ?? SHADE[16];
      return {key: on ? `${need}/${now.far.settled}` : hidden ? 'h' : need === 255 ? 'x' : 'o', text: on ? String(need) : hidden ? '?' : need === 255 ? '×' : '', fill: on ? c.fill : theme.paper, ink: on ? c.ink : theme.masked};
    },
    name: (t, s) => { const need = now.far.need[t * now.T + s]; return `from ${s} to ${t}: ${hidden ? 'covered' : need === 255 ? 'never' : need === 0 ? 'itself, no layer' : `${need} ${need === 1 ? 'layer' : 'layers'}`}`; }});
  const SHADE = Array.from({length: 17}, (_, i) => { const rgb = i ? magnitudeRGB(17 - i, 17) : [255, 255, 255]; return {fill: css(rgb), ink: inkOn(rgb)}; });

  // ---- the stack: a row of positions for each layer, and all the ways that end in the chosen one
  const canvas = h('canvas', {'aria-hidden': 'true'}), stackCap = h('div', {class: 'mp-cap'}), stackScroll = h('div', {class: 'nnv-fig mp-stack', tabindex: 0, role: 'group', 'aria-label': 'The ways through the layers'}, canvas), stack = h('div', {}, stackCap, stackScroll);
  function drawStack() {
    if (!now.square || hidden) return;
    const {T, n, masks} = now, {t, s} = here(), label = 66, step = Math.max(20, Math.min(60, (w.root.clientWidth - 32 - label) / T)), gap = Math.max(9, Math.min(46, 230 / n)), wide = label + T * step, high = n * gap + 44;
    const dpr = Math.min(2, devicePixelRatio || 1), c = canvas.getContext('2d');
    if (canvas.style.width !== wide + 'px' || canvas.style.height !== high + 'px' || canvas.width !== Math.round(wide * dpr)) { Object.assign(canvas, {width: Math.round(wide * dpr), height: Math.round(high * dpr)}); Object.assign(canvas.style, {width: wide + 'px', height: high + 'px'}); }
    c.setTransform(dpr, 0, 0, dpr, 0, 0); c.clearRect(0, 0, wide, high);
    const X = i => label + (i + 0.5) * step, Y = k => 12 + (n - k) * gap, node = cone(masks, T, t, n), need = now.far.need[t * T + s], path = need <= n ? way(masks, T, t, s, n) : null;
    c.lineWidth = 1; c.strokeStyle = theme.input; c.globalAlpha = n * T > 200 ? 0.35 : 0.5; c.beginPath();
    for (let k = n; k > 0; k--) for (let i = 0; i < T; i++) if (node[k * T + i]) { const m = masks[(k - 1) % masks.length]; for (let j = 0; j < T; j++) if (j === i || m[i * T + j]) { c.moveTo(X(i), Y(k)); c.lineTo(X(j), Y(k - 1)); } }
    c.stroke(); c.globalAlpha = 1;
    if (path) { c.lineWidth = 3.5; c.strokeStyle = theme.gradient; c.beginPath(); path.forEach((i, k) => k ? c.lineTo(X(i), Y(n - k)) : c.moveTo(X(i), Y(n))); c.stroke(); }
    const r = Math.max(2, Math.min(5, gap / 4, step / 4));
    c.lineWidth = r > 3 ? 2 : 1;
    for (const [wanted, inside, rim, more] of [[0, theme.paper, theme.masked, 0], [1, theme.input, theme.input, 0], [2, theme.gradient, theme.gradient, 1.5]]) {
      c.beginPath();
      for (let k = 0; k <= n; k++) for (let i = 0; i < T; i++) if ((path && path[n - k] === i ? 2 : node[k * T + i]) === wanted) { c.moveTo(X(i) + r + more, Y(k)); c.arc(X(i), Y(k), r + more, 0, 6.2832); }
      c.fillStyle = inside; c.strokeStyle = rim; c.fill(); c.stroke();
    }
    c.font = '13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif'; c.textBaseline = 'middle'; c.textAlign = 'left'; c.fillStyle = theme.soft;
    const every = gap < 16 ? Math.ceil(16 / gap) : 1;
    for (let k = n; k > 0; k--) if ((n - k) % every === 0 && (k === n || k >= every)) c.fillText(`layer ${k}`, 0, Y(k));
    c.fillText('input', 0, Y(0)); c.textAlign = 'center';
    for (let i = 0; i < T; i++) { c.fillStyle = i === t ? theme.input : i === s ? theme.gradient : theme.soft; if (i === t || i === s || step >= 20) c.fillText(i, X(i), Y(0) + 20); }
  }

  // ---- controls
  const send = (name, more) => v => { peek = null; play.pause(); put(model, {...more, [name]: v}); };
  const kinds = choice({label: 'Pattern', options: Object.entries(NAMES), value: model.get('pattern'), on: v => { guessAgain(); send('pattern', {layers: 1})(v); }});
  const size = slider({label: 'Positions T', min: 2, max: 48, value: model.get('T'), on: send('T')});
  const part = {
    causal: toggle({label: 'Causal', value: model.get('causal'), on: send('causal')}),
    window: slider({label: 'Window w', min: 0, max: 12, value: model.get('window'), on: send('window')}),
    dilation: slider({label: 'Dilation d', min: 1, max: 8, value: model.get('dilation'), on: send('dilation')}),
    global_tokens: slider({label: 'Global g', min: 0, max: 8, value: model.get('global_tokens'), on: send('global_tokens')}),
    random_keys: slider({label: 'Random r', min: 0, max: 8, value: model.get('random_keys'), on: send('random_keys')}),
    stride: slider({label: 'Stride ℓ', min: 1, max: 12, value: model.get('stride'), on: send('stride')}),
    summary: slider({label: 'Summary c', min: 1, max: 6, value: model.get('summary'), on: send('summary')}),
    unit: slider({label: 'Tokens a block', min: 1, max: 4, value: model.get('unit'), on: send('unit')}),
    split: toggle({label: 'The two parts take turns', value: model.get('split'), on: send('split', {layers: 1})}),
    seed: button({label: 'Draw again', name: 'Draw the random keys again, with the next seed', on: () => send('seed')((model.get('seed') || 0) + 1)}),
  };
  const block = slider({label: 'Kernel block', min: 1, max: 16, value: model.get('block'), on: send('block')});
  const penButton = button({label: '✎ Draw', name: 'Draw on the mask', pressed: false, on: () => { pen = !pen; penButton.set(pen); left.cells.classList.toggle('mp-pen', pen); w.say(pen ? 'Drawing on: press and drag on the mask; Enter changes a cell' : 'Drawing off'); }});
  const undoButton = button({label: 'Undo', on: () => { const last = undo.pop(); if (last) put(model, last); }});
  const clear = button({label: 'Close all', on: () => whole2('0')}), fill = button({label: 'Open all', on: () => whole2('1')});
  const turn = button({label: 'Transpose', name: 'Transpose: swap who looks and who is looked at', on: () => { keep(); const rows = texts(), m = rows[now.which]; rows[now.which] = Array.from({length: now.T}, (_, t) => Array.from({length: now.S}, (_, s) => m[s][t]).join('')); put(model, {drawn: rows, pattern: 'drawn'}); }});
  const rule = h('p', {class: 'nnv-note mp-note'}), legend = h('p', {class: 'nnv-note'}), facts = h('ul', {class: 'mp-facts', 'aria-label': 'What the mask costs and reaches'}), words = h('div', {class: 'mp-words', role: 'group', 'aria-label': 'The chosen cell in words'});
  const fact = () => { const b = h('b', {}), text = h('span', {}); facts.append(h('li', {}, b, text)); return {b, text}; };
  const f = {open: fact(), blocks: fact(), pairs: fact(), done: fact()}, say = Array.from({length: 4}, () => words.appendChild(h('div', {})));
  const play = player(w, {length: () => now?.length ?? 1, get: () => (now?.n ?? 1) - 1, set: i => { put(model, {layers: i + 1}); compute(); }, rate: 1.5, names: 'layer', onPlay: on => { if (on) peek = null; }});
  // Guess first: the ways and the counts are covered until the reader has said how many layers it takes.
  const guess = h('input', {type: 'number', min: 0, max: 60, 'aria-label': 'Your guess: layers until nothing is added', style: {width: '72px'}}), verdict = h('span', {role: 'status'});
  const judge = () => { const x = guess.valueAsNumber; if (!Number.isFinite(x)) return; hidden = false; write(verdict, x === now.far.settled ? `Right: ${now.far.settled}.` : `It takes ${now.far.settled}, not ${x}. Play the layers to see it.`); changed(); };
  const guessBar = h('div', {class: 'nnv-bar', hidden: true}, h('label', {}, 'After how many layers is nothing added any more?', guess), button({label: 'Check', on: judge}), verdict);
  const asker = toggle({label: 'Guess first', value: false, on: v => { hidden = v; guessBar.hidden = !v; guess.value = ''; write(verdict, ''); changed(); }});
  const guessAgain = () => { if (!asker.input.checked) return; hidden = true; guess.value = ''; write(verdict, ''); };
  guess.addEventListener('keydown', e => { if (e.key === 'Enter') judge(); });
  w.figure.style.overflow = 'visible';
  const playBar = h('div', {class: 'nnv-bar'}, play);
  w.figure.append(h('div', {class: 'nnv-bar', style: {marginTop: 0}}, kinds, Object.values(part), size), rule, h('div', {class: 'mp-two'}, left.node, right.node), legend, playBar, guessBar, words, stack, facts);
  w.controls.append(penButton, undoButton, clear, fill, turn, block, asker, link);

  // ---- what is drawn
  let shape = '';
  function build() {
    const {T, S, square} = now, width = w.root.clientWidth - 30, fine = matchMedia('(pointer: fine)').matches && width > 560, two = square && width > 2 * (24 * S + 34) + 26 || square && fine && width > 700;
    const room = two ? (width - 26) / 2 - 34 : width - 34, least = fine ? 11 : 24, size = Math.max(least, Math.min(34, Math.floor(room / S)));
    const id = [T, S, size, square].join();
    if (id === shape) return;
    shape = id; left.build(T, S, size); if (square) right.build(T, S, size);
  }
  const RULES = {full: () => 'Every query may look at every key.', causal: () => 's ≤ t: nobody looks ahead.', window: o => o.causal ? `t − w < s ≤ t: the last ${o.window} positions, itself among them.` : `|t − s| ≤ w: ${o.window} on each side and itself, ${2 * o.window + 1} keys.`,
    global: o => `The first ${o.global_tokens} look at all and all look at them; the others look ${o.causal ? `at the last ${o.window}` : `${o.window} to each side`}.`, dilated: o => o.causal ? `${o.window} positions in steps of ${o.dilation} back: t − s is a multiple of ${o.dilation} from 0 to ${Math.max(0, o.window - 1) * o.dilation}.` : `${o.window} positions on each side in steps of ${o.dilation}, up to ${o.window * o.dilation} away.`,
    random: o => `Itself and ${o.random_keys} others, drawn with seed ${o.seed}.`, bigbird: o => `Blocks of ${o.unit}: window ${o.window}, global ${o.global_tokens}, and ${o.random_keys} more drawn with seed ${o.seed} among those that are still closed.`,
    strided: o => `Itself and the last ${o.stride} positions, and all that lie a multiple of ${o.stride} back (s ≤ t).`, fixed: o => `The own block of ${o.stride}, and the last ${o.summary} of every earlier block (s ≤ t).`, oscillating: () => 'The layers take turns: all may look everywhere, then only back (s ≤ t), then only ahead (s ≥ t).', drawn: () => 'Drawn or given.'};
  function reason(t, s) {
    const code = now.mask[t * now.S + s], {o, kind} = now, k = t - s, unit = kind === 'bigbird' ? o.unit : 1, [a, b] = [Math.floor(t / unit), Math.floor(s / unit)], what = unit > 1 ? `blocks ${a} and ${b}` : '';
    if (code === OPEN.window) return kind === 'strided' ? `t − s = ${k} ≤ ℓ = ${o.stride}` : kind === 'fixed' ? `both lie in block ${Math.floor(t / o.stride)} of ℓ = ${o.stride}` : `${what || 't and s'} are ${Math.abs(a - b)} apart, within the window w = ${o.window}`;
    if (code === OPEN.global) return b < o.global_tokens ? `${unit > 1 ? `block ${b}` : `key ${s}`} is global: all may look at it` : `${unit > 1 ? `block ${a}` : `query ${t}`} is global: it may look at all`;
    if (code === OPEN.random) return `drawn at random, seed ${o.seed}`;
    if (code === OPEN.stride) return kind === 'strided' ? `t − s = ${k} is a multiple of ℓ = ${o.stride}` : `key ${s} is among the last ${o.summary} of its block`;
    if (code === OPEN.dilated) return `t − s = ${fmt(k, 0)} is a multiple of d = ${o.dilation}, and near enough`;
    if (code) return t === s ? 'itself' : kind === 'causal' || (kind === 'oscillating' && now.which === 1) ? `s = ${s} ≤ t = ${t}` : kind === 'oscillating' && now.which === 2 ? `s = ${s} ≥ t = ${t}` : kind === 'drawn' ? 'drawn so' : 'all are open';
    const ahead = s > t && (o.causal && USES[kind]?.includes('causal') || kind === 'causal' || kind === 'strided' || kind === 'fixed' || (kind === 'oscillating' && now.which === 1));
    return ahead ? `s = ${s} > t = ${t}: it would look ahead` : kind === 'drawn' ? 'drawn so' : 'no rule of this mask opens it';
  }
  function drawWords() {
    const {t, s} = here(), {T, n, square, masks} = now, looks = rowOf(t), seen = columnOf(s), open = !!now.mask[t * now.S + s];
    write(say[0], `mask[${t}, ${s}] = ${open ? 'True' : 'False'}: query ${t} ${open ? 'may' : 'may not'} look at key ${s}${masks.length > 1 ? ` in layer ${n}` : ''}; ${reason(t, s)}.`);
    write(say[1], `Query ${t} looks at ${looks.length} of ${now.S}: ${spans(looks)}. Key ${s} is looked at by ${seen.length} of ${T}: ${spans(seen)}.`);
    let a = '', b = '';
    if (square && !hidden) {
      const k = knows(t), need = now.far.need[t * T + s];
      a = `After ${n} ${n === 1 ? 'layer' : 'layers'} position ${t} can know of ${k.length} of ${T}: ${spans(k)}.`;
      b = need === 255 ? `What stands at ${s} never comes to ${t}, however many layers.` : need === 0 ? `Position ${t} has its own input from the start.` : `What stands at ${s} comes to ${t} in ${need} ${need === 1 ? 'layer' : 'layers'}: ${way(masks, T, t, s, need).reverse().join(' → ')}.`;
    } else if (!square) a = `Queries and keys are different positions (${T} and ${now.S}), as between a decoder and an encoder: such layers are not stacked on themselves.`;
    write(say[2], a); write(say[3], b); say[2].hidden = !a; say[3].hidden = !b;
    if (!peek && !play.playing()) w.say(`${say[0].textContent} ${b}`);
  }
  function drawFacts() {
    const {work: x, T, S, square, far, n, block: size} = now, few = Math.min(...x.rows), most = Math.max(...x.rows), none = x.rows.filter(r => !r).length;
    write(f.open.b, `${x.open} of ${x.all} cells (${percent(x.open, x.all)})`); write(f.open.text, `are open: ${few === most ? few : `${few} to ${most}`} ${most === 1 ? 'key' : 'keys'} a query.${none ? ` ${none} ${none === 1 ? 'query looks' : 'queries look'} nowhere: a softmax over nothing.` : ''}`);
    write(f.blocks.b, `${x.blocks} of ${x.allBlocks} blocks (${percent(x.computed, x.all)})`); write(f.blocks.text, `of ${size} × ${size} hold an open cell. A kernel that skips the others computes ${x.computed} of ${x.all} cells.`);
    [f.pairs, f.done].forEach(p => { p.b.parentNode.hidden = !square || hidden; });
    if (!square) return;
    const pairs = far.pairs[Math.min(n, far.settled)], rest = T * T - far.pairs[far.settled];
    write(f.pairs.b, `${pairs} of ${T * T} pairs (${percent(pairs, T * T)})`); write(f.pairs.text, `are joined after ${n} ${n === 1 ? 'layer' : 'layers'}.`);
    write(f.done.b, far.all ? `${far.settled} ${far.settled === 1 ? 'layer' : 'layers'} until all is joined` : `${rest} pairs are never joined`);
    let ahead = 0, past = 0;
    for (let t = 0; t < T; t++) for (let s = 0; s < T; s++) if (far.need[t * T + s] === 255) s > t ? ahead++ : past++;
    write(f.done.text, far.all ? 'Then every position can know of every other.' : `After ${far.settled} ${far.settled === 1 ? 'layer' : 'layers'} nothing is added. ${past ? `${past} of them look back.` : 'All of them would look ahead: every position knows its whole past.'}`);
  }
  function drawControls() {
    const {kind, o, square, masks, n, which} = now, uses = (USES[kind] ?? '').split(' ');
    kinds.input.lastChild.hidden = kinds.input.lastChild.disabled = !drawnWell(model.get('drawn'));
    kinds.set(kind);
    for (const [name, node] of Object.entries(part)) { node.hidden = !uses.includes(name); if (name !== 'seed') node.set(o[name]); }
    size.hidden = kind === 'drawn'; size.set(now.T); block.set(now.block); undoButton.disabled = !undo.length; turn.hidden = asker.hidden = !square;
    write(rule, RULES[kind](o));
    const found = [...new Set(now.mask)].filter(c => WORD[c]).map(c => WORD[c]);
    write(legend, `${found.length ? found.join(' · ') + '. ' : ''}Grey: blocks without an open cell, which a kernel skips.${square && !hidden ? ' Second grid: a number is the layers needed, an empty cell needs more than these, × never.' : ''}`);
    playBar.hidden = !square; right.node.hidden = stack.hidden = !square; stack.hidden ||= hidden;
    left.cap.replaceChildren(masks.length > 1 ? `The mask of layer ${n}` : 'The mask of every layer', h('span', {}, masks.length > 1 ? ` (${which + 1} of ${masks.length} that take turns)` : ''));
    right.cap.replaceChildren(`What ${n} ${n === 1 ? 'layer reaches' : 'layers reach'}`, h('span', {}, hidden ? ' (covered)' : ''));
    write(stackCap, `All ways that lead to position ${here().t} in ${n} ${n === 1 ? 'layer' : 'layers'}`);
  }
  // The outlines follow the hand at every frame; the ways and the words at most 16 times a second.
  let late = 0, last = 0, cost = 0;
  const drawRest = () => { clearTimeout(late); late = 0; last = performance.now(); write(stackCap, `All ways that lead to position ${here().t} in ${now.n} ${now.n === 1 ? 'layer' : 'layers'}`); drawStack(); drawWords(); cost = Math.min(60, performance.now() - last); };
  w.cleanups.push(() => clearTimeout(late));
  function drawCell() { left.mark(); if (now.square) right.mark(); const wait = last + Math.max(60, 5 * cost) - performance.now(); if (!peek || wait <= 0) drawRest(); else late ||= setTimeout(drawRest, wait); }
  function draw() { compute(); build(); drawControls(); left.paint(); if (now.square) right.paint(); drawFacts(); drawCell(); play.show(); }
  const paint = () => { theme = Object.fromEntries(['ink', 'soft', 'line', 'panel', 'paper', 'masked', 'input', 'gradient'].map(n => [n, w.colour(n)])); left.drawn = []; right.drawn = []; };
  const changed = w.batch(draw), moved = w.batch(() => now && drawCell());
  w.on(model, 'row col', moved);
  w.on(model, 'layers pattern T causal window dilation global_tokens random_keys seed stride summary unit split block drawn', changed);
  paint(); draw();
  let width = w.root.clientWidth;
  w.onResize(() => { if (w.root.clientWidth !== width) { width = w.root.clientWidth; changed(); } });
  w.onTheme(() => { paint(); changed(); });
  return () => w.close();
}

export default {render};
