// Looks at each page at two widths, and scores a file as somebody does.
'use strict';

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

// named is whether a control says what it is for.
function named(c) {
  return c.labels?.length || c.getAttribute('aria-label') || c.getAttribute('aria-labelledby') || c.textContent.trim() || c.title;
}

async function frame(path, width) {
  const f = document.createElement('iframe');
  f.style.cssText = `width: ${width}px; height: 900px; border: 0`;
  const loaded = new Promise((done) => f.addEventListener('load', done, { once: true }));
  f.src = path;
  document.body.append(f);
  await loaded;
  await wait(300); // for its script
  return f;
}

function look(d) {
  const seen = [];
  const room = d.documentElement.clientWidth;
  if (d.documentElement.scrollWidth > room) {
    const wide = [...d.body.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > room + 1).map((e) => e.tagName + '.' + e.className);
    seen.push(`scrolls sideways: ${wide.slice(-3)}`);
  }
  for (const c of d.querySelectorAll('button, input:not([type=hidden]), select, textarea, a[href]')) {
    if (c.offsetParent !== null && !named(c)) seen.push(`has no name: ${c.outerHTML.slice(0, 80)}`);
    if (c.tabIndex < 0 && c.offsetParent !== null) seen.push(`can't be reached by keyboard: ${c.outerHTML.slice(0, 80)}`);
  }
  if (!d.documentElement.lang) seen.push('has no language');
  if (d.querySelectorAll('h1').length !== 1) seen.push(`has ${d.querySelectorAll('h1').length} h1`);
  if (!d.title) seen.push('has no title');
  const ids = [...d.querySelectorAll('[id]')].map((e) => e.id);
  const twice = ids.filter((id, i) => ids.indexOf(id) !== i);
  if (twice.length) seen.push(`has an id twice: ${twice}`);
  return seen;
}

async function batch() {
  const f = await frame('/batch', 1280);
  const d = f.contentDocument;
  const files = new f.contentWindow.DataTransfer();
  const rows = Array.from({ length: 30 }, (_, i) => `[${i}-x),${i % 2 ? 'Asian' : 'Other'}`.replace('-x', ''));
  files.items.add(new f.contentWindow.File([`age,race\n${rows.join('\n')}\n`], 'ward.csv', { type: 'text/csv' }));
  d.getElementById('file').files = files.files;
  d.getElementById('upload').requestSubmit();
  for (let i = 0; i < 100 && d.getElementById('scored').hidden; i++) await wait(50);
  const shown = () => `${d.getElementById('shown').textContent}; ${d.querySelectorAll('tbody tr').length} rows`;
  const said = [d.getElementById('said').textContent, shown()];
  const search = d.getElementById('search');
  search.value = 'asian';
  search.dispatchEvent(new f.contentWindow.Event('input'));
  said.push(shown());
  let link = null;
  f.contentWindow.HTMLAnchorElement.prototype.click = function () { link = this; };
  d.getElementById('download').click();
  said.push(link?.download, (await (await f.contentWindow.fetch(link.href)).text()).split('\n').slice(0, 2).join(' | '));
  return said;
}

(async () => {
  const found = {};
  for (const path of ['/', '/batch', '/about', '/monitor']) {
    for (const width of [390, 1280]) {
      const f = await frame(path, width);
      found[`${path} at ${width}`] = look(f.contentDocument);
      f.remove();
    }
  }
  found.batch = await batch();
  await fetch('/done', { method: 'POST', body: JSON.stringify(found) });
})().catch((e) => fetch('/done', { method: 'POST', body: JSON.stringify({ failed: [String(e)] }) }));
