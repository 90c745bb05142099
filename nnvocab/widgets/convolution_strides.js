// ConvolutionStrides. Along each axis a plan lists, for every output, the input that each entry of the kernel reads (its
// taps). Both kinds of convolution are then the same sum over taps, and hovering, stamping and receptive fields read the
// same lists. weight is (output channel, input channel, row, column), dense; groups say which entries are read.

export const pair = v => (Array.isArray(v) ? v : [v, v]);
const NOTHING = -1;

// One axis: size of the output, taps[o][u] = input index or NOTHING, feeds[i] = [[o, u], ...], ring[i + before] = the
// input index that stands at i of the padded input, at(o, u) = the place read (or, transposed, at(i, u) = the place written).
export function axis(n, {k, s = 1, p = 0, d = 1, extra = 0, mode = 'zeros', transposed = false}) {
  const reach = d * (k - 1), whole = p === 'same' ? reach : p === 'valid' ? 0 : 2 * p, before = whole >> 1, after = whole - before;
  const A = {n, k, s, d, extra, before, after, span: reach + 1, padded: n + whole, size: 0, taps: [], feeds: Array.from({length: n}, () => []), ring: [], error: '',
    at: (o, u) => o * s - before + u * d};
  if (transposed) {
    A.size = (n - 1) * s - whole + reach + extra + 1;
    if (extra >= Math.max(s, d)) A.error = `Output padding ${extra} must be smaller than the stride ${s} or the dilation ${d}.`;
    else if (A.size < 1) A.error = `Padding ${p} cuts the whole output away: lower the padding.`;
  } else {
    A.size = Math.floor((n + whole - A.span) / s) + 1;
    if (p === 'same' && s !== 1) A.error = `Padding “same” needs stride 1, not ${s}: move the padding slider.`;
    else if (whole && (mode === 'reflect' || mode === 'circular') && after > n - (mode === 'reflect')) A.error = `Padding ${after} is too much to ${mode === 'reflect' ? 'reflect' : 'wrap'} an input of size ${n}: lower the padding.`;
    else if (A.span > n + whole) A.error = `A kernel of ${k} with dilation ${d} spans ${d}·(${k} − 1) + 1 = ${A.span} cells, but the padded input has ${n} + ${whole} = ${n + whole}: raise the padding, or lower the dilation or the kernel.`;
    for (let i = -before; i < n + after; i++) A.ring.push(i >= 0 && i < n ? i : mode === 'replicate' ? Math.max(0, Math.min(n - 1, i))
      : mode === 'circular' ? ((i % n) + n) % n : mode === 'reflect' ? (i < 0 ? -i : 2 * (n - 1) - i) : NOTHING);
  }
  A.formula = A.size;
  if (A.error) return Object.assign(A, {size: 0});
  for (let o = 0; o < A.size; o++) A.taps.push(Array.from({length: k}, (_, u) => {
    let i;
    if (transposed) { const q = o + before - u * d; i = q % s === 0 && q >= 0 && q / s < n ? q / s : NOTHING; } else i = A.ring[o * s + u * d];
    if (i !== NOTHING) A.feeds[i].push([o, u]);
    return i;
  }));
  return A;
}

// Both axes. A signal has one row, and its settings concern the columns alone.
export function plan({dims = 2, H, W, kh, kw, stride = 1, padding = 0, dilation = 1, output_padding = 0, padding_mode = 'zeros', transposed = false}) {
  const [Y, X] = [[H, kh], [W, kw]].map(([n, k], a) => dims === 1 && a === 0 ? axis(n, {k: 1, transposed})
    : axis(n, {k, s: pair(stride)[a], p: typeof padding === 'string' ? padding : pair(padding)[a], d: pair(dilation)[a], extra: pair(output_padding)[a], mode: padding_mode, transposed}));
  return {Y, X, oh: Y.size, ow: X.size, transposed, error: Y.error || X.error};
}

export const groupOf = (o, O, C, groups) => { const n = C / groups, first = Math.floor(o / (O / groups)) * n; return Array.from({length: n}, (_, i) => first + i); };

// Output channel o at every place: b + the sum over channels and taps of w·x.
export function convolve(x, weight, bias, P, groups, o) {
  const {Y, X} = P, out = new Float64Array(P.oh * P.ow).fill(bias[o]);
  for (const c of groupOf(o, weight.length, x.length, groups)) for (let r = 0; r < P.oh; r++) for (let u = 0; u < Y.k; u++) {
    const row = x[c][Y.taps[r][u]], w = weight[o][c][u];
    if (row) for (let q = 0; q < P.ow; q++) { const t = X.taps[q]; for (let v = 0; v < X.k; v++) if (t[v] >= 0) out[r * P.ow + q] += w[v] * row[t[v]]; }
  }
  return out;
}

// The same output, reached by stamping: inputs from..upto each add w·x to the outputs they feed; outputs that none has reached stay NaN.
export function stamp(x, weight, bias, P, groups, o, upto, from = 0, out = null) {
  const {Y, X} = P;
  out ??= new Float64Array(P.oh * P.ow).fill(NaN);
  for (let n = from; n <= upto; n++) for (const [r, u] of Y.feeds[Math.floor(n / X.n)]) for (const [q, v] of X.feeds[n % X.n]) {
    const at = r * P.ow + q;
    if (Number.isNaN(out[at])) out[at] = bias[o];
    for (const c of groupOf(o, weight.length, x.length, groups)) out[at] += weight[o][c][u][v] * x[c][Math.floor(n / X.n)][n % X.n];
  }
  return out;
}

// The products of one output in one input channel, in the kernel's order.
export function products(x, weight, P, o, c, r, q) {
  const list = [];
  for (let u = 0; u < P.Y.k; u++) for (let v = 0; v < P.X.k; v++) {
    const i = P.Y.taps[r][u], j = P.X.taps[q][v], there = i >= 0 && j >= 0, w = weight[o][c][u][v], value = there ? x[c][i][j] : 0;
    list.push({u, v, i, j, there, at: [P.Y.at(r, u), P.X.at(q, v)], w, x: value, product: w * value});
  }
  return list;
}

// The rows (or columns) of the input that reach unit z of a second layer, and those of the first layer in between.
export function reach(first, second, z) {
  const middle = [...new Set(second.taps[z])].filter(i => i >= 0);
  return {middle, input: [...new Set(middle.flatMap(m => first.taps[m]))].filter(i => i >= 0).sort((a, b) => a - b)};
}

export function preset(name, kh, kw) {
  const cu = (kh - 1) >> 1, cv = (kw - 1) >> 1, slope = v => kw === 1 ? 1 : kw % 2 ? v - (kw >> 1) : 2 * v - kw + 1;
  const far = (u, v) => Math.abs(u - cu) + Math.abs(v - cv), near = [[-1, 0], [1, 0], [0, -1], [0, 1]].filter(([a, b]) => cu + a >= 0 && cu + a < kh && cv + b >= 0 && cv + b < kw).length;
  const value = {edge: (u, v) => Math.min(u + 1, kh - u) * slope(v), blur: () => +(1 / (kh * kw)).toPrecision(6),
    sharpen: (u, v) => far(u, v) === 0 ? 1 + near : far(u, v) === 1 ? -1 : 0, ridge: (u, v) => (far(u, v) === 0 ? kh * kw : 0) - (kh * kw > 1 ? 1 : 0),
    identity: (u, v) => far(u, v) === 0 ? 1 : 0}[name];
  return Array.from({length: kh}, (_, u) => Array.from({length: kw}, (_, v) => value(u, v)));
}
const KERNELS = ['edge', 'blur', 'sharpen', 'ridge', 'identity'];
export const nameOf = slices => KERNELS.find(name => { const k = preset(name, slices[0].length, slices[0][0].length); return slices.every(w => w.every((row, u) => row.every((z, v) => Math.abs(z - k[u][v]) < 1e-5))); }) ?? 'own';

// A kernel of another size: cut or framed with zeros about its middle.
export const resize = (w, kh, kw) => Array.from({length: kh}, (_, u) => Array.from({length: kw}, (_, v) => w[u - ((kh - w.length) >> 1)]?.[v - ((kw - w[0].length) >> 1)] ?? 0));

const num = v => { const a = Math.abs(v); return Math.abs(v - Math.round(v)) < 1e-6 ? fmt(Math.round(v), 0) : fmt(v, a >= 100 ? 1 : 2); };
const factor = v => v < 0 ? `(${num(v)})` : num(v), fine = v => Math.abs(v - Math.round(v)) < 1e-6 || Math.abs(v) >= 100 ? num(v) : fmt(v, 3), fineFactor = v => v < 0 ? `(${fine(v)})` : fine(v);
const brief = v => num(v).length <= 5 ? num(v) : (Math.abs(v) < 0.005 ? '0.00' : Math.abs(v) < 100 ? v.toFixed(2) : v.toPrecision(3)).replace('-', '−');
const whole = (v, lo, hi) => Number.isFinite(+v) ? Math.min(hi, Math.max(lo, Math.round(+v))) : lo;
const nested = (v, depth) => depth === 0 ? Number.isFinite(v) && typeof v === 'number' : Array.isArray(v) && v.length > 0 && v.every(i => nested(i, depth - 1) && (depth < 2 || i.length === v[0].length));
const index = (...i) => `[${i.join(',').replaceAll('-', '−')}]`;

const CSS = `.nnv .cs-row{display:flex;gap:10px 22px;align-items:flex-start;flex-wrap:wrap;margin-bottom:8px}.nnv .cs-cap{margin:0 0 3px;font-size:14px;line-height:1.3}.nnv .cs-cap b{font-weight:650}
.nnv .cs-cap span{color:var(--soft)}.nnv .cs-box{position:relative;touch-action:manipulation;cursor:crosshair;user-select:none;-webkit-user-select:none}.nnv .cs-box canvas{position:absolute;inset:0}
.nnv .cs-cursor{position:absolute;pointer-events:none;min-width:4px}.nnv .cs-box.cs-ink{touch-action:none}
.nnv .cs-k{display:inline-block;border:1px solid var(--line);border-radius:4px;padding:2px}.nnv .cs-k [role=row]{display:flex}
.nnv .cs-k [role=row] input.cs-w:not([type=range]):not([type=checkbox]){width:46px;height:36px;padding:0 1px;text-align:center;border:1px solid var(--line);border-radius:0;font-size:14px;margin:0}
.nnv .cs-k [role=row] input.cs-w.cs-hot:not([type=range]):not([type=checkbox]){outline:3px solid var(--ink);outline-offset:-1px;z-index:1;position:relative}
.nnv .cs-side{display:flex;flex-direction:column;gap:6px;align-items:flex-start}.nnv .cs-side.cs-flat{flex-flow:row wrap;gap:12px}.nnv .cs-side input.cs-b:not([type=range]):not([type=checkbox]){width:64px}
.nnv .cs-eq{font-size:15px;margin:4px 0;min-height:1.5em}.nnv .cs-eq b{font-weight:650}.nnv .cs-tiles{display:grid;gap:3px;margin:4px 0;width:fit-content;max-width:100%}
.nnv .cs-tile{border:1px solid var(--line);border-radius:5px;padding:2px 5px;font-size:13px;line-height:1.35;background:var(--panel);min-width:0;overflow-wrap:anywhere}
.nnv .cs-tile>span:first-child{display:block;color:var(--soft)}.nnv .cs-tile.cs-hot{outline:2.5px solid var(--ink)}.nnv .cs-tile.cs-off{border-style:dashed;background:none}
.nnv .cs-size{font-size:14px;margin:3px 0;color:var(--soft)}.nnv .cs-size b{color:var(--ink)}.nnv .cs-error{border-left:4px solid var(--gradient);padding:6px 10px;margin:4px 0;font-size:15px;max-width:60ch}
.nnv button.cs-sum{min-height:28px;padding:1px 7px}`;

function render({model, el}) {
  const w = frame(el, {name: 'ConvolutionStrides', title: 'A convolution, cell by cell',
    lead: 'Point at an output to see the window it reads, at an input to see what it feeds. Press on the input to draw; type into the kernel.'});
  const first = {x: model.get('input'), weight: model.get('weight'), bias: model.get('bias')};
  const number = Object.assign({out: 0, in: 0, outs: first.weight.length, ins: first.x.length}, model.get('numbering'));
  let S, hover = null, hot = null, ink = null, finger = false, colours = {}, drawn = -1, partial = null, layoutKey = '';

  // ---- state
  function read() {
    let x = model.get('input'), weight = model.get('weight'), bias = model.get('bias');
    if (!nested(x, 3)) x = first.x;
    if (!nested(weight, 4) || weight[0].length !== x.length) { weight = first.weight; if (weight[0].length !== x.length) x = first.x; }
    const C = x.length, O = weight.length, kh = weight[0][0].length, kw = weight[0][0][0].length, dims = model.get('dims');
    if (!nested(bias, 1) || bias.length !== O) bias = weight.map((_, o) => first.bias[o] ?? 0);
    const set = (name, lo, hi) => { const v = model.get(name); return Array.isArray(v) ? [0, 1].map(a => whole(v[a], lo, hi)) : whole(v, lo, hi); };
    let groups = whole(model.get('groups'), 1, C);
    if (C % groups || O % groups) groups = 1;
    const padding = ['same', 'valid'].includes(model.get('padding')) ? model.get('padding') : set('padding', 0, 64), transposed = !!model.get('transposed');
    const own = {dims, kh, kw, stride: set('stride', 1, 64), padding: transposed && typeof padding === 'string' ? 0 : padding, dilation: set('dilation', 1, 64), output_padding: set('output_padding', 0, 63),
      padding_mode: transposed ? 'zeros' : model.get('padding_mode'), transposed};
    const P = plan({...own, H: x[0].length, W: x[0][0].length}), o = whole(model.get('channel'), 0, O - 1), group = groupOf(o, O, C, groups), c = whole(model.get('input_channel'), 0, C - 1);
    S = {...own, x, weight, bias, C, O, H: x[0].length, W: x[0][0].length, groups, P, o, c, group, tileChannel: group.includes(c) ? c : group[0], two: !!model.get('two_layers') && !P.error};
    S.y = P.error ? new Float64Array(0) : convolve(x, weight, bias, P, groups, o);
    if (S.two) {
      S.P2 = plan({...own, H: P.oh, W: P.ow});
      if (!S.P2.error && O === C && O * C * P.oh * P.ow * kh * kw < 3e6) {
        S.maps = weight.map((_, i) => { const flat = convolve(x, weight, bias, P, groups, i); return Array.from({length: P.oh}, (_, r) => [...flat.subarray(r * P.ow, (r + 1) * P.ow)]); });
        S.z = convolve(S.maps, weight, bias, S.P2, groups, o);
      }
    }
    S.walk = S.two && !S.P2.error ? {side: 'top', n: S.P2.oh, m: S.P2.ow} : transposed ? {side: 'in', n: P.error ? 0 : S.H, m: S.W} : {side: 'out', n: P.oh, m: P.ow};
    S.count = Math.max(1, S.walk.n * S.walk.m);
  }
  const step = () => Math.min(whole(model.get('step'), 0, 1e9), S.count - 1);
  const filled = () => { // the output as far as it is known at this step
    if (S.walk.side === 'top' || S.P.error) return S.y;
    const at = step();
    if (S.walk.side === 'out') return null;
    partial = partial && partial.of === S && partial.at <= at ? partial : {of: S, at: -1, y: null};
    partial.y = stamp(S.x, S.weight, S.bias, S.P, S.groups, S.o, at, partial.at + 1, partial.y);
    partial.at = at;
    return partial.y;
  };

  // ---- one grid: two canvases (cells, marks) and one focusable cell that moves
  function makeGrid(side, ch = 0) {
    const base = h('canvas', {}), over = h('canvas', {}), cell = h('div', {class: 'cs-cursor', role: 'gridcell', tabindex: 0}), row = h('div', {role: 'row'}, cell);
    const title = h('b', {}), note = h('span', {}), box = h('div', {class: 'cs-box', role: 'grid'}, base, over, row);
    const g = {side, ch, rows: 1, cols: 1, cw: 8, rh: 8, t: 0, l: 0, b: 0, r: 0, at: [0, 0], box, el: h('div', {}, h('p', {class: 'cs-cap'}, title, ' ', note), box)};
    const text = (node, v) => { if (node.textContent !== v) node.textContent = v; };
    g.caption = (a, b) => { text(title, a); text(note, b); };
    g.size = o => {
      Object.assign(g, o);
      const W = (g.cols + g.l + g.r) * g.cw + 1, H = (g.rows + g.t + g.b) * g.rh + 1, ratio = devicePixelRatio || 1;
      Object.assign(box.style, {width: W + 'px', height: H + 'px'});
      for (const cv of [base, over]) { cv.width = Math.round(W * ratio); cv.height = Math.round(H * ratio); Object.assign(cv.style, {width: W + 'px', height: H + 'px'}); cv.getContext('2d').setTransform(ratio, 0, 0, ratio, 0, 0); }
      g.at = [Math.min(g.at[0], g.rows - 1), Math.min(g.at[1], g.cols - 1)];
      box.setAttribute('aria-rowcount', g.rows); box.setAttribute('aria-colcount', g.cols);
    };
    g.scale = values => { // what the colours and the numbers of this grid need
      let lo = Infinity, hi = -Infinity, exact = true;
      for (const v of values) if (!Number.isNaN(v)) { lo = Math.min(lo, v); hi = Math.max(hi, v); if (Math.abs(v - Math.round(v)) > 1e-6) exact = false; }
      if (lo > hi) lo = hi = 0;
      Object.assign(g, {lo, hi, limit: Math.max(Math.abs(lo), Math.abs(hi)), rgb: v => lo < 0 ? signedRGB(v, g.limit) : magnitudeRGB(v, g.limit)});
      const fits = d => Math.max(lo.toFixed(d).length, hi.toFixed(d).length) * 7.5 <= g.cw - 3 && g.rh >= 18;
      g.digits = (exact ? [0] : g.limit >= 10 ? [1, 0] : [2, 1]).find(fits) ?? -1;
      g.range = `${num(lo)} … ${num(hi)}`;
    };
    g.paint = (r, c, v, kind = '') => {
      const d = base.getContext('2d'), X = (c + g.l) * g.cw, Y = (r + g.t) * g.rh, bars = S.dims === 1;
      const known = !Number.isNaN(v), rgb = g.rgb(v);
      d.globalAlpha = 1;
      d.fillStyle = !known || kind === 'pad' || kind === 'cut' || bars ? colours.panel : css(rgb);
      d.fillRect(X, Y, g.cw + 1, g.rh + 1);
      if (kind === 'pad' && S.padding_mode !== 'zeros' && !bars) { d.globalAlpha = 0.45; d.fillStyle = css(rgb); d.fillRect(X, Y, g.cw + 1, g.rh + 1); d.globalAlpha = 1; }
      if (bars && known) {
        const top = Math.max(0, g.hi), span = top - Math.min(0, g.lo) || 1, tall = g.rh - (g.digits >= 0 ? 22 : 4), zero = Y + 2 + tall * top / span;
        d.fillStyle = colours.masked; d.fillRect(X, zero, g.cw, 1);
        d.fillStyle = kind ? colours.masked : css(rgb); d.fillRect(X + 1, Math.min(zero, zero - tall * v / span), Math.max(1, g.cw - 1), Math.max(1, Math.abs(tall * v / span)));
      }
      if (g.cw >= 6) { d.strokeStyle = colours.line; d.lineWidth = 1; d.strokeRect(X + 0.5, Y + 0.5, g.cw, g.rh); }
      if (kind === 'cut' && g.cw >= 6) { d.beginPath(); d.moveTo(X + 2, Y + g.rh - 2); d.lineTo(X + g.cw - 2, Y + 2); d.stroke(); }
      if (known && g.digits >= 0 && kind !== 'cut') {
        d.fillStyle = kind === 'pad' ? (S.padding_mode === 'zeros' || bars ? colours.masked : colours.ink) : bars ? colours.ink : inkOn(rgb);
        d.font = `${g.cw >= 40 && !bars ? 14 : 13}px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif`; d.textAlign = 'center'; d.textBaseline = 'middle';
        const flat = v === 0 || Math.abs(v) < 0.5 * 10 ** -g.digits;
        d.fillText(flat ? '0' : v.toFixed(g.digits).replace('-', '−'), X + g.cw / 2 + 0.5, bars ? Y + g.rh - 9 : Y + g.rh / 2 + 1);
      }
    };
    g.clear = () => over.getContext('2d').clearRect(0, 0, over.width, over.height);
    g.mark = (r, c, rows, cols, colour, width, {dash = [], fill = '', halo = colours.paper} = {}) => {
      const d = over.getContext('2d'), X = (c + g.l) * g.cw + 0.5, Y = (r + g.t) * g.rh + 0.5, W = cols * g.cw, H = rows * g.rh;
      if (fill && g.digits < 0) { d.globalAlpha = 0.35; d.fillStyle = fill; d.fillRect(X, Y, W, H); d.globalAlpha = 1; }
      if (!width) return;
      const inset = width / 2 + 0.5;
      d.setLineDash([]); d.strokeStyle = halo; d.lineWidth = width + 2; d.strokeRect(X + inset, Y + inset, W - 2 * inset, H - 2 * inset);
      d.setLineDash(dash); d.strokeStyle = colour; d.lineWidth = width; d.strokeRect(X + inset, Y + inset, W - 2 * inset, H - 2 * inset); d.setLineDash([]);
    };
    g.cursor = () => {
      const [r, c] = g.at, v = valueAt(g, r, c);
      Object.assign(cell.style, {left: (c + g.l) * g.cw + 'px', top: (r + g.t) * g.rh + 'px', width: g.cw + 1 + 'px', height: g.rh + 1 + 'px'});
      const label = `${g.name}, ${S.dims === 1 ? '' : `row ${r}, `}${S.dims === 1 ? 'position' : 'column'} ${c}: ${Number.isNaN(v) ? 'not yet known' : num(v)}`;
      if (cell.getAttribute('aria-label') !== label) cell.setAttribute('aria-label', label);
      row.setAttribute('aria-rowindex', r + 1); cell.setAttribute('aria-colindex', c + 1);
    };
    const find = e => { const q = box.getBoundingClientRect(); return [Math.floor((e.clientY - q.top) / g.rh) - g.t, Math.floor((e.clientX - q.left) / g.cw) - g.l]; };
    const inside = ([r, c]) => r >= 0 && c >= 0 && r < g.rows && c < g.cols;
    let last = null, value = 0;
    box.addEventListener('pointermove', e => {
      const p = find(e);
      if (last) { line(last, p).filter(inside).forEach(([r, c]) => write(g.ch, r, c, value)); last = p; }
      if (!inside(p)) { if (hover) { hover = null; point(); } return; }
      if (!last) play.pause();
      if (hover?.side !== side || hover.r !== p[0] || hover.c !== p[1] || hover.ch !== g.ch) { hover = {side, r: p[0], c: p[1], ch: g.ch}; point(); }
    });
    box.addEventListener('pointerleave', e => { if (e.pointerType !== 'touch' && hover && !hover.key) { hover = null; point(); } });
    box.addEventListener('pointerdown', e => {
      const p = find(e);
      if (e.button || !inside(p)) return;
      g.at = p; g.cursor(); cell.focus({preventScroll: true});
      e.preventDefault();
      play.pause();
      hover = {side, r: p[0], c: p[1], ch: g.ch};
      if (side === 'in' && (e.pointerType !== 'touch' || finger)) {
        value = Math.abs(S.x[g.ch][p[0]][p[1]] - brush()) < 1e-9 ? 0 : brush();
        last = p; box.setPointerCapture(e.pointerId); write(g.ch, ...p, value);
      } else if (side === S.walk.side) put(model, {step: p[0] * S.walk.m + p[1]});
      point();
    });
    for (const type of ['pointerup', 'pointercancel', 'lostpointercapture']) box.addEventListener(type, () => { last = null; });
    cell.addEventListener('focus', () => { if (cell.matches(':focus-visible')) { play.pause(); hover = {side, r: g.at[0], c: g.at[1], ch: g.ch, key: true}; point(); } });
    cell.addEventListener('blur', () => { typed = ''; if (hover?.key) { hover = null; point(); } });
    let typed = '';
    cell.addEventListener('keydown', e => {
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      const [r, c] = g.at, move = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0], Home: [0, -c], End: [0, g.cols - 1 - c], PageUp: [-r, 0], PageDown: [g.rows - 1 - r, 0]}[e.key];
      if (move) { typed = ''; g.at = [Math.max(0, Math.min(g.rows - 1, r + move[0])), Math.max(0, Math.min(g.cols - 1, c + move[1]))]; }
      else if (e.key === 'Enter') {
        if (side === 'in') write(g.ch, r, c, Math.abs(S.x[g.ch][r][c] - brush()) < 1e-9 ? 0 : brush());
        if (side === S.walk.side && side !== 'in') put(model, {step: r * S.walk.m + c});
      } else if (side === 'in' && (e.key === 'Delete' || e.key === 'Backspace')) { typed = ''; write(g.ch, r, c, 0); }
      else if (side === 'in' && (/^[0-9-]$/.test(e.key) || (typed && e.key === '.'))) { typed = e.key === '-' ? '-' : typed + e.key; if (Number.isFinite(+typed)) write(g.ch, r, c, +typed); }
      else return;
      e.preventDefault();
      play.pause();
      hover = {side, r: g.at[0], c: g.at[1], ch: g.ch, key: true};
      g.cursor(); point();
    });
    return g;
  }
  const line = ([a, b], [c, d]) => { const n = Math.max(Math.abs(c - a), Math.abs(d - b), 1); return Array.from({length: n + 1}, (_, i) => [Math.round(a + (c - a) * i / n), Math.round(b + (d - b) * i / n)]); };
  const write = (ch, r, c, v) => {
    const x = model.get('input');
    if (x[ch][r][c] !== v) put(model, {input: x.map((plane, k) => k !== ch ? plane : plane.map((row, i) => i !== r ? row : row.map((old, j) => j === c ? v : old)))});
  };
  const span = () => { let lo = 0, hi = 0; for (const p of first.x) for (const q of p) for (const v of q) { lo = Math.min(lo, v); hi = Math.max(hi, v); } return [lo, lo === 0 && hi === 0 ? 1 : hi]; };
  const brush = () => ink ?? span()[1];
  function valueAt(g, r, c) {
    if (g.side === 'in') return S.x[g.ch][r][c];
    if (g.side === 'top') return S.z ? S.z[r * S.P2.ow + c] : NaN;
    return S.y[r * S.P.ow + c] ?? NaN;
  }

  // ---- the kernel
  const grids = {in: [], out: makeGrid('out'), top: makeGrid('top')};
  const kernel = h('div', {class: 'cs-k', role: 'grid'}), kernelCap = h('p', {class: 'cs-cap'}), biasName = h('span', {});
  let cells = [], editing = false;
  const number_ = text => { const m = text.trim().replace('−', '-').replace(',', '.').match(/^([-+]?[\d.]+(?:e-?\d+)?)(?:\/(\d+(?:\.\d+)?))?$/i); return m ? +m[1] / (m[2] ? +m[2] : 1) : NaN; };
  const setWeight = slices => { const weight = S.weight.map((kernels, o) => o !== S.o ? kernels : kernels.map((k, c) => slices(k, c))); put(model, {weight, kernel: nameOf(S.group.map(c => weight[S.o][c]))}); };
  function buildKernel() {
    cells = Array.from({length: S.kh}, (_, u) => Array.from({length: S.kw}, (_, v) => {
      const input = h('input', {class: 'cs-w', type: 'text', inputmode: 'text', autocomplete: 'off', spellcheck: 'false', tabindex: u || v ? -1 : 0, 'aria-label': `kernel ${S.dims === 1 ? '' : `row ${u}, `}column ${v}`});
      const exact = () => { input.value = String(S.weight[S.o][S.tileChannel][u][v]); };
      input.addEventListener('focus', () => { cells.flat().forEach(c => { c.tabIndex = -1; }); input.tabIndex = 0; exact(); input.select(); editing = false; hot = [u, v]; point(); });
      input.addEventListener('blur', () => { editing = false; input.removeAttribute('aria-invalid'); hot = null; showKernel(); point(); });
      input.addEventListener('input', () => {
        editing = true;
        const value = number_(input.value), bad = !Number.isFinite(value);
        input.setAttribute('aria-invalid', String(bad));
        if (bad) w.say('Not a number yet'); else setWeight((k, c) => c !== S.tileChannel ? k : k.map((row, i) => i !== u ? row : row.map((old, j) => j === v ? value : old)));
      });
      input.addEventListener('keydown', e => {
        const move = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[e.key];
        if (move && (!editing || move[0])) { cells[u + move[0]]?.[v + move[1]]?.focus(); e.preventDefault(); }
        else if (e.key === 'Enter') { (cells[u][v + 1] ?? cells[u + 1]?.[0] ?? cells[0][0]).focus(); e.preventDefault(); }
        else if (e.key === 'Escape') { exact(); input.select(); editing = false; input.removeAttribute('aria-invalid'); }
      });
      input.addEventListener('pointerenter', () => { hot = [u, v]; point(); });
      input.addEventListener('pointerleave', () => { if (document.activeElement !== input) { hot = null; point(); } });
      return input;
    }));
    kernel.replaceChildren(...cells.map(row => h('div', {role: 'row'}, row.map(c => h('div', {role: 'gridcell'}, c)))));
    tiles.replaceChildren(...(tile = cells.flat().slice(0, 49).map(() => { const parts = [h('span', {}), h('span', {class: 'c-weight'}), h('span', {}), h('span', {class: 'c-input'}), h('span', {})]; return {parts, el: h('div', {class: 'cs-tile'}, parts), text: []}; })).map(t => t.el));
  }
  function showKernel() {
    const k = S.weight[S.o][S.tileChannel], limit = Math.max(...k.flat().map(Math.abs)) || 1;
    cells.forEach((row, u) => row.forEach((c, v) => {
      if (!(document.activeElement === c && editing)) c.value = document.activeElement === c ? String(k[u][v]) : brief(k[u][v]);
      const rgb = signedRGB(k[u][v], limit);
      Object.assign(c.style, {background: css(rgb), color: inkOn(rgb)});
    }));
    kernelCap.replaceChildren(h('b', {}, 'Kernel w'), ' ', h('span', {}, S.C > 1 || S.O > 1 || number.outs > 1 ? `output ${S.o + number.out} ← input ${S.tileChannel + number.in}` : S.dims === 1 ? `${S.kw}` : `${S.kh} × ${S.kw}`));
    kernel.setAttribute('aria-label', kernelCap.textContent);
    biasName.textContent = S.O > 1 ? `Bias b[${S.o + number.out}]` : 'Bias b';
    if (document.activeElement !== bias) bias.value = num(S.bias[S.o]);
  }
  const bias = h('input', {class: 'cs-b', type: 'text', 'aria-label': 'bias', autocomplete: 'off', onfocus: () => { bias.value = String(S.bias[S.o]); bias.select(); }, onblur: () => { bias.value = num(S.bias[S.o]); },
    oninput: () => { const v = number_(bias.value); if (Number.isFinite(v)) put(model, {bias: S.bias.map((b, o) => o === S.o ? v : b)}); }});
  const kernelChoice = choice({label: 'Kernel preset', options: [['own', 'your own'], ...KERNELS], value: 'own', on: name => { put(model, {kernel: name}); named(); refresh(); }});
  const random = button({label: 'Random', name: 'Random kernel', on: () => setWeight(k => k.map(row => row.map(() => Math.round((Math.random() * 2 - 1) * 100) / 100)))});
  kernelChoice.firstChild.remove();
  const side = h('div', {class: 'cs-side'}, kernel, h('div', {class: 'cs-side'}, h('label', {}, biasName, bias), kernelChoice, random)), kernelPanel = h('div', {}, kernelCap, side);

  // ---- the text: the products, the sizes
  let tile = [];
  const tiles = h('div', {class: 'cs-tiles'}), head = h('p', {class: 'cs-eq cs-y'}), foot = h('p', {class: 'cs-eq cs-total'}), sizes = h('div', {}), field = h('p', {class: 'cs-size cs-field'}), error = h('p', {class: 'cs-error', role: 'status'});
  tiles.addEventListener('pointerover', e => { const i = tile.findIndex(t => t.el.contains(e.target)); if (i >= 0) { hot = [Math.floor(i / S.kw), i % S.kw]; point(); } });
  tiles.addEventListener('pointerleave', () => { hot = null; point(); });
  const place = (letter, r, c, channels, ch) => letter + (S.dims === 1 ? (channels > 1 ? index(ch, c) : index(c)) : channels > 1 ? index(ch, r, c) : index(r, c));
  const wName = (u, v) => S.dims === 1 ? `w${index(v)}` : `w${index(u, v)}`;
  const fill = (t, off, ...texts) => { if (t.off !== off) { t.off = off; t.el.classList.toggle('cs-off', off); } texts.forEach((v, i) => { if (t.text[i] !== v) { t.text[i] = v; t.parts[i].textContent = v; } }); };
  const sums = [];
  const setText = (node, ...parts) => { const key = parts.map(p => p.textContent ?? p).join(''); if (node.key !== key) { node.key = key; node.replaceChildren(...parts); } };
  const B = t => h('b', {}, t);

  function gatherCard(F) { // the products that one output adds up
    const top = F.side === 'top', P = top ? S.P2 : S.P, x = top ? S.maps : S.x, y = top ? 'z' : 'y', from = top ? 'y' : 'x', value = top ? S.z?.[F.r * P.ow + F.c] : S.y[F.r * P.ow + F.c];
    const name = place(y, F.r, F.c, number.outs, S.o + number.out);
    if (!x) { setText(head, `${name} of the second layer`); tile.forEach(t => fill(t, true, '', '', '', '', '')); setText(foot, 'No values: the second layer would need as many input channels as this one has outputs.'); return `${name}`; }
    const part = c => products(x, S.weight, P, S.o, c, F.r, F.c), total = list => list.reduce((a, p) => a + p.product, 0), list = part(S.tileChannel);
    setText(head, B(name), ` = Σ w·${from} + b`, S.group.length > 1 ? ` = the sum over ${S.group.length} input channels + b; channel ${S.tileChannel + number.in}:` : ' =');
    list.forEach((p, n) => {
      if (!tile[n]) return;
      const source = S.transposed ? (p.there ? place(from, p.i, p.j, 1) : '') : place(from, ...p.at, 1);
      if (S.transposed && !p.there) fill(tile[n], true, wName(p.u, p.v), '', '', '', 'meets no input');
      else fill(tile[n], !p.there, `${n ? '+ ' : ''}${wName(p.u, p.v)}·${source}`, num(p.w), '·', p.there ? factor(p.x) : '0', p.there ? ` = ${num(p.product)}` : ' = 0 (pad)');
    });
    const more = list.length > tile.length ? ` (${list.length - tile.length} more products add ${num(total(list.slice(tile.length)))})` : '', b = S.bias[S.o];
    if (S.group.length === 1) setText(foot, `= ${fine(total(list))} + b = ${fine(total(list))} + ${fineFactor(b)} = `, B(fine(value)), more);
    else {
      const parts = S.group.length <= 16 ? S.group.map(c => [c, total(part(c))]) : [[S.tileChannel, total(list)]], rest = value - b - parts.reduce((a, p) => a + p[1], 0);
      while (sums.length < parts.length) { const i = sums.length; sums.push(button({label: '', on: () => put(model, {input_channel: sums[i].channel})})); sums[i].classList.add('cs-sum'); }
      parts.forEach(([c, v], i) => { const t = `channel ${c + number.in}: ${fine(v)}`; sums[i].channel = c; if (sums[i].textContent !== t) sums[i].text(t, t + ', show its products'); sums[i].setAttribute('aria-pressed', String(c === S.tileChannel)); });
      if (foot.sums !== parts.length || !foot.key?.startsWith('sums')) {
        foot.sums = parts.length; foot.key = 'sums'; foot.tail = h('span', {});
        foot.replaceChildren(`${name.slice(0, 1)} = `, ...parts.flatMap((_, i) => i ? [' + ', sums[i]] : [sums[i]]), foot.tail);
      }
      const tail = `${parts.length < S.group.length ? ` + the other ${S.group.length - 1} channels: ${fine(rest)}` : ''} + b: ${fine(b)} = ${fine(value)}${more}`;
      if (foot.tail.textContent !== tail) foot.tail.textContent = tail;
    }
    return `${name} = ${num(value)}`;
  }
  function scatterCard(F) { // the outputs that one input feeds
    const v = S.x[F.ch][F.r][F.c], ys = S.P.Y.feeds[F.r], xs = S.P.X.feeds[F.c], read = S.group.includes(F.ch), many = read ? ys.length * xs.length : 0, outs = new Set(ys.map(f => f[0])).size * new Set(xs.map(f => f[0])).size, name = place('x', F.r, F.c, number.ins, F.ch + number.in);
    setText(head, B(`${name} = ${num(v)}`), ` feeds ${many ? outs : 0} ${many && outs === 1 ? 'output' : 'outputs'}${many > outs ? ` by ${many} products` : ''}${read ? '' : ': another group reads this channel'}${many ? `; each output gets w · ${factor(v)}:` : ''}`);
    tile.forEach((t, n) => {
      const u = Math.floor(n / S.kw), q = n % S.kw, rs = ys.filter(f => f[1] === u), cs = xs.filter(f => f[1] === q), weight = S.weight[S.o][F.ch][u][q];
      if (!read || !rs.length || !cs.length) fill(t, true, wName(u, q), '', '', '', 'feeds none');
      else fill(t, false, `${wName(u, q)}·x → ${rs.length * cs.length > 1 ? `${rs.length * cs.length} outputs` : place('y', rs[0][0], cs[0][0], 1)}`, num(weight), '·', factor(v), ` = ${num(weight * v)}`);
    });
    setText(foot, S.transposed ? `Stamped so far: ${step() + 1} of ${S.count} inputs. Where stamps overlap, they add up; b = ${num(S.bias[S.o])} is added once.` : !many ? 'No window of this output reads it.' : 'Change this input by 1 and each of these outputs changes by its weight.');
    return head.textContent;
  }
  function sizeLine(A, N, letter) {
    const numbers = t => B(t), two = A.before === A.after, p = A.before;
    const out = (...parts) => h('p', {class: 'cs-size'}, letter, h('sub', {}, 'out'), ' = ', ...parts);
    if (S.transposed) return out(`(${letter} − 1)s − 2p + d(k − 1) + e + 1 = `, numbers(`(${N} − 1)·${A.s} − 2·${p} + ${A.d}·(${A.k} − 1) + ${A.extra} + 1 = ${A.formula}`), A.extra ? ', e the output padding' : '');
    return out(`⌊(${letter} + ${two ? '2p' : 'p₁ + p₂'} − d(k − 1) − 1)/s⌋ + 1 = `, numbers(`⌊(${N} + ${two ? `2·${p}` : `${A.before} + ${A.after}`} − ${A.d}·(${A.k} − 1) − 1)/${A.s}⌋ + 1 = ${A.formula}`));
  }
  function showSizes() {
    const same = ['k', 's', 'd', 'before', 'after', 'extra', 'n'].every(key => S.P.Y[key] === S.P.X[key]);
    sizes.replaceChildren(...(S.dims === 1 ? [sizeLine(S.P.X, S.W, 'L')] : same ? [sizeLine(S.P.Y, S.H, 'H')] : [sizeLine(S.P.Y, S.H, 'H'), sizeLine(S.P.X, S.W, 'W')]));
    if (same && S.dims === 2) sizes.firstChild.append('; W', h('sub', {}, 'out'), ' the same');
  }

  // ---- where things stand
  const rows = [0, 1, 2, 3].map(() => h('div', {class: 'cs-row'}));
  w.root.append(h('style', {}, CSS));
  const card = h('div', {}, head, tiles, foot);
  const below = h('div', {}, card, field, sizes);
  w.figure.append(error, ...rows);
  const shape = side => side === 'in' ? {rows: S.H, cols: S.W, t: S.transposed ? 0 : S.P.Y.before, b: S.transposed ? 0 : S.P.Y.after, l: S.transposed ? 0 : S.P.X.before, r: S.transposed ? 0 : S.P.X.after}
    : side === 'top' ? {rows: S.P2?.oh || 1, cols: S.P2?.ow || 1, t: 0, b: 0, l: 0, r: 0}
    : {rows: S.P.oh || 1, cols: S.P.ow || 1, ...(S.transposed ? {t: S.P.Y.before, l: S.P.X.before, b: Math.max(0, S.P.Y.after - S.P.Y.extra), r: Math.max(0, S.P.X.after - S.P.X.extra)} : {t: 0, b: 0, l: 0, r: 0})};
  function layout() {
    const width = Math.max(240, w.figure.clientWidth || 700), many = S.C <= 4 && (S.dims === 1 || width >= 640) ? S.C : 1, showOut = !S.P.error, showTop = S.two && !S.P2.error;
    while (grids.in.length > many) grids.in.pop();
    while (grids.in.length < many) grids.in.push(makeGrid('in', grids.in.length));
    grids.in.forEach((g, i) => { g.ch = many === 1 ? S.c : i; });
    const ins = grids.in, all = [...ins, ...(showOut ? [grids.out] : []), ...(showTop ? [grids.top] : [])], panelWidth = Math.max(146, S.kw * 46 + 8);
    all.forEach(g => Object.assign(g, shape(g.side)));
    const K = {side: 'kernel'}, outs = [...(showOut ? [grids.out] : []), ...(showTop ? [grids.top] : [])], gap = width < 500 ? 10 : 22, limit = width < 640 ? 1000 : 720;
    const options = S.dims === 1 ? [[...ins, K, ...outs].map(g => [g])] : [[[...ins, K, ...outs]], [[...ins, K], outs], [ins, [K, ...outs]], [[...ins, ...outs], [K]], [ins, [K], outs], ...(ins.length === 1 ? [[ins, [K], ...outs.map(o => [o])]] : [])];
    const cols = g => g.cols + g.l + g.r, tall = g => g.rows + g.t + g.b, wideAt = (g, cell) => Math.max(cols(g) * cell + 1, 104);
    const align = S.dims === 1;
    const judged = options.map(all => {
      const rows = all.filter(r => r.length), fixed = r => gap * (r.length - 1) + (r.includes(K) ? panelWidth : 0), wide = r => r.reduce((n, g) => n + (g === K ? 0 : cols(g)), 0), taken = (r, cell) => fixed(r) + r.reduce((n, g) => n + (g === K ? 0 : wideAt(g, cell)), 0);
      const cells = rows.map(r => Math.max(2, Math.min(rows.length > 1 && S.dims === 2 ? 36 : 44, Math.floor((width - 2 - r.length - fixed(r)) / (wide(r) || 1)))));
      rows.forEach((r, i) => { while (cells[i] > 2 && taken(r, cells[i]) > width) cells[i]--; });
      if (align) cells.fill(Math.min(...cells));
      return {rows, cells, cell: Math.min(...cells), height: rows.reduce((n, r, i) => n + Math.max(...r.map(g => g === K ? 150 : tall(g) * (S.dims === 1 ? 80 : cells[i]))), 0), used: taken(rows[0], cells[0])};
    });
    const fair = judged.filter(o => o.height <= limit), best = fair.find(o => o.cell >= 29) ?? fair.sort((p, q) => q.cell - p.cell)[0] ?? judged.sort((p, q) => p.height - q.height)[0];
    const beside = best.rows.length === 1 && width - best.used - gap - 8 >= Math.max(330, Math.min(S.kw, 7) * 118 + 6);
    const key = best.rows.map(r => r.map(g => g.side + (g.ch ?? '')).join()).join(';') + beside;
    if (key !== layoutKey) {
      layoutKey = key;
      rows.forEach((row, i) => { row.replaceChildren(...(best.rows[i] ?? []).map(g => g === K ? kernelPanel : g.el)); row.style.display = best.rows[i] ? '' : 'none'; row.style.columnGap = gap + 'px'; });
      if (beside) rows[0].append(card); else below.prepend(card);
      card.style.flex = beside ? '1 1 320px' : '';
      side.classList.toggle('cs-flat', best.rows.some(r => r.length === 1 && r[0] === K));
    }
    best.rows.forEach((r, i) => r.forEach(g => {
      if (g === K) return;
      g.size({cw: best.cells[i], rh: S.dims === 1 ? 64 : best.cells[i]});
      g.el.style.width = wideAt(g, g.cw) + 'px';
      g.scale(g.side === 'in' ? S.x.flat(2) : g.side === 'top' ? S.z ?? [] : S.y);
    }));
    grids.out.el.style.marginLeft = align && !S.transposed && S.P.X.s === 1 ? (S.P.X.span - 1) / 2 * grids.out.cw + 'px' : ''; // beneath the middle of its window
    tiles.style.gridTemplateColumns = `repeat(${Math.max(1, Math.min(S.kw, Math.floor(width / (width < 500 ? 106 : 130))))},minmax(0,${width < 500 ? '1fr' : '150px'}))`;
  }

  // ---- painting
  function paintOut(from = 0, to = Infinity) {
    const {oh, ow} = S.P, g = grids.out, known = filled(), at = step(), end = Math.min(to, oh * ow - 1);
    for (let n = from; n <= end; n++) g.paint(Math.floor(n / ow), n % ow, known ? known[n] : n <= at ? S.y[n] : NaN);
  }
  function paintTop() { const g = grids.top, at = step(), {oh, ow} = S.P2; for (let n = 0; n < oh * ow; n++) g.paint(Math.floor(n / ow), n % ow, n <= at && S.z ? S.z[n] : NaN); }
  function progress() { // only what the step has changed
    const at = step(), from = drawn;
    drawn = at;
    if (from === at || S.P.error) return;
    if (S.walk.side === 'top') { for (let n = Math.max(0, Math.min(from, at)); n <= Math.max(from, at); n++) grids.top.paint(Math.floor(n / S.P2.ow), n % S.P2.ow, n <= at && S.z ? S.z[n] : NaN); }
    else if (S.walk.side === 'out') paintOut(Math.max(0, Math.min(from, at)), Math.max(from, at));
    else if (at === from + 1) { const y = filled(); for (const [r] of S.P.Y.feeds[Math.floor(at / S.W)]) for (const [c] of S.P.X.feeds[at % S.W]) grids.out.paint(r, c, y[r * S.P.ow + c]); }
    else paintOut();
  }
  function paintAll() {
    for (const g of grids.in) for (let r = -g.t; r < g.rows + g.b; r++) for (let c = -g.l; c < g.cols + g.r; c++) {
      if (r >= 0 && c >= 0 && r < g.rows && c < g.cols) { g.paint(r, c, S.x[g.ch][r][c]); continue; }
      const i = S.P.Y.ring[r + g.t], j = S.P.X.ring[c + g.l];
      g.paint(r, c, i >= 0 && j >= 0 ? S.x[g.ch][i][j] : 0, 'pad');
    }
    if (S.P.error) return;
    const g = grids.out;
    for (let r = -g.t; r < g.rows + g.b; r++) for (let c = -g.l; c < g.cols + g.r; c++) if (r < 0 || c < 0 || r >= g.rows || c >= g.cols) g.paint(r, c, 0, 'cut');
    drawn = step();
    paintOut();
    if (S.walk.side === 'top') paintTop();
  }
  function marks(F) {
    const {Y, X} = S.P, W = PALETTE.weight, thin = grids.out.cw < 10, window = (g, P, r, c) => {
      if (!thin && (P.transposed || P.Y.d * P.X.d > 1 || hot)) for (let u = 0; u < P.Y.k; u++) for (let v = 0; v < P.X.k; v++) {
        const [i, j] = P.transposed ? [P.Y.taps[r][u], P.X.taps[c][v]] : [P.Y.at(r, u), P.X.at(c, v)];
        const lit = hot && hot[0] === u && hot[1] === v;
        if (P.transposed ? i < 0 || j < 0 : P.Y.d * P.X.d === 1 && !lit) continue;
        g.mark(i, j, 1, 1, lit ? colours.paper : W, lit ? 4 : 2, {halo: lit ? colours.ink : '#111', fill: W});
      }
      if (!P.transposed) g.mark(P.Y.at(r, 0), P.X.at(c, 0), P.Y.span, P.X.span, W, 3, {halo: '#111', dash: P.Y.d * P.X.d > 1 ? [6, 4] : []});
    };
    [...grids.in, grids.out, grids.top].forEach(g => g.clear());
    if (S.P.error) return;
    const reads = grids.in.filter(g => S.group.includes(g.ch));
    if (F.side === 'out') {
      reads.forEach(g => window(g, S.P, F.r, F.c));
      grids.out.mark(F.r, F.c, 1, 1, colours.output, 3);
      if (S.two && !S.P2.error) for (const [r] of S.P2.Y.feeds[F.r]) for (const [c] of S.P2.X.feeds[F.c]) grids.top.mark(r, c, 1, 1, W, thin ? 0 : 2, {fill: W, halo: '#111'});
    } else if (F.side === 'in') {
      grids.in.filter(g => g.ch === F.ch || (S.transposed && !hover)).forEach(g => g.mark(F.r, F.c, 1, 1, colours.input, 3));
      if (S.group.includes(F.ch)) {
        const at = A => i => S.transposed ? Array.from({length: A.k}, (_, u) => [A.at(i, u), u]) : A.feeds[i], g = grids.out;
        for (const [r, u] of at(Y)(F.r)) for (const [c, v] of at(X)(F.c)) if (r >= -g.t && c >= -g.l && r < g.rows + g.b && c < g.cols + g.r) g.mark(r, c, 1, 1, hot && hot[0] === u && hot[1] === v ? colours.paper : W, thin ? 0 : hot && hot[0] === u && hot[1] === v ? 4 : 2, {fill: W, halo: '#111'});
        if (S.two && !S.P2.error) { const on = (A, B, i) => new Set(A.feeds[i].flatMap(([m]) => B.feeds[m].map(f => f[0]))); for (const r of on(Y, S.P2.Y, F.r)) for (const c of on(X, S.P2.X, F.c)) grids.top.mark(r, c, 1, 1, W, thin ? 0 : 2, {fill: W, halo: '#111'}); }
      }
    } else {
      const ry = reach(Y, S.P2.Y, F.r), rx = reach(X, S.P2.X, F.c);
      for (const g of reads) for (const r of ry.input) for (const c of rx.input) g.mark(r, c, 1, 1, colours.state, thin ? 0 : 2, {fill: colours.state});
      window(grids.out, S.P2, F.r, F.c);
      grids.top.mark(F.r, F.c, 1, 1, colours.output, 3);
    }
  }
  function fieldText(F) {
    if (!S.two) return '';
    if (S.P2.error) return 'Second layer: ' + S.P2.error;
    const u = F.side === 'top' ? F : {r: S.P2.oh >> 1, c: S.P2.ow >> 1}, ry = reach(S.P.Y, S.P2.Y, u.r), rx = reach(S.P.X, S.P2.X, u.c), A = S.P.X, r = 1 + (A.span - 1) * (1 + A.s);
    const formula = S.transposed ? '' : `Receptive field of two layers: r = 1 + d(k − 1) + s·d(k − 1) = 1 + ${A.d}·${A.k - 1} + ${A.s}·${A.d}·${A.k - 1} = ${r}. `;
    return `${formula}${ry.input.length * rx.input.length} of ${S.H * S.W} input cells reach ${place('z', u.r, u.c, 1)}, through ${ry.middle.length * rx.middle.length} ${ry.middle.length * rx.middle.length === 1 ? 'cell' : 'cells'} of y.`;
  }
  function focusOf() {
    if (hover && !S.P.error) {
      const g = hover.side === 'in' ? S : hover.side === 'out' ? {H: S.P.oh, W: S.P.ow} : S.walk.side === 'top' ? {H: S.P2.oh, W: S.P2.ow} : {H: 0};
      if (hover.r < g.H && hover.c < g.W) return hover;
    }
    const at = step();
    return {side: S.walk.side, r: Math.floor(at / S.walk.m), c: at % S.walk.m, ch: S.tileChannel};
  }
  let spoken = '', told = '';
  function pointNow() {
    if (told !== `${step()}/${S.count}`) { told = `${step()}/${S.count}`; play.show(); }
    if (S.P.error) { marks({}); [...grids.in].forEach(g => g.cursor()); return; }
    progress();
    const F = focusOf();
    marks(F);
    const text = F.side === 'in' ? scatterCard(F) : gatherCard(F);
    const lit = hot ? hot[0] * S.kw + hot[1] : -1;
    tile.forEach((t, n) => { if (t.hot !== (n === lit)) { t.hot = n === lit; t.el.classList.toggle('cs-hot', t.hot); } });
    cells.flat().forEach((c, n) => { if (c.hot !== (n === lit)) { c.hot = n === lit; c.classList.toggle('cs-hot', c.hot); } });
    const f = fieldText(F);
    if (field.textContent !== f) field.textContent = f;
    if (!hover?.key) { const g = F.side === 'out' ? grids.out : F.side === 'top' ? grids.top : grids.in.find(g => g.ch === F.ch); if (g && !g.box.contains(document.activeElement)) g.at = [F.r, F.c]; }
    if (play.playing()) (F.side === 'top' ? grids.top : grids.out).cursor(); else [...grids.in, grids.out, ...(S.walk.side === 'top' ? [grids.top] : [])].forEach(g => g.cursor());
    if (!play.playing() && (!hover || hover.key) && spoken !== text) { if (spoken) w.say(text); spoken = text; }
  }
  function refreshNow() {
    const old = S;
    read();
    partial = null;
    if (old?.kh !== S.kh || old?.kw !== S.kw || !cells.length) buildKernel();
    error.textContent = S.P.error; error.style.display = S.P.error ? '' : 'none'; card.style.display = S.P.error ? 'none' : '';
    field.style.display = S.two ? '' : 'none'; field.textContent = '';
    showControls();
    showKernel();
    layout();
    const dims = (r, c) => S.dims === 1 ? `${c}` : `${r} × ${c}`;
    for (const g of grids.in) { g.name = number.ins > 1 ? `Input x, channel ${g.ch + number.in}` : 'Input x'; g.caption(g.name, `${dims(S.H, S.W)} · ${g.range}${S.group.includes(g.ch) ? '' : ' · other group'}`); g.box.classList.toggle('cs-ink', finger); }
    grids.out.name = number.outs > 1 ? `Output y, channel ${S.o + number.out}` : 'Output y'; grids.out.caption(grids.out.name, `${dims(S.P.oh, S.P.ow)} · ${grids.out.range}`);
    grids.top.name = 'Second layer z'; grids.top.caption('Second layer z', S.two && !S.P2.error ? `${dims(S.P2.oh, S.P2.ow)}${S.z ? ` · ${grids.top.range}` : ''}` : '');
    [...grids.in, grids.out, grids.top].forEach(g => g.box.setAttribute('aria-label', g.name));
    showSizes();
    paintAll();
    w.root.dataset.size = dims(S.P.oh, S.P.ow).replace(' × ', 'x');
    play.speed.value = Math.max(3, Math.min(8, S.count / 15)) * pace;
    pointNow();
  }

  // ---- controls
  read();
  let pace = 1;
  const play = player(w, {length: () => S.count, get: step, set: i => { hover = null; put(model, {step: i}); }, rate: 4, names: 'position', onPlay: on => { if (on) hover = null; else spoken += ' '; point(); }});
  const both = v => Array.isArray(v) ? Math.max(...v) : typeof v === 'string' ? 0 : v;
  const fmtOf = name => () => { const v = S[name]; return Array.isArray(v) ? v.join(' × ') : typeof v === 'string' ? `“${v}”` : String(v); };
  const knob = (label, name, min, max) => slider({label, min, max, value: min, on: v => { put(model, {[name]: v}); }, format: v => S && both(S[name]) === v ? fmtOf(name)() : String(v)});
  const C = {stride: knob('Stride s', 'stride', 1, 4), padding: knob('Padding p', 'padding', 0, 4), dilation: knob('Dilation d', 'dilation', 1, 4), output_padding: knob('Output padding e', 'output_padding', 0, 3),
    size: slider({label: 'Kernel k', min: 1, max: 7, value: 3, format: v => S && S.kh !== S.kw && S.dims === 2 ? `${S.kh} × ${S.kw}` : String(v), on: k => { const kh = S.dims === 1 ? 1 : k; put(model, {weight: S.weight.map(kernels => { const name = nameOf(kernels); return kernels.map(v => name === 'own' ? resize(v, kh, k) : preset(name, kh, k)); })}); }}),
    padding_mode: choice({label: 'Pad with', options: ['zeros', 'reflect', 'replicate', 'circular'], value: 'zeros', on: v => put(model, {padding_mode: v})}),
    transposed: toggle({label: 'Transposed', value: false, on: v => put(model, {transposed: v})}), two_layers: toggle({label: 'Second layer', value: false, on: v => put(model, {two_layers: v})}),
    groups: choice({label: 'Groups', options: first.weight.map((_, i) => i + 1).filter(g => first.weight.length % g === 0 && first.x.length % g === 0), value: 1, on: v => put(model, {groups: v})}),
    channel: choice({label: 'Output channel', options: first.weight.map((_, o) => [o, o + number.out]), value: 0, on: v => { hover = null; put(model, {channel: v}); }}),
    input_channel: choice({label: 'Input channel', options: first.x.map((_, c) => [c, c + number.in]), value: 0, on: v => { hover = null; put(model, {input_channel: v}); }})};
  const [low, high] = span(), inkStep = Number.isInteger(low) && Number.isInteger(high) && high > 1 ? 1 : +((high - low) / 20).toPrecision(2);
  const inkSlider = slider({label: 'Ink', min: low, max: high, step: inkStep, value: high, format: num, on: v => { ink = v; }});
  const fingers = toggle({label: 'Draw with a finger', value: false, on: v => { finger = v; grids.in.forEach(g => g.box.classList.toggle('cs-ink', v)); }});
  if (!matchMedia('(any-pointer: coarse)').matches) fingers.style.display = 'none';
  const small = first.x.flat(2).length <= 150, light = first.weight.flat(3).length <= 60;
  const KEYS = {stride: 'json', padding: 'json', dilation: 'json', output_padding: 'json', groups: 'number', transposed: 'boolean', padding_mode: 'string', two_layers: 'boolean', channel: 'number', input_channel: 'number', kernel: 'string', ...(light ? {weight: 'json', bias: 'json'} : {}), ...(small ? {input: 'json'} : {}), step: 'number'};
  w.controls.append(play, choice({label: 'Speed', options: [[0.4, 'slow'], [1, 'normal'], [4, 'fast']], value: 1, on: v => { pace = v; play.speed.value = Math.max(3, Math.min(8, S.count / 15)) * v; }}));
  const more = h('div', {class: 'nnv-bar'}, C.stride, C.padding, C.dilation, C.size, C.transposed, C.output_padding, C.padding_mode, C.two_layers, C.groups, C.channel, C.input_channel);
  const last = h('div', {class: 'nnv-bar'}, inkSlider, fingers, button({label: 'Clear', name: 'Clear the input', on: () => put(model, {input: S.x.map(p => p.map(r => r.map(() => 0)))})}),
    button({label: 'Restore', name: 'Restore input and kernel', on: () => put(model, {input: first.x, weight: first.weight, bias: first.bias, kernel: nameOf(S.group.map(c => first.weight[S.o][c]))})}));
  w.controls.after(below, more, last);
  function showControls() {
    const show = (e, on) => { e.style.display = on ? '' : 'none'; };
    for (const name of ['stride', 'padding', 'dilation', 'output_padding']) { const v = both(S[name]); C[name].input.max = Math.max(+C[name].input.max, v); C[name].set(v); }
    C.size.input.max = Math.max(7, S.kw); C.size.set(Math.max(S.kh, S.kw));
    C.padding_mode.set(S.padding_mode); C.transposed.set(S.transposed); C.two_layers.set(!!model.get('two_layers')); C.groups.set(S.groups); C.channel.set(S.o); C.input_channel.set(S.c);
    kernelChoice.set(nameOf(S.group.map(c => S.weight[S.o][c])));
    show(C.output_padding, S.transposed); show(C.padding_mode, !S.transposed); show(C.groups, C.groups.input.options.length > 1); show(C.channel, S.O > 1); show(C.input_channel, S.C > 1);
  }

  const point = w.batch(pointNow), refresh = w.batch(refreshNow);
  const theme = () => { for (const k of ['ink', 'soft', 'line', 'paper', 'panel', 'input', 'weight', 'output', 'masked', 'state']) colours[k] = w.colour(k); };
  const named = () => { // a kernel asked for by name, from the address or from Python
    const name = model.get('kernel');
    if (!KERNELS.includes(name)) return;
    read();
    if (nameOf(S.group.map(c => S.weight[S.o][c])) !== name) setWeight((k, c) => S.group.includes(c) ? preset(name, S.kh, S.kw) : k);
  };
  w.on(model, 'kernel', named);
  w.on(model, 'input weight bias stride padding dilation output_padding groups transposed padding_mode channel input_channel two_layers', refresh);
  w.on(model, 'step', point);
  last.append(shared(w, model, 'ConvolutionStrides', KEYS));
  theme();
  refreshNow();
  let wide = w.figure.clientWidth;
  w.onResize(() => { if (Math.abs(w.figure.clientWidth - wide) > 1) { wide = w.figure.clientWidth; refresh(); } });
  w.onTheme(() => { theme(); refresh(); });
  return () => w.close();
}

export default {render};
