// Fetches the page again while it is visible, and replaces what has changed. Dragging over a
// chart leads to the address that shows that stretch of time.
'use strict';

const every = 10000;

async function refresh() {
  const shown = document.getElementById('monitor');
  try {
    if (!document.hidden) {
      const resp = await fetch(location.href, { cache: 'no-store', headers: { Accept: 'text/html' } });
      const fresh = resp.ok && new DOMParser().parseFromString(await resp.text(), 'text/html').getElementById('monitor');
      if (!fresh) throw new Error(`status ${resp.status}`);
      shown.replaceWith(fresh);
    }
  } catch {
    document.getElementById('away').hidden = false;
  }
  setTimeout(refresh, every);
}

if (!('past' in document.getElementById('monitor').dataset)) setTimeout(refresh, every);

// Where a drag began: places in the window and the times that they stand for. Fingers scroll,
// and have the fields.
let drag = null;
const band = document.createElement('div');
band.className = 'band';

function end() {
  band.remove();
  drag = null;
}

const inside = (x) => Math.max(drag.left, Math.min(x, drag.right));

addEventListener('pointerdown', (event) => {
  const chart = event.button === 0 && event.pointerType !== 'touch' && event.target.closest?.('svg.chart[data-at]');
  if (!chart) return;
  const r = chart.getBoundingClientRect(), unit = r.width / chart.viewBox.baseVal.width;
  const at = chart.dataset.at.split(' ').map(Number), { from, to } = document.getElementById('monitor').dataset;
  drag = { left: r.left + at[0] * unit, right: r.left + at.at(-1) * unit, from: Date.parse(from + 'Z'), to: Date.parse(to + 'Z') };
  drag.x = inside(event.clientX);
  band.style.top = `${r.top + chart.dataset.top * unit}px`;
  band.style.height = `${(chart.dataset.foot - chart.dataset.top) * unit}px`;
});

addEventListener('pointermove', (event) => {
  if (!drag) return;
  const x = inside(event.clientX);
  band.style.left = `${Math.min(x, drag.x)}px`;
  band.style.width = `${Math.abs(x - drag.x)}px`;
  document.body.append(band);
});

addEventListener('pointerup', (event) => {
  if (!drag) return;
  const ends = [drag.x, inside(event.clientX)].sort((a, b) => a - b);
  const times = ends.map((x) => new Date(drag.from + (x - drag.left) / (drag.right - drag.left) * (drag.to - drag.from)).toISOString().slice(0, 19));
  end();
  if (ends[1] - ends[0] < 5) return; // a click
  const address = new URL(location.href);
  address.searchParams.set('from', times[0]);
  address.searchParams.set('to', times[1]);
  location.assign(address);
});

addEventListener('pointercancel', end);
addEventListener('scroll', end, { passive: true });
addEventListener('keydown', (event) => event.key === 'Escape' && end());
