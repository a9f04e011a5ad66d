// Fetches the page again while it is visible, and replaces what has changed.
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

setTimeout(refresh, every);
