// What scrolls sideways can be reached by keyboard: code, tables and formulas that are wider than the page.
addEventListener('load', async () => {
  const reach = () => {
    for (const box of document.querySelectorAll('.bd-article :is(pre, table, mjx-container, .eq, .nnv-fig, .nnv-math)'))
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
  };
  try { await globalThis.MathJax?.startup?.promise; } catch { /* a page without formulas */ }
  reach();
  addEventListener('resize', reach);
});
