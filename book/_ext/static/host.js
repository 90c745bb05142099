// A host for the book's widgets on a page without a kernel: it reads the state that the notebook stored, gives each view
// a small model, and lets the widget's own module do the rest. The text of the modules is in nnvocabModules (one script
// a widget and one for what they share, fetched when a figure comes near) or, where that is missing, in the state itself.
(() => {
  const MIME = 'application/vnd.jupyter.widget-';
  const urls = {};
  function model(data) {
    const listeners = {};
    const self = {
      get: key => data[key],
      set: (key, value) => {
        if (Object.is(data[key], value)) return;
        data[key] = value;
        for (const f of [...(listeners['change:' + key] ?? []), ...(listeners.change ?? [])]) f(self, value);
      },
      on: (event, f) => event.split(' ').forEach(e => (listeners[e] ??= []).push(f)),
      off: (event, f) => { if (event) listeners[event] = f ? (listeners[event] ?? []).filter(g => g !== f) : []; },
      save_changes() {},
      send() {},
    };
    return self;
  }
  async function show(view, state, begun) {
    const found = state[JSON.parse(view.textContent).model_id], texts = globalThis.nnvocabModules;
    if (found?.model_module !== 'anywidget') return;
    const {_esm, ...data} = found.state, id = data._anywidget_id;
    urls[id] ??= URL.createObjectURL(new Blob([texts?.[id] ? texts.common + texts[id] : _esm], {type: 'text/javascript'}));
    const el = document.createElement('div');
    el.className = 'nnv-host';
    view.after(el);
    try {
      const m = model(data);
      await (await import(urls[id])).default.render({model: m, el});
      el.model = m;
      el.dataset.drawn = Math.round(performance.now() - begun);
    } catch (error) {
      el.textContent = 'This figure could not start: ' + error.message;
      console.error(error);
    }
  }
  // What a page's widgets need: fetched once, when the first of them comes near, or found in the page itself.
  const parts = document.currentScript?.dataset.parts?.split(' ') ?? [];
  let loading;
  const fetchParts = () => loading ??= (async () => {
    await Promise.all(parts.map(src => new Promise((done, fail) => {  // all at once: while a page typesets, each wait is long
      document.head.append(Object.assign(document.createElement('script'), {src, async: false, onload: done, onerror: () => fail(Error(src + ' is missing'))}));
    })));
    return Object.assign({}, globalThis.nnvocabState, ...[...document.querySelectorAll(`script[type="${MIME}state+json"]`)].map(s => JSON.parse(s.textContent).state));
  })();
  async function start() {
    const views = [...document.querySelectorAll(`script[type="${MIME}view+json"]`)];
    const begun = new Map();
    const begin = view => {
      const now = performance.now();  // data-drawn: milliseconds from here, where its parts are fetched, until it stands
      return begun.get(view) ?? begun.set(view, fetchParts().then(state => show(view, state, now))).get(view);
    };
    const near = new IntersectionObserver(entries => {
      for (const e of entries) if (e.isIntersecting) {
        near.unobserve(e.target);
        for (const view of views) if (view.parentElement === e.target) begin(view);
      }
    }, {rootMargin: '1200px'});
    for (const view of views) near.observe(view.parentElement);
    // an address such as #LSTMGates?step=5 speaks of a figure that may not be there yet
    const called = async () => {
      if (!location.hash.includes('?')) return;
      const name = location.hash.slice(1).split('?')[0], waiting = !document.getElementById(name);
      await Promise.all(views.map(begin));
      if (waiting) document.getElementById(name)?.scrollIntoView({block: 'nearest'});
    };
    addEventListener('hashchange', called);
    called();
  }
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', start); else start();
})();
