// The softmax family: the arithmetic first (named exports, held to torch by the tests), then the figure.

export function softmax(z) {
  const top = Math.max(...z);
  if (top === -Infinity) return z.map(() => 0);
  const e = z.map(x => Math.exp(x - top)), sum = e.reduce((a, b) => a + b, 0);
  return e.map(x => x / sum);
}

// Sort, keep the k largest as long as 1 + k·z₍ₖ₎ > z₍₁₎ + … + z₍ₖ₎, then take the threshold tau off.
export function sparsemax(z) {
  const order = z.map((_, i) => i).sort((a, b) => z[b] - z[a]), steps = [];
  let sum = 0, k = 0, kept = 0;
  order.forEach((i, n) => {
    sum += z[i];
    const left = 1 + (n + 1) * z[i], keep = left > sum;
    steps.push({i, left, sum, keep});
    if (keep) { k = n + 1; kept = sum; }
  });
  const tau = (kept - 1) / k;
  return {p: z.map(x => Math.max(x - tau, 0)), tau, k, kept, steps};
}

// p = max((alpha − 1) z − tau, 0)^(1 / (alpha − 1)); tau by halving an interval that holds it. alpha = 1 is softmax, 2 sparsemax.
export function entmax(z, alpha) {
  if (alpha - 1 < 1e-6) return {p: softmax(z), tau: null, scaled: z.slice()};
  if (Math.abs(alpha - 2) < 1e-9) { const {p, tau} = sparsemax(z); return {p, tau, scaled: z.slice()}; }
  const scaled = z.map(x => (alpha - 1) * x), power = 1 / (alpha - 1), top = Math.max(...scaled);
  const at = tau => scaled.map(x => x > tau ? (x - tau) ** power : 0), total = p => p.reduce((a, b) => a + b, 0);
  let low = top - 1, high = top - (1 / z.length) ** (alpha - 1);
  for (let n = 0; n < 80; n++) { const middle = (low + high) / 2; if (total(at(middle)) >= 1) low = middle; else high = middle; }
  const p = at(low), sum = total(p);
  return {p: p.map(x => x / sum), tau: low, scaled};
}

// Uniform numbers in (0, 1) from a seed (mulberry32), and Gumbel noise −log(−log u) made of them.
export function uniforms(count, seed) {
  let a = seed >>> 0;
  return Array.from({length: count}, () => {
    a = (a + 0x6D2B79F5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  });
}
export const gumbels = (count, seed) => uniforms(count, seed).map(u => -Math.log(-Math.log(u)));

// A tree of nested lists, such as [[0, 1], [2, [3, 4]]]: its nodes, each with its parent, its leaf or its number among the branches.
export function walk(tree) {
  const nodes = [];
  let branches = 0;
  (function add(list, parent, depth) {
    for (const child of list) {
      const node = {parent, depth, leaf: Array.isArray(child) ? null : child, branch: Array.isArray(child) ? branches++ : null};
      const at = nodes.push(node) - 1;
      if (node.leaf === null) add(child, at, depth + 1);
    }
  })(tree, -1, 0);
  return nodes;
}
// Each node's chance among its siblings is a softmax; a leaf's weight is the product along its path.
export function treeSoftmax(nodes, leafLogits, branchLogits) {
  const logit = nodes.map(n => n.leaf === null ? branchLogits[n.branch] ?? 0 : leafLogits[n.leaf]), chance = [], reach = [];
  for (const parent of new Set(nodes.map(n => n.parent))) {
    const here = nodes.flatMap((n, i) => n.parent === parent ? [i] : []), q = softmax(here.map(i => logit[i]));
    here.forEach((i, k) => { chance[i] = q[k]; });
  }
  nodes.forEach((n, i) => { reach[i] = chance[i] * (n.parent < 0 ? 1 : reach[n.parent]); });
  const p = leafLogits.map(() => 0);
  nodes.forEach((n, i) => { if (n.leaf !== null) p[n.leaf] = reach[i]; });
  return {p, chance, reach, logit};
}

const outer = (s, scale) => { const sum = s.reduce((a, b) => a + b, 0) || 1; return s.map((a, i) => s.map((b, j) => scale * ((i === j ? a : 0) - a * b / sum))); };

// A variant at a state: weights p, the Jacobian (rows: weights, columns: inputs), and what the arithmetic is written from.
export function family(state) {
  const {variant: kind, logits, temperature: T = 1, alpha = 1.5, masked = [], rows = 1, seed = 0, hard = false, second = [], share = 0.5, component = 1} = state;
  const N = logits.length, z = logits.map(x => x / (kind === 'standard' ? 1 : T)), scale = 1 / (kind === 'standard' ? 1 : T), groups = [z.map((_, i) => i)];
  const base = {z, groups, extra: 0};
  if (kind === 'sparsemax') { const r = sparsemax(z); return {...base, ...r, J: outer(r.p.map(x => +(x > 0)), scale)}; }
  if (kind === 'entmax') { const r = entmax(z, alpha); return {...base, ...r, J: outer(r.p.map(x => x > 0 ? x ** (2 - alpha) : 0), scale)}; }
  if (kind === 'masked') { const open = z.map((x, i) => masked.includes(i) ? -Infinity : x), p = softmax(open); return {...base, z: open, p, J: outer(p, scale)}; }
  if (kind === 'grid') {
    const R = N % rows ? 1 : rows, C = N / R, p = [], J = logits.map(() => Array(N).fill(0)), cut = [];
    for (let r = 0; r < R; r++) {
      const q = softmax(z.slice(r * C, r * C + C)), block = outer(q, scale);
      p.push(...q); cut.push(q.map((_, c) => r * C + c));
      block.forEach((line, a) => line.forEach((x, b) => { J[r * C + a][r * C + b] = x; }));
    }
    return {...base, p, J, groups: cut, rows: R};
  }
  if (kind === 'hierarchical' || kind === 'adaptive') {
    const c = Math.max(1, Math.min(N - 1, state.cutoff ?? N - 1)), tail = Array.from({length: N - c}, (_, i) => c + i);
    const nodes = walk(kind === 'hierarchical' ? state.tree : [...Array(c).keys(), tail]), given = (kind === 'hierarchical' ? state.nodes ?? [] : [state.tail ?? 0]).map(x => x / T);
    const branches = nodes.filter(n => n.leaf === null).length, r = treeSoftmax(nodes, z, given), J = logits.map(() => Array(N + branches).fill(0));
    nodes.forEach((leaf, at) => {
      if (leaf.leaf === null) return;
      for (let i = at; i >= 0; i = nodes[i].parent) nodes.forEach((n, k) => {
        if (n.parent === nodes[i].parent) J[leaf.leaf][n.leaf ?? N + n.branch] += scale * r.reach[at] * ((k === i ? 1 : 0) - r.chance[k]);
      });
    });
    return {...base, ...r, nodes, J, extra: branches, cutoff: c};
  }
  if (kind === 'gumbel') {
    const g = gumbels(N, seed), noisy = z.map((x, i) => x + g[i] * scale), soft = softmax(noisy), winner = noisy.indexOf(Math.max(...noisy));
    return {...base, g, noisy, soft, winner, p: hard ? soft.map((_, i) => +(i === winner)) : soft, J: outer(soft, scale)};
  }
  if (kind === 'mixture') {
    const other = logits.map((_, i) => (second[i] ?? 0) * scale), parts = [softmax(z), softmax(other)], prior = [share, 1 - share];
    return {...base, parts, prior, both: [z, other], p: parts[0].map((x, i) => prior[0] * x + prior[1] * parts[1][i]), J: outer(parts[component - 1], scale).map(r => r.map(x => x * prior[component - 1]))};
  }
  const p = softmax(z);
  return {...base, p, J: outer(p, scale)};
}

export const entropy = p => p.reduce((a, x) => a - (x > 0 ? x * Math.log(x) : 0), 0);

// How often each entry wins when noise is drawn with these seeds.
export function tally(logits, from, count) {
  const wins = logits.map(() => 0);
  for (let n = 0; n < count; n++) {
    const noisy = gumbels(logits.length, from + n).map((g, i) => g + logits[i]);
    wins[noisy.indexOf(Math.max(...noisy))]++;
  }
  return wins;
}

const f2 = x => fmt(x, 2), f3 = x => x === 0 ? '0' : fmt(x, 3), inside = x => x < 0 ? `(${f2(x)})` : f2(x);
const SUB = n => [...String(n)].map(c => '₀₁₂₃₄₅₆₇₈₉'[c]).join('');

// The arithmetic of entry i, as steps: text, sometimes terms (text, the entry they belong to), sometimes a result.
export function explain(state, r, i, names) {
  const {variant: kind, logits, temperature: T, alpha} = state, steps = [], say = (text, terms, after) => steps.push({text, terms, after});
  const mine = kind === 'mixture' ? null : logits[i];
  if (T !== 1 && kind !== 'standard' && kind !== 'mixture') say(`Divide the logit by the temperature T: ${f2(mine)} / ${f2(T)} = ${f2(mine / T)}.`);
  const share = (z, list, at, what) => {  // softmax of z over the entries of a list
    const top = Math.max(...list.map(k => z[k])), e = list.map(k => Math.exp(z[k] - top)), sum = e.reduce((a, b) => a + b, 0), own = e[list.indexOf(at)];
    say(`Take the largest${what ?? ''}, ${f2(top)}, off first: no weight changes, and no exp overflows. exp(${f2(z[at])} − ${inside(top)}) = ${f3(own)}.`);
    say('Add up the exponentials:', list.map((k, n) => [f2(e[n]), k]), ` = ${f3(sum)}`);
    return [own, sum];
  };
  const quotient = ([own, sum]) => `p = ${f3(own)} / ${f3(sum)} = ${f3(own / sum)}`;
  let result;
  if (kind === 'sparsemax') {
    say('Sort the scores, largest first. The k largest stay as long as 1 + k·z₍ₖ₎ is greater than their sum:', r.steps.map((x, n) => [`${f2(x.left)} ${x.keep ? '>' : '≤'} ${f2(x.sum)} ${x.keep ? '✓' : '✗'}`, x.i]));
    say(`So k = ${r.k} ${r.k === 1 ? 'entry stays' : 'entries stay'}. The threshold takes what is more than 1 off in equal parts: τ = (${f2(r.kept)} − 1) / ${r.k} = ${f3(r.tau)}.`);
    result = r.p[i] > 0 ? `p = ${f2(r.z[i])} − ${inside(r.tau)} = ${f3(r.p[i])}` : `p = max(${f2(r.z[i])} − ${inside(r.tau)}, 0) = 0, exactly`;
  } else if (kind === 'entmax' && r.tau !== null) {
    say(`Multiply by α − 1: ${f2(alpha - 1)} · ${inside(r.z[i])} = ${f2(r.scaled[i])}.`);
    say(`One threshold makes all weights sum to 1. Halving an interval that holds it finds τ = ${f3(r.tau)}.`);
    result = r.p[i] > 0 ? `p = (${f2(r.scaled[i])} − ${inside(r.tau)})^(1 / ${f2(alpha - 1)}) = ${f3(r.scaled[i] - r.tau)}^${f2(1 / (alpha - 1))} = ${f3(r.p[i])}` : `p = max(${f2(r.scaled[i])} − ${inside(r.tau)}, 0)^${f2(1 / (alpha - 1))} = 0, exactly`;
    say('All weights:', r.p.map((x, k) => [f3(x), k]), ' = 1');
  } else if (kind === 'masked' && state.masked.includes(i)) {
    say('This entry is masked: its logit becomes −∞ before the exponential.');
    result = r.z.every(x => x === -Infinity) ? 'Every entry is masked. 0 / 0 is not a number, so the row is defined as zeros: p = 0' : 'p = exp(−∞) / sum = 0, exactly, and so is its gradient';
  } else if (kind === 'hierarchical' || kind === 'adaptive') {
    const path = [];
    for (let k = r.nodes.findIndex(n => n.leaf === i); k >= 0; k = r.nodes[k].parent) path.unshift(k);
    const title = k => r.nodes[k].leaf === null ? branchName(kind, r.nodes[k].branch) : names[r.nodes[k].leaf];
    path.forEach((k, depth) => {
      const here = r.nodes.flatMap((n, j) => n.parent === r.nodes[k].parent ? [j] : []), top = Math.max(...here.map(j => r.logit[j])), e = here.map(j => Math.exp(r.logit[j] - top));
      say(`${depth ? `Inside ${title(path[depth - 1])}` : 'At the root'}, softmax chooses among ${here.map(title).join(', ')}. “${title(k)}”: ${f2(e[here.indexOf(k)])} / (`, here.map((j, n) => [f2(e[n]), r.nodes[j].leaf]), `) = ${f3(r.chance[k])}`);
    });
    if (kind === 'adaptive') say(i < r.cutoff ? `A frequent entry needs ${r.cutoff + 1} exponentials: the head’s.` : `A rare entry needs ${r.cutoff + 1} of the head and ${logits.length - r.cutoff} of the tail.`);
    result = `p = ${path.map(k => f3(r.chance[k])).join(' · ')} = ${f3(r.p[i])}`;
  } else if (kind === 'gumbel') {
    const u = Math.exp(-Math.exp(-r.g[i]));
    say(`Draw u = ${f3(u)} between 0 and 1. Gumbel noise: g = −log(−log u) = ${f2(r.g[i])}. Noisy score: ${T === 1 ? '' : '('}${f2(mine)} + ${inside(r.g[i])}${T === 1 ? '' : `) / ${f2(T)}`} = ${f2(r.noisy[i])}.`);
    if (T !== 1) steps.shift();
    const soft = quotient(share(r.noisy, r.groups[0], i));
    say(`“${names[r.winner]}” has the largest noisy score, so it is what this draw samples. ${state.hard ? 'Forward, straight-through gives it 1 and all others 0; backward, the gradient is that of the soft weights.' : 'The soft weights lean to it, the more the colder T is.'}`);
    result = state.hard ? `soft ${soft}; straight-through gives ${r.p[i]}` : soft;
  } else if (kind === 'mixture') {
    for (const c of [0, 1]) {
      const z = r.both[c], top = Math.max(...z), e = z.map(x => Math.exp(x - top));
      say(`Softmax ${c + 1}${T === 1 ? '' : ` of z / ${f2(T)}`}: ${f2(e[i])} / (`, e.map((x, k) => [f2(x), k]), `) = ${f3(r.parts[c][i])}`);
    }
    result = `p = π₁ p₁ + π₂ p₂ = ${f2(r.prior[0])} · ${f3(r.parts[0][i])} + ${f2(r.prior[1])} · ${f3(r.parts[1][i])} = ${f3(r.p[i])}`;
  } else {
    const list = kind === 'grid' ? r.groups.find(g => g.includes(i)) : kind === 'masked' ? r.groups[0].filter(k => !state.masked.includes(k)) : r.groups[0];
    if (kind === 'grid' && r.rows > 1) say(`“${names[i]}” stands in row ${r.groups.indexOf(list) + 1} of ${r.rows}. Only this row is summed: each row is a distribution of its own.`);
    if (kind === 'entmax') say('At α = 1 entmax is softmax: the limit is taken, and no weight is 0.');
    if (kind === 'masked' && list.length < logits.length) say(`${logits.length - list.length} of ${logits.length} entries are masked: their logit is −∞, and exp(−∞) = 0.`);
    result = quotient(share(r.z, list, i, list.length < logits.length ? (kind === 'grid' ? ' of the row' : ' that is allowed') : ''));
  }
  return {steps, result};
}

const branchName = (kind, b) => kind === 'adaptive' ? 'the tail' : `branch ${b + 1}`;
const VARIANTS = {
  standard: ['Standard', 'Every weight is positive, and they sum to 1.'],
  temperature: ['Temperature', 'A cold T sharpens toward the largest logit, a hot one levels toward equal weights. The order stays.'],
  sparsemax: ['Sparsemax', 'The nearest point of the simplex: small scores get exactly 0, and no gradient.'],
  entmax: ['Entmax', 'Between softmax (α = 1) and sparsemax (α = 2), and beyond: α says how early a weight becomes exactly 0.'],
  masked: ['Masked', 'Masked entries get exactly 0; the others share 1. With everything masked the row is defined as zeros.'],
  grid: ['Grid', 'The same logits as rows and columns: each row is normalised by itself, and nothing is mixed between rows.'],
  hierarchical: ['Hierarchical', 'A softmax at each branch of a tree; a leaf’s weight is the product along its path.'],
  gumbel: ['Gumbel', 'Noise makes a sample out of the weights. Many draws hit each entry as often as standard softmax says, at any T.'],
  adaptive: ['Adaptive', 'The frequent entries share a head with one door to the tail: most lookups never open the tail.'],
  mixture: ['Mixture', 'Two softmaxes, averaged with weights π. For one context a single softmax could say the same; over many contexts a mixture escapes the limit of low rank.'],
};
const SWEEP = Array.from({length: 41}, (_, i) => +(10 ** (-1 + i / 20)).toPrecision(3)), ALPHAS = Array.from({length: 41}, (_, i) => +(1 + i / 20).toFixed(2)), DRAWS = 100;
const LOOK = `.nnv [hidden]{display:none!important}.sf-tabs{display:flex;flex-wrap:wrap;gap:5px;margin:6px 0}.sf-tabs button{padding:3px 10px}.sf-about{min-height:2.9em;margin:4px 0 6px;font-size:14px}
.sf-row{display:grid;grid-template-columns:minmax(62px,118px) minmax(120px,1fr) minmax(120px,1.7fr);gap:2px 12px;align-items:center;padding:3px 4px;border-radius:8px}.sf-row.sf-on{background:var(--panel);box-shadow:inset 3px 0 0 var(--focus)}
.sf-row.sf-lit{outline:2px solid var(--gradient);outline-offset:-2px}.sf-row.sf-cut{margin-top:10px}.sf-head{display:grid;grid-template-columns:minmax(62px,118px) minmax(120px,1fr) minmax(120px,1.7fr);gap:2px 12px;padding:0 4px;font-size:13px;color:var(--soft)}
.sf-who{display:flex;align-items:center;gap:6px;min-width:0}.nnv .sf-who button{flex:1 1 auto;min-width:24px;padding:2px 7px;text-align:left;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.nnv .sf-who input[type=checkbox]{width:24px;height:24px;flex:none}
.sf-logit{min-width:0}.sf-logit>div{display:flex;align-items:center;gap:6px}.nnv .sf-logit input[type=range]{flex:1;width:0;min-width:50px}.sf-logit b{font-weight:600;font-size:14px;color:var(--input);min-width:44px;text-align:right}.sf-sub{font-size:13px;color:var(--soft);line-height:1.25}
.sf-two{display:grid;grid-template-columns:1fr 54px;gap:2px 8px;align-items:center}.sf-track{position:relative;height:20px;border-bottom:1px solid var(--line)}.sf-track.sf-thin{height:9px;border:0}.sf-fill{position:absolute;inset:0;transform-origin:left;background:var(--output);border-radius:2px}
.sf-thin .sf-fill{background:var(--masked)}.sf-fill.sf-second{background:var(--state)}.sf-track.sf-zero{border:1px dashed var(--masked);border-radius:4px}.sf-mark{position:absolute;top:-3px;bottom:-3px;width:0;border-left:3px dotted var(--gradient)}
.sf-num{font-size:14px;text-align:right}.sf-num.sf-big{font-weight:700;color:var(--output)}.sf-num.sf-std{font-size:13px;color:var(--soft)}.sf-cover .sf-track:not(.sf-thin){background:repeating-linear-gradient(135deg,var(--panel) 0 7px,var(--line) 7px 9px)}.sf-cover .sf-track:not(.sf-thin) .sf-fill{visibility:hidden}
.sf-branch{font-size:14px}.sf-branch .sf-logit b{color:var(--weight)}.sf-branch .sf-fill{background:none;border:2px solid var(--weight)}.sf-table{margin:10px 0 0}.nnv .sf-table th{font-weight:600;text-align:left}.nnv .sf-table thead th{font-weight:400;color:var(--soft);font-size:13px;text-align:right}
.sf-lower{display:grid;grid-template-columns:minmax(0,1.2fr) minmax(0,1fr);gap:6px 26px;margin-top:12px;border-top:1px solid var(--line);padding-top:8px}.sf-card{margin:0;padding:0;list-style:none;counter-reset:n}.sf-card li{counter-increment:n;padding:4px 0 5px 28px;position:relative}
.sf-card li::before{content:counter(n);position:absolute;left:0;top:5px;width:20px;height:20px;border-radius:50%;border:1px solid var(--line);background:var(--panel);font-size:13px;line-height:18px;text-align:center}.nnv .sf-term{border:0;background:none;padding:0 2px;min-width:24px;min-height:24px;line-height:1.4;font-size:14px}
.nnv .sf-term.sf-on{box-shadow:inset 0 -2px 0 var(--gradient);font-weight:700;border-radius:0}.sf-result{font-weight:650;color:var(--output);margin:4px 0 0}.sf-heading{font-weight:650;margin:0 0 4px}.sf-jac{overflow-x:auto;padding:3px}.sf-line{display:flex;align-items:center}
.sf-line>span{flex:none;width:56px;font-size:13px;color:var(--soft);overflow:hidden;text-overflow:ellipsis;white-space:nowrap;padding-right:4px}.sf-cell{flex:none;display:flex;align-items:center;justify-content:center;height:28px;font-size:13px;outline-offset:-2px}.sf-cell.sf-on{box-shadow:inset 0 0 0 2px var(--paper),inset 0 0 0 4px var(--gradient)}
.sf-cols{display:flex;padding-left:56px;font-size:13px;color:var(--soft)}.sf-cols span{flex:none;overflow:hidden;text-align:center;white-space:nowrap}.sf-guess{border-left:3px solid var(--gradient);padding:2px 0 4px 10px;margin:8px 0}
@container (max-width:560px){.sf-lower{grid-template-columns:minmax(0,1fr)}.sf-row,.sf-head{grid-template-columns:74px minmax(96px,1fr) minmax(110px,1.2fr);gap:2px 7px}.sf-two{grid-template-columns:1fr 46px;gap:2px 4px}.sf-card li{padding-left:0}.sf-card li::before{display:none}.sf-logit>div{gap:2px}.nnv .sf-who button{padding:2px 4px}.sf-logit b{min-width:40px}}`;

function render({model, el}) {
  const w = frame(el, {name: 'Softmax family', title: 'Ten ways to turn scores into weights', lead: 'Move a logit. The thin grey bar is standard softmax, the thick one the chosen variant.'});
  w.root.querySelector('style').append(LOOK);
  const TRAITS = {variant: 'string', logits: 'json', temperature: 'number', alpha: 'number', masked: 'json', rows: 'number', nodes: 'json', cutoff: 'number', tail: 'number', second: 'json', share: 'number', component: 'number', seed: 'number', hard: 'boolean', focus: 'number'};
  const link = shared(w, model, 'SoftmaxFamily', TRAITS);
  const write = (node, text) => { if (node.was === text) return; node.was = text; if (node.firstChild?.nodeType === 3 && !node.firstChild.nextSibling) node.firstChild.data = text; else node.textContent = text; };
  const attr = (node, name, value) => { const was = node.wrote ??= {}; if (was[name] !== value) { was[name] = value; node.setAttribute(name, value); } };
  const show = (node, yes) => { if (node.hidden === yes) node.hidden = !yes; };

  let state = {}, now = {}, plain = [], guess = null, answered = false, wins = null, drawn = 0, part = null, shape = '', cell = null;
  const kind = () => state.variant;
  const at = () => Math.max(0, Math.min(state.logits.length - 1, Math.round(state.focus) || 0));
  function compute() {
    state = Object.fromEntries([...Object.keys(TRAITS), 'tree', 'names'].map(n => [n, model.get(n)]));
    if (!VARIANTS[state.variant]) state.variant = 'standard';
    state.temperature = Math.max(0.05, +state.temperature || 1); state.alpha = Math.max(1, +state.alpha || 1); state.component = state.component === 2 ? 2 : 1;
    const N = state.logits.length; state.names = state.logits.map((_, i) => model.get('names')[i] ?? String(i + 1)); state.second = state.logits.map((_, i) => state.second?.[i] ?? 0);
    const leaves = Array.isArray(state.tree) ? state.tree.flat(Infinity) : [];
    if (leaves.length !== N || new Set(leaves).size !== N || leaves.some(x => !(x >= 0 && x < N))) state.tree = [...Array(N).keys()];
    if (!Array.isArray(state.masked)) state.masked = [];
    state.share = Math.min(1, Math.max(0, +state.share || 0)); state.seed = Math.max(0, Math.round(state.seed) || 0);
    now = family(state);
    plain = softmax(kind() === 'mixture' && state.component === 2 ? state.second : state.logits);
  }

  compute();

  // ---- the controls
  const tabs = h('div', {class: 'sf-tabs', role: 'group', 'aria-label': 'Variant'}), buttons = {};
  for (const [name, [title]] of Object.entries(VARIANTS)) tabs.append(buttons[name] = button({label: title, pressed: false, on: () => { players.pause(); put(model, {variant: name}); }}));
  const about = h('p', {class: 'sf-about'});
  const heat = slider({label: 'Temperature T', min: -1, max: 1, step: 0.02, value: 0, format: x => fmt(10 ** x, 2), on: x => put(model, {temperature: Math.abs(x) < 0.011 ? 1 : +(10 ** x).toPrecision(3)})});
  const alpha = slider({label: 'α', min: 1, max: 3, step: 0.05, value: 1.5, on: x => put(model, {alpha: x})});
  const rows = h('span', {}), rowChoice = {};
  const cutoff = slider({label: 'Entries in the head', min: 1, max: 2, value: 1, on: x => put(model, {cutoff: x})});
  const share = slider({label: 'π₁', min: 0, max: 1, step: 0.01, value: 0.5, on: x => put(model, {share: x})});
  const component = choice({label: 'The sliders move', options: [[1, 'softmax 1'], [2, 'softmax 2']], value: 1, on: v => put(model, {component: v})});
  const again = button({label: 'Draw again', on: () => put(model, {seed: state.seed + 1})});
  const many = button({label: 'Draw 100', name: 'Draw 100 samples and count', on: () => {
    const more = tally(state.logits, 1000 + drawn, 100);
    wins = more.map((x, i) => x + (wins?.[i] ?? 0)); drawn += 100; draw();
    w.say(`${drawn} draws: ${state.names.map((n, i) => `${n} ${wins[i]}`).join(', ')}`);
  }});
  const straight = toggle({label: 'Straight-through', value: false, on: v => put(model, {hard: v})});
  const bar = h('div', {class: 'nnv-bar'}, heat, alpha, rows, cutoff, share, component, again, many, straight);
  const nearest = (list, x) => list.reduce((best, y, i) => Math.abs(Math.log(y / x)) < Math.abs(Math.log(list[best] / x)) ? i : best, 0);
  const players = player(w, {length: () => kind() === 'gumbel' ? DRAWS : 41, names: 'setting', rate: 8,
    get: () => kind() === 'gumbel' ? Math.min(DRAWS - 1, state.seed) : nearest(kind() === 'entmax' ? ALPHAS : SWEEP, kind() === 'entmax' ? state.alpha : state.temperature),
    set: i => put(model, kind() === 'gumbel' ? {seed: i} : kind() === 'entmax' ? {alpha: ALPHAS[i]} : {temperature: SWEEP[i]}), onPlay: on => { players.speed.value = kind() === 'gumbel' ? 2 : 8; if (!on) cards(); }});

  // ---- guess first
  const guesser = toggle({label: 'Guess first', value: false, on: v => { guess = v ? 0.5 : null; answered = false; ask.set(0.5); draw(); }});
  const ask = slider({label: 'Your guess', min: 0, max: 1, step: 0.01, value: 0.5, on: v => { guess = v; draw(); }});
  const reveal = button({label: 'Show', on: () => {
    answered = true; draw();
    const p = now.p[at()], off = Math.abs(guess - p);
    write(verdict, `${off < 0.025 ? 'Very close' : off < 0.1 ? 'Near' : 'Not near'}: “${state.names[at()]}” gets ${f3(p)}, you said ${f2(guess)}. ${now.p.filter(x => x === 0).length} of ${now.p.length} weights are exactly 0.`);
  }});
  const question = h('span', {}), verdict = h('p', {class: 'nnv-note', 'aria-live': 'polite'});
  const guessBox = h('div', {class: 'sf-guess'}, question, h('div', {class: 'nnv-bar'}, ask, reveal), verdict);
  const covered = () => guess !== null && !answered;

  // ---- what stands still
  const list = h('div', {}), table = h('tbody', {}), card = h('ol', {class: 'sf-card'}), heading = h('p', {class: 'sf-heading'}), result = h('p', {class: 'sf-result'});
  const jac = h('div', {class: 'sf-jac'}), jacNote = h('p', {class: 'nnv-note'}), headRow = h('div', {class: 'sf-head', 'aria-hidden': 'true'}, h('span', {}, 'entry'), h('span', {}, 'logit z'), h('span', {}, 'weight p'));
  const line = (...cells) => { const node = h('tr', {}, h('th', {scope: 'row'}), ...cells.map(() => h('td', {}))); table.append(node); return [...node.children]; };
  const totals = [line(1, 2, 3, 4), line(1, 2, 3, 4)];
  const lower = h('div', {class: 'sf-lower'}, h('div', {}, heading, card, result), h('div', {}, h('p', {class: 'sf-heading'}, 'The Jacobian: what a logit does to every weight'), jac, jacNote));
  w.figure.style.overflow = 'visible';
  w.figure.append(tabs, about, headRow, list, h('div', {class: 'sf-scroll', style: {overflowX: 'auto'}}, h('table', {class: 'sf-table'}, h('thead', {}, h('tr', {}, h('td', {}), ...['sum', 'entropy, nats', 'exact zeros', 'largest'].map(x => h('th', {scope: 'col'}, x)))), table)), bar, h('div', {class: 'nnv-bar'}, players), guessBox, lower);
  w.controls.append(guesser, link);

  // ---- built anew only when the entries, the variant or the width change
  const edit = (name, i, x) => { const values = [...model.get(name)]; while (values.length <= i) values.push(0); values[i] = x; put(model, {[name]: values}); };
  function logitInput(label, on) {
    const reach = Math.max(5, ...[...state.logits, ...state.second].map(x => Math.ceil(Math.abs(x)))), input = h('input', {type: 'range', min: -reach, max: reach, step: 0.1, 'aria-label': label, oninput: () => on(+input.value)});
    return {input, value: h('b', {}), sub: h('div', {class: 'sf-sub'})};
  }
  function makeRow(i, depth) {
    const name = state.names[i], z = logitInput(`Logit of ${name}`, x => edit(kind() === 'mixture' && state.component === 2 ? 'second' : 'logits', i, x));
    const pick = h('button', {type: 'button', 'aria-pressed': 'false', onclick: () => choose(i)}, name), open = h('input', {type: 'checkbox', 'aria-label': `${name} is allowed`, onchange: () => put(model, {masked: open.checked ? state.masked.filter(k => k !== i) : [...state.masked, i]})});
    z.input.addEventListener('focus', () => choose(i));
    const thin = h('div', {class: 'sf-fill'}), fill = h('div', {class: 'sf-fill'}), fill2 = h('div', {class: 'sf-fill sf-second'}), mark = h('div', {class: 'sf-mark'}), track = h('div', {class: 'sf-track'}, fill, fill2, mark), std = h('span', {class: 'sf-num sf-std'}), num = h('span', {class: 'sf-num sf-big'});
    const sub = h('div', {class: 'sf-sub'});
    const node = h('div', {class: 'sf-row', role: 'group', 'aria-label': name}, h('div', {class: 'sf-who', style: {paddingLeft: depth * 14 + 'px'}}, open, pick), h('div', {class: 'sf-logit'}, h('div', {}, z.input, z.value), z.sub), h('div', {}, h('div', {class: 'sf-two'}, h('div', {class: 'sf-track sf-thin'}, thin), std, track, num), sub));
    return {i, z, pick, open, thin, fill, fill2, mark, track, std, num, sub, node};
  }
  function makeBranch(b, depth) {
    const title = branchName(kind(), b), z = logitInput(`Logit of ${title}`, x => kind() === 'adaptive' ? put(model, {tail: x}) : edit('nodes', b, x)), fill = h('div', {class: 'sf-fill'}), num = h('span', {class: 'sf-num'});
    const node = h('div', {class: 'sf-row sf-branch', role: 'group', 'aria-label': title}, h('div', {class: 'sf-who', style: {paddingLeft: depth * 14 + 'px'}}, '▾ ' + title), h('div', {class: 'sf-logit'}, h('div', {}, z.input, z.value)), h('div', {class: 'sf-two'}, h('div', {class: 'sf-track'}, fill), num));
    return {b, z, fill, num, node};
  }
  function build() {
    const N = state.logits.length, width = w.root.clientWidth, id = [kind(), N, state.names.join('|'), now.extra, now.rows, now.cutoff, width, JSON.stringify(kind() === 'hierarchical' ? state.tree : '')].join();
    if (id === shape) return;
    shape = id; cell = null;
    const nodes = now.nodes ?? state.logits.map((_, i) => ({leaf: i, depth: 0})), made = nodes.map(n => n.leaf === null ? makeBranch(n.branch, n.depth) : makeRow(n.leaf, n.depth));
    if (kind() === 'grid') made.forEach(r => r.node.classList.toggle('sf-cut', r.i > 0 && now.groups.some(g => g[0] === r.i)));
    list.replaceChildren(...made.map(r => r.node));
    part = {rows: made.filter(r => r.pick).sort((a, b) => a.i - b.i), branches: made.filter(r => !r.pick)};
    part.rows.forEach(r => { r.node.addEventListener('pointerenter', () => lightColumn(r.i)); r.node.addEventListener('pointerleave', () => lightColumn(-1)); });
    roving(w, made.filter(r => r.pick).map(r => [r.pick]), {focus: (k) => choose(made.filter(r => r.pick)[k].i)});
    rows.replaceChildren();
    if (kind() === 'grid') rows.append(rowChoice.field = choice({label: 'Rows × columns', options: Array.from({length: N}, (_, k) => k + 1).filter(k => N % k === 0).map(k => [k, `${k} × ${N / k}`]), value: now.rows, on: v => put(model, {rows: v})}));
    cutoff.input.max = N - 1;
    card.replaceChildren(); part.steps = [];
    // the Jacobian
    const M = N + now.extra, room = (width > 560 ? (width - 60) * 0.44 : width - 34) - 56, wide = Math.max(24, Math.min(46, Math.floor(room / M)));
    part.columns = Array.from({length: M}, (_, j) => j < N ? state.names[j] : branchName(kind(), j - N)); part.wide = wide;
    const fits = (name, room) => 7.6 * name.length < room ? name : 7.6 * 3 < room && name.startsWith('branch') ? 'b' + SUB(+name.slice(7)) : [...name].slice(0, Math.floor(room / 8)).join('');
    part.cells = state.logits.map((_, i) => part.columns.map((_, j) => h('div', {class: 'sf-cell', role: 'gridcell', style: {width: wide + 'px'}, onclick: () => pickCell(i, j), onpointerenter: () => peekCell(i, j), onpointerleave: () => peekCell(null)})));
    jac.replaceChildren(h('div', {class: 'sf-cols', 'aria-hidden': 'true'}, part.columns.map(n => h('span', {style: {width: wide + 'px'}, title: n}, fits(n, wide)))), h('div', {role: 'grid', 'aria-label': 'Jacobian: rows are weights, columns are logits', 'aria-readonly': 'true'}, part.cells.map((cells, i) => h('div', {class: 'sf-line', role: 'row'}, h('span', {role: 'rowheader', title: state.names[i], 'aria-label': state.names[i]}, fits(state.names[i], 54)), cells))));
    roving(w, part.cells, {focus: (r, c) => pickCell(r, c)});
  }
  let lit = -1, peek = null;
  function light(i) { part.rows[lit]?.node.classList.remove('sf-lit'); lit = i ?? -1; part.rows[lit]?.node.classList.add('sf-lit'); }
  function lightColumn(j) { part.cells.forEach(line => line.forEach((c, k) => { const on = k === j ? '1' : ''; if (c.lit !== on) { c.lit = on; c.style.filter = on ? 'contrast(1.5)' : ''; } })); }
  const choose = i => { if (i !== model.get('focus')) put(model, {focus: i}); };
  // The cells get their names when the hand rests.
  let pending = 0;
  const names = () => { clearTimeout(pending); pending = setTimeout(() => part.cells.forEach((line, i) => line.forEach((node, j) => attr(node, 'aria-label', `weight of ${state.names[i]}, logit of ${part.columns[j]}: ${covered() ? 'covered' : fmt(now.J[i][j], 3)}`))), 120); };
  w.cleanups.push(() => clearTimeout(pending));
  const pickCell = (i, j) => { cell = [i, j]; drawJacobian(); w.say(jacNote.textContent); };
  const peekCell = (i, j) => { peek = i === null ? null : [i, j]; drawJacobian(); };

  // ---- what changes with the numbers
  function drawJacobian() {
    const [a, b] = peek ?? cell ?? [at(), at()], limit = Math.max(1e-9, ...now.J.flat().map(Math.abs)), big = part.wide >= 40, hid = covered();
    part.cells.forEach((line, i) => line.forEach((node, j) => {
      const x = hid ? 0 : now.J[i][j], rgb = signedRGB(x, limit), text = hid ? '?' : !big ? '' : x === 0 ? '0' : Math.abs(x) < 0.005 ? (x < 0 ? '−0' : '+0') : fmt(x, 2).replace('0.', '.');
      if (node.seen !== css(rgb)) { node.style.background = node.seen = css(rgb); node.style.color = inkOn(rgb); }
      write(node, text);
      attr(node, 'class', 'sf-cell' + (i === a && j === b ? ' sf-on' : ''));
    }));
    names();
    const x = now.J[a]?.[b] ?? 0, level = kind() === 'sparsemax' ? now.z : kind() === 'entmax' ? now.scaled : null, edge = level && now.tau !== null ? level.flatMap((y, i) => Math.abs(y - now.tau) < 1e-9 ? [i] : []) : [];
    write(jacNote, hid ? 'Covered until you have guessed.' : `∂p(${state.names[a]}) / ∂z(${part.columns[b]}) = ${x === 0 ? '0, exactly' : fmt(x, 3)}: raise that logit a little, by 0.1, and the weight ${Math.abs(x) < 5e-7 ? 'stays' : `${x > 0 ? 'grows' : 'falls'} by about ${fmt(Math.abs(x) / 10, 4)}`}. Each column sums to 0: what one entry gains, the others lose.${edge.length ? ` ${edge.map(i => `“${state.names[i]}”`).join(' and ')} stands exactly at the threshold: the slope jumps there, and this is the one from below.` : ''}${kind() === 'gumbel' && state.hard ? ' Straight-through: this is the soft weights’ Jacobian; the step itself has none.' : kind() === 'mixture' ? ` Columns: the logits of softmax ${state.component}.` : ''}`);
  }
  function drawCard() {
    const i = at();
    write(heading, covered() ? 'The arithmetic is covered' : `How “${state.names[i]}” gets its weight`);
    show(card, !covered()); show(result, !covered());
    if (!covered()) {
      const {steps, result: text} = explain(state, now, i, state.names);
      steps.forEach((step, n) => {
        const p = part.steps[n] ??= (() => { const t = h('span', {}), terms = h('span', {}), after = h('span', {}), node = h('li', {}, t, ' ', terms, after); card.append(node); return {t, terms, after, node, list: []}; })();
        show(p.node, true); write(p.t, step.text); write(p.after, step.after ?? '');
        (step.terms ?? []).forEach(([text, k], m) => {
          const b = p.list[m] ??= (() => {
            const gap = m ? h('span', {}) : null, node = h('button', {type: 'button', class: 'sf-term'}), one = {node, gap, k: null};
            node.addEventListener('click', () => one.k !== null && choose(one.k));
            for (const [type, f] of [['pointerenter', () => light(one.k)], ['pointerleave', () => light(-1)], ['focus', () => light(one.k)], ['blur', () => light(-1)]]) node.addEventListener(type, f);
            if (gap) p.terms.append(gap);
            p.terms.append(node);
            return one;
          })();
          b.k = k; show(b.node, true); if (b.gap) { show(b.gap, true); write(b.gap, /[<>≤]/.test(text) ? ', ' : ' + '); }
          write(b.node, text); attr(b.node, 'class', 'sf-term' + (k === i ? ' sf-on' : '')); attr(b.node, 'aria-label', `${k === null ? 'a branch' : state.names[k]}: ${text}`);
        });
        p.list.slice(step.terms?.length ?? 0).forEach(b => { show(b.node, false); if (b.gap) show(b.gap, false); });
      });
      part.steps.slice(steps.length).forEach(p => show(p.node, false));
      write(result, text);
    }
    drawJacobian();
    if (!players.playing() && guess === null) w.say(`${VARIANTS[kind()][0]}: ${state.names[i]}, logit ${f2(state.logits[i])}, weight ${f3(now.p[i])}, standard ${f3(plain[i])}`);
    attr(lower, 'aria-busy', 'false');
  }
  let late = 0, last = 0;
  let cost = 0;
  const drawLate = () => { clearTimeout(late); late = 0; last = performance.now(); drawCard(); cost = Math.min(80, performance.now() - last); };
  const cards = () => { const wait = last + Math.max(60, 7 * cost) - performance.now(); if (wait <= 0) drawLate(); else late ||= setTimeout(drawLate, wait); };
  w.cleanups.push(() => clearTimeout(late));
  function drawRows() {
    const is = kind(), N = state.logits.length, hid = covered(), two = is === 'mixture' && state.component === 2, count = now.p.filter(x => x === 0).length;
    for (const r of part.rows) {
      const i = r.i, p = now.p[i], z = two ? state.second[i] ?? 0 : state.logits[i], barred = is === 'masked' && state.masked.includes(i);
      if (+r.z.input.value !== z) r.z.input.value = z;
      write(r.z.value, f2(z)); attr(r.z.input, 'aria-valuetext', f2(z));
      const note = is === 'gumbel' ? `+ noise ${f2(now.g[i])} = ${f2(state.logits[i] + now.g[i])}` : is === 'mixture' ? `in softmax ${two ? 1 : 2}: ${f2(two ? state.logits[i] : state.second[i] ?? 0)}` : barred ? 'masked: −∞' : '';
      write(r.z.sub, note); show(r.z.sub, !!note); show(r.open, is === 'masked'); r.open.checked = !barred;
      const below = is === 'gumbel' && wins ? `won ${wins[i]} of ${drawn}; softmax expects ${fmt(plain[i] * drawn, 1)}` : is === 'gumbel' && i === now.winner && !hid ? '★ sampled' : '';
      write(r.sub, below); show(r.sub, !!below);
      attr(r.thin, 'style', `transform:scaleX(${plain[i].toFixed(5)})`); write(r.std, fmt(plain[i], 3));
      const first = is === 'mixture' ? now.prior[0] * now.parts[0][i] : p;
      attr(r.fill, 'style', `transform:scaleX(${first.toFixed(5)})`); attr(r.fill2, 'style', is === 'mixture' ? `left:${(100 * first).toFixed(3)}%;transform:scaleX(${(p - first).toFixed(5)})` : 'display:none');
      write(r.num, hid ? '?' : p === 0 ? '0' : fmt(p, 3)); attr(r.num, 'title', p === 0 ? 'exactly 0' : String(p));
      attr(r.track, 'class', 'sf-track' + (p === 0 && !hid ? ' sf-zero' : ''));
      attr(r.mark, 'style', guess !== null && i === at() ? `left:${100 * guess}%` : 'display:none');
      attr(r.pick, 'aria-pressed', String(i === at())); attr(r.pick, 'aria-label', `${state.names[i]}: weight ${hid ? 'covered' : f3(p)}, standard ${f3(plain[i])}`);
      r.node.classList.toggle('sf-on', i === at()); r.node.classList.toggle('sf-cover', hid);
    }
    for (const r of part.branches) {
      const k = now.nodes.findIndex(n => n.branch === r.b), z = is === 'adaptive' ? state.tail : state.nodes[r.b] ?? 0;
      if (+r.z.input.value !== z) r.z.input.value = z;
      write(r.z.value, f2(z)); attr(r.z.input, 'aria-valuetext', f2(z)); attr(r.fill, 'style', `transform:scaleX(${now.reach[k].toFixed(5)})`); write(r.num, hid ? '?' : fmt(now.reach[k], 3));
      r.node.classList.toggle('sf-cover', hid);
    }
    const groups = is === 'grid' ? now.groups : [now.groups[0]], total = p => p.reduce((a, b) => a + b, 0), byRow = f => groups.map(g => f(g.map(i => now.p[i]))).join(', ');
    const cells = [['Standard softmax', fmt(total(plain), 3), fmt(entropy(plain), 3), `${plain.filter(x => x === 0).length} of ${N}`, fmt(Math.max(...plain), 3)], [VARIANTS[is][0] + (is === 'grid' && now.rows > 1 ? ', each row' : ''), byRow(p => fmt(total(p), now.rows > 1 ? 1 : 3)), byRow(p => fmt(entropy(p), now.rows > 1 ? 2 : 3)), `${count} of ${N}`, fmt(Math.max(...now.p), 3)]];
    cells.forEach((texts, n) => texts.forEach((text, m) => write(totals[n][m], n && m && hid ? '?' : text)));
    totals[1][0].parentNode.hidden = is === 'standard';
  }
  let controlled = '';
  function drawControls() {
    const is = kind(), id = JSON.stringify([is, state.temperature, state.alpha, now.cutoff, state.share, state.component, state.hard, now.rows, state.seed, guess, answered, at(), guess === null || plain[at()], shape]);
    if (id === controlled) return;
    controlled = id;
    for (const [name, b] of Object.entries(buttons)) attr(b, 'aria-pressed', String(name === is));
    write(about, VARIANTS[is][1]);
    show(heat, is !== 'standard'); show(alpha, is === 'entmax'); show(rows, is === 'grid'); show(cutoff, is === 'adaptive'); show(share, is === 'mixture'); show(component, is === 'mixture');
    for (const node of [again, many, straight]) show(node, is === 'gumbel');
    show(players.parentNode, is !== 'standard'); show(bar, is !== 'standard');
    const log = Math.log10(state.temperature);
    if (Math.abs(+heat.input.value - log) > 0.011) heat.set(Math.max(-1, Math.min(1, log)));
    alpha.set(state.alpha); cutoff.set(now.cutoff ?? 1); share.set(state.share); component.set(state.component); straight.set(!!state.hard); if (is === 'grid') rowChoice.field.set(now.rows);
    if (is === 'gumbel') write(again, `Draw again (seed ${state.seed})`);
    show(guessBox, guess !== null);
    if (guess !== null) write(question, `How much weight does ${{gumbel: 'this draw of Gumbel-softmax', mixture: 'the mixture', sparsemax: 'sparsemax', entmax: 'entmax'}[is] ?? `${is} softmax`} give to “${state.names[at()]}”? Standard softmax gives ${f3(plain[at()])}.`);
    show(reveal, !answered); show(verdict, answered);
  }
  let turned = -1;
  players.turn = () => `${kind()} ${state.seed} ${state.alpha} ${state.temperature}`;
  function draw() { compute(); build(); drawControls(); drawRows(); attr(lower, 'aria-busy', 'true'); cards(); if (turned !== players.turn()) { turned = players.turn(); players.show(); } }
  const changed = w.batch(draw);
  const fresh = () => { wins = null; drawn = 0; changed(); }, moved = () => { if (guess !== null && answered) { answered = false; } changed(); };
  w.on(model, 'logits', fresh);
  w.on(model, 'variant focus', () => { cell = null; moved(); });
  w.on(model, 'names temperature alpha masked rows tree nodes cutoff tail second share component seed hard', changed);
  draw();
  let width = w.root.clientWidth;
  w.onResize(() => { if (w.root.clientWidth !== width) { width = w.root.clientWidth; changed(); } });
  return () => w.close();
}

export default {render};
