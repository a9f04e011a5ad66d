// Says what the lines of a chart are worth where the pointer is, or the finger was put.
// Charts may be replaced meanwhile.
'use strict';

(() => {
  const box = document.createElement('div'), hair = document.createElement('div');
  box.className = 'readout';
  hair.className = 'readout-hair';
  let x = -1, y = -1;

  function hide() {
    box.remove();
    hair.remove();
  }

  function show() {
    const chart = document.elementFromPoint(x, y)?.closest('svg.chart[data-at]');
    if (!chart) return hide();
    const r = chart.getBoundingClientRect();
    const unit = r.width / chart.viewBox.baseVal.width;
    const at = chart.dataset.at.split(' ').map(Number);
    const wanted = (x - r.left) / unit;
    let i = 0;
    for (let k = 1; k < at.length; k++) if (Math.abs(at[k] - wanted) < Math.abs(at[i] - wanted)) i = k;
    const rows = [];
    for (const line of chart.querySelectorAll('[data-values]')) {
      const value = line.dataset.values.split('|')[i];
      if (!value) continue;
      const row = document.createElement('div'), name = document.createElement('span'), worth = document.createElement('b');
      name.textContent = line.dataset.name;
      name.style.borderLeftColor = getComputedStyle(line).stroke;
      worth.textContent = value;
      row.append(name, worth);
      rows.push(row);
    }
    const when = document.createElement('div');
    when.textContent = chart.dataset.when.split('|')[i];
    box.replaceChildren(when, ...rows);
    document.body.append(hair, box);
    hair.style.left = `${r.left + at[i] * unit}px`;
    hair.style.top = `${r.top + chart.dataset.top * unit}px`;
    hair.style.height = `${(chart.dataset.foot - chart.dataset.top) * unit}px`;
    const room = x + 14 + box.offsetWidth <= document.documentElement.clientWidth;
    box.style.left = `${Math.max(4, room ? x + 14 : x - 14 - box.offsetWidth)}px`;
    box.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - box.offsetHeight - 4))}px`;
  }

  const follow = (event) => {
    x = event.clientX;
    y = event.clientY;
    show();
  };
  addEventListener('pointermove', follow);
  addEventListener('pointerdown', follow);
  document.documentElement.addEventListener('pointerleave', (event) => {
    if (event.pointerType !== 'mouse') return; // a finger leaves when it is lifted
    x = -1;
    hide();
  });
  addEventListener('scroll', hide, { passive: true });
  new MutationObserver((changes) => {
    if (box.isConnected && changes.some((c) => c.target !== document.body && !box.contains(c.target))) show();
  }).observe(document.body, { childList: true, subtree: true });
})();
