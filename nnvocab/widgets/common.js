// What the widgets share: elements, colours, controls, the player, keyboard, numbers, the address. PALETTE, SIGNED and
// MAGNITUDE stand before this text: the same values that the plots use.

const STYLE = `
.nnv{--ink:#1b1f24;--soft:#57606a;--line:#c9d1d9;--paper:#fff;--panel:#f6f8fa;--focus:#0550ae;
--input:#0072b2;--weight:#8a5a00;--output:#00704f;--gradient:#b34700;--masked:#656d76;--state:#9c3f75;
color:var(--ink);background:var(--paper);font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
font-variant-numeric:tabular-nums;border:1px solid var(--line);border-radius:10px;padding:12px 14px;margin:1em 0;
max-width:100%;box-sizing:border-box;container-type:inline-size;position:relative;text-align:left}
:is(html[data-theme=dark],body[data-jp-theme-light=false],body.vscode-dark,html[theme=dark]) .nnv{--ink:#e6edf3;--soft:#a5b0bb;
--line:#3d444d;--paper:#14181d;--panel:#1f252c;--focus:#79c0ff;--input:#5cb3ee;--weight:#f0b23a;--output:#3fcf9f;
--gradient:#ff8b4d;--masked:#98a1ab;--state:#e59ac2;color-scheme:dark}
.nnv *{box-sizing:border-box}.nnv-title{font-weight:650;font-size:16px;margin:0 0 2px}.nnv-lead{color:var(--soft);margin:0 0 8px}
.nnv-bar{display:flex;flex-wrap:wrap;gap:6px 14px;align-items:center;margin:8px 0 0}
.nnv label,.nnv-field{display:inline-flex;align-items:center;gap:6px;font-size:14px;max-width:100%}
.nnv button,.nnv select,.nnv input:not([type=range]):not([type=checkbox]),.nnv textarea{font:inherit;font-size:14px;color:var(--ink);
background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:4px 9px;min-height:32px;max-width:100%;margin:0}
.nnv button{cursor:pointer;min-width:36px}.nnv button:hover{border-color:var(--focus)}.nnv button[aria-pressed=true]{border-color:var(--focus);
box-shadow:inset 0 0 0 1px var(--focus)}.nnv button:disabled{opacity:.5;cursor:default}
.nnv input[type=range]{width:120px;min-height:28px;accent-color:var(--focus);margin:0}.nnv input[type=checkbox]{width:20px;height:20px;accent-color:var(--focus);margin:0}
.nnv-player{flex:1 1 300px;margin:0!important}.nnv output{min-width:2.6em;display:inline-block;font-size:14px}.nnv-scrub{flex:1 1 140px}.nnv-scrub input{width:100%!important}
.nnv :focus-visible{outline:2.5px solid var(--focus);outline-offset:2px;border-radius:4px}
.nnv-fig{position:relative;overflow-x:auto;max-width:100%}.nnv svg{display:block;max-width:100%;height:auto;font-family:inherit}.nnv canvas{display:block;max-width:100%}
.nnv svg text{font-size:13px;fill:var(--ink)}.nnv-note{font-size:14px;color:var(--soft);margin:6px 0 0}
.nnv-math{font-size:15px;overflow-x:auto;padding:6px 0;line-height:1.7}.nnv table{border-collapse:collapse;font-size:14px}.nnv th,.nnv td{padding:2px 8px;text-align:right}
.nnv-sr{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.nnv .c-input{color:var(--input)}.nnv .c-weight{color:var(--weight)}.nnv .c-output{color:var(--output)}.nnv .c-gradient{color:var(--gradient)}.nnv .c-masked{color:var(--masked)}.nnv .c-state{color:var(--state)}
@media (prefers-reduced-motion:reduce){.nnv *{transition:none!important;animation:none!important}}
`;

// h("button", {class: "x", onclick: f}, "text", child): an HTML element; s(...) the same for SVG. null attributes are left out.
function build(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (key === 'style' && typeof value === 'object') Object.assign(node.style, value);
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.flat().filter(c => c !== null && c !== undefined && c !== false));
  return node;
}
const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => build(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);

// Numbers: a true minus sign, fixed digits, never "-0.00".
function fmt(x, digits = 2) {
  if (x === Infinity) return '∞';
  if (x === -Infinity) return '−∞';
  if (Number.isNaN(x)) return 'NaN';
  if (x !== 0 && Math.abs(x) < 0.5 * 10 ** -digits) {
    if (Math.abs(x) >= 1e-4) return x.toPrecision(1).replace('-', '−');
    const [m, e] = x.toExponential(0).split('e');
    return `${m.replace('-', '−')}·10${[...String(+e)].map(c => '⁰¹²³⁴⁵⁶⁷⁸⁹'[c] ?? '⁻').join('')}`;
  }
  return (Object.is(x, -0) ? 0 : x).toFixed(digits).replace('-', '−');
}

const parse = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
const SIGNED_RGB = SIGNED.map(parse), MAGNITUDE_RGB = MAGNITUDE.map(parse);
function blend(stops, t) {
  const x = Math.min(Math.max(Number.isFinite(t) ? t : 0, 0), 1) * (stops.length - 1), i = Math.min(Math.floor(x), stops.length - 2), f = x - i;
  return stops[i].map((v, k) => Math.round(v + (stops[i + 1][k] - v) * f));
}
const css = rgb => `rgb(${rgb[0]},${rgb[1]},${rgb[2]})`;
// The colour of a signed value when ±limit are the ends, of a magnitude from 0 to limit, and of text that is readable on it.
const signedRGB = (value, limit) => blend(SIGNED_RGB, 0.5 + 0.5 * value / (limit || 1));
const magnitudeRGB = (value, limit) => blend(MAGNITUDE_RGB, value / (limit || 1));
const signed = (value, limit) => css(signedRGB(value, limit)), magnitude = (value, limit) => css(magnitudeRGB(value, limit));
function inkOn(rgb) {
  const l = rgb.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2] > 0.179 ? '#000' : '#fff';
}

const reducedMotion = () => matchMedia('(prefers-reduced-motion: reduce)').matches;
const save = model => { try { model.save_changes(); } catch { /* no kernel: nothing to save to */ } };
const put = (model, values) => { for (const [k, v] of Object.entries(values)) model.set(k, v); save(model); };

// The frame of a widget. Returns its parts and a list of clean-ups that render() must run: return () => w.close().
function frame(el, {name, title, lead}) {
  const live = h('div', {class: 'nnv-sr', 'aria-live': 'polite'});
  const figure = h('div', {class: 'nnv-fig'}), controls = h('div', {class: 'nnv-bar'});
  const root = h('section', {class: 'nnv', 'aria-label': name, 'data-widget': name}, h('style', {}, STYLE),
    title && h('p', {class: 'nnv-title'}, title), lead && h('p', {class: 'nnv-lead'}, lead), figure, controls, live);
  el.replaceChildren(root);
  const cleanups = [];
  const w = {root, figure, controls, cleanups, close: () => cleanups.splice(0).forEach(f => f()),
    say: text => { if (live.textContent !== text) live.textContent = text; },
    listen: (target, type, f, options) => { target.addEventListener(type, f, options); cleanups.push(() => target.removeEventListener(type, f, options)); },
    // draw() at most once a frame, however often it is asked for
    batch: draw => { let due = 0; cleanups.push(() => cancelAnimationFrame(due)); return () => { due ||= requestAnimationFrame(() => { due = 0; draw(); }); }; },
    // on(model, "stride padding", f): f when a trait changes, from Python or from here
    on: (model, names, f) => names.split(' ').forEach(n => { model.on('change:' + n, f); cleanups.push(() => model.off('change:' + n, f)); }),
    // f when the theme, or the width, changes: for canvases
    onTheme: f => { const o = new MutationObserver(f); [document.documentElement, document.body].forEach(n => o.observe(n, {attributes: true, attributeFilter: ['data-theme', 'data-jp-theme-light', 'class', 'theme']})); cleanups.push(() => o.disconnect()); },
    onResize: f => { const o = new ResizeObserver(f); o.observe(root); cleanups.push(() => o.disconnect()); },
    colour: token => getComputedStyle(root).getPropertyValue('--' + token).trim()};
  return w;
}

// Controls. Each returns its element with .set(value), which changes what is shown without calling on().
function slider({label, min, max, step = 1, value, on, format = v => fmt(v, step >= 1 ? 0 : String(step).split('.')[1]?.length ?? 2)}) {
  const shown = h('output', {}), input = h('input', {type: 'range', min, max, step, 'aria-label': label});
  const show = v => { input.value = v; shown.textContent = format(+v); input.setAttribute('aria-valuetext', format(+v)); };
  input.addEventListener('input', () => { show(input.value); on(+input.value); });
  show(value);
  return Object.assign(h('label', {}, label, input, shown), {set: show, input});
}
function choice({label, options, value, on}) {  // options: values, or [value, text] pairs
  const pairs = options.map(o => Array.isArray(o) ? o : [o, String(o)]);
  const select = h('select', {'aria-label': label}, pairs.map(([v, text], i) => h('option', {value: i}, text)));
  const show = v => { select.value = pairs.findIndex(p => p[0] === v); };
  select.addEventListener('change', () => on(pairs[+select.value][0]));
  show(value);
  return Object.assign(h('label', {}, label, select), {set: show, input: select});
}
function toggle({label, value, on}) {
  const box = h('input', {type: 'checkbox', 'aria-label': label, onchange: () => on(box.checked)});
  box.checked = value;
  return Object.assign(h('label', {}, box, label), {set: v => { box.checked = v; }, input: box});
}
function button({label, name = label, on, pressed}) {
  const b = h('button', {type: 'button', 'aria-label': name, title: name === label ? null : name, 'aria-pressed': pressed === undefined ? null : String(pressed), onclick: on}, label);
  return Object.assign(b, {set: v => b.setAttribute('aria-pressed', String(v)), text: (t, n = t) => { b.textContent = t; b.setAttribute('aria-label', n); }});
}

// Play, pause, step back and forward, scrub. Keys within the widget: space plays, comma and full stop step, Home and End.
// get() and set(step) read and write the step; length() may change while it runs. Never starts by itself.
function player(w, {length, get, set, rate = 4, names = 'step', onPlay}) {
  let timer = 0, last = 0, playing = false;
  const go = i => { const n = length(); set(Math.max(0, Math.min(n - 1, i))); show(); };
  const back = button({label: '◂', name: 'Back one ' + names, on: () => { pause(); go(get() - 1); }});
  const play = button({label: '▶ Play', name: 'Play', on: () => playing ? pause() : start()});
  const next = button({label: '▸', name: 'Forward one ' + names, on: () => { pause(); go(get() + 1); }});
  const range = h('input', {type: 'range', min: 0, 'aria-label': 'Go to ' + names, oninput: () => { pause(); go(+range.value); }});
  const shown = h('output', {});
  const speed = {value: rate};
  function show() { range.max = length() - 1; range.value = get(); shown.textContent = `${get() + 1} / ${length()}`; range.setAttribute('aria-valuetext', shown.textContent); }
  function tick(now) {
    if (!playing) return;
    if (now - last >= 1000 / speed.value - 4) { last = now; if (get() >= length() - 1) return pause(); go(get() + 1); }
    timer = requestAnimationFrame(tick);
  }
  function start() { if (playing) return; if (get() >= length() - 1) go(0); playing = true; play.text('❚❚ Pause', 'Pause'); last = performance.now(); timer = requestAnimationFrame(tick); onPlay?.(true); }
  function pause() { if (!playing) return; playing = false; cancelAnimationFrame(timer); play.text('▶ Play', 'Play'); onPlay?.(false); }
  w.cleanups.push(pause);
  w.listen(w.root, 'keydown', e => {
    if (e.defaultPrevented || e.target.matches('input,select,textarea,[contenteditable]') || e.ctrlKey || e.metaKey || e.altKey) return;
    const act = {' ': () => e.target.matches('button,[role=button]') ? null : playing ? (pause(), 1) : (start(), 1), ',': () => (pause(), go(get() - 1), 1), '.': () => (pause(), go(get() + 1), 1)}[e.key];
    if (act?.()) e.preventDefault();
  });
  show();
  return Object.assign(h('div', {class: 'nnv-bar nnv-player', role: 'group', 'aria-label': 'Player'}, back, play, next, h('label', {class: 'nnv-scrub'}, range), shown), {show, start, pause, speed, playing: () => playing});
}

// A grid of cells that takes one place in the tab order; arrow keys move within it. cells[r][c] are focusable elements.
function roving(w, cells, {focus, activate}) {
  let at = [0, 0];
  cells.forEach((row, r) => row.forEach((cell, c) => {
    cell.setAttribute('tabindex', r || c ? -1 : 0);
    cell.addEventListener('focus', () => { cells[at[0]]?.[at[1]]?.setAttribute('tabindex', -1); at = [r, c]; cell.setAttribute('tabindex', 0); focus?.(r, c); });
    cell.addEventListener('keydown', e => {
      const step = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0], Home: [0, -c], End: [0, row.length - 1 - c]}[e.key];
      if (step) { cells[r + step[0]]?.[c + step[1]]?.focus(); e.preventDefault(); }
      else if (activate && (e.key === 'Enter' || e.key === ' ')) { activate(r, c, e); e.preventDefault(); }
    });
  }));
}

// The state in the page's address: #Name?stride=2&padding=1 sets these traits, on load and when a link in the text is
// followed; the button copies such an address. keys: {trait: "number" | "string" | "boolean" | "json"}.
function shared(w, model, name, keys) {
  const read = {number: Number, string: String, boolean: v => v === 'true', json: JSON.parse};
  const load = () => {
    const [id, query] = decodeURI(location.hash.slice(1)).split('?');
    if (id !== name || !query) return;
    for (const [key, text] of new URLSearchParams(query)) {
      if (!(key in keys)) continue;
      try { const v = read[keys[key]](text); if (!(typeof v === 'number' && Number.isNaN(v))) model.set(key, v); } catch { /* an address somebody mistyped: leave that key */ }
    }
    save(model);
  };
  w.root.id ||= name;
  const link = button({label: 'Link', name: 'Copy a link to this state', on: async () => {
    const query = new URLSearchParams(Object.entries(keys).map(([k, type]) => [k, type === 'json' ? JSON.stringify(model.get(k)) : model.get(k)]));
    const address = location.href.split('#')[0] + '#' + name + '?' + query;
    history.replaceState(null, '', address);
    try { await navigator.clipboard.writeText(address); w.say('Link copied'); link.text('Copied', 'Link copied'); } catch { link.text('In the address bar', 'The link stands in the address bar'); }
    setTimeout(() => link.text('Link', 'Copy a link to this state'), 1500);
  }});
  w.listen(window, 'hashchange', () => { load(); if (location.hash.slice(1).split('?')[0] === name) w.root.scrollIntoView({block: 'nearest'}); });
  load();
  return link;
}
