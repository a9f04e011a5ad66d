// Waits until the page Monitor has drawn itself anew, then until its server is away, and
// reports what it shows.
'use strict';

async function until(holds) {
  for (let i = 0; i < 300 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
}

(async () => {
  const served = () => document.querySelector('.tiles dd')?.textContent;
  const report = { first: served(), charts: document.querySelectorAll('svg.chart').length };
  const chart = document.querySelector('svg.chart');
  chart.scrollIntoView({ block: 'center' });
  const r = chart.getBoundingClientRect();
  dispatchEvent(new PointerEvent('pointermove', { clientX: r.right - 12, clientY: r.top + r.height / 2 }));
  report.pointed = [...document.querySelectorAll('.readout div')].map((e) => e.textContent);
  await fetch('/change', { method: 'POST' });
  await until(() => served() !== report.first);
  report.then = served();
  await until(() => !document.querySelector('.readout'));
  report.fresh = !document.querySelector('.readout'); // the charts that it was about have no values any more
  report.wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
  report.awayBefore = !document.getElementById('away').hidden;
  await fetch('/leave', { method: 'POST' });
  await until(() => !document.getElementById('away').hidden);
  report.away = !document.getElementById('away').hidden;
  await fetch('/done', { method: 'POST', body: JSON.stringify(report) });
})();
