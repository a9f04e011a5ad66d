// Waits until the page Monitor has drawn itself anew, then until its server is away, and
// reports what it shows.
'use strict';

async function until(holds) {
  for (let i = 0; i < 300 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
}

(async () => {
  const served = () => document.querySelector('.tiles dd')?.textContent;
  const report = { first: served(), charts: document.querySelectorAll('svg.chart').length };
  await fetch('/change', { method: 'POST' });
  await until(() => served() !== report.first);
  report.then = served();
  report.wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
  report.awayBefore = !document.getElementById('away').hidden;
  await fetch('/leave', { method: 'POST' });
  await until(() => !document.getElementById('away').hidden);
  report.away = !document.getElementById('away').hidden;
  await fetch('/done', { method: 'POST', body: JSON.stringify(report) });
})();
