'use strict';

const $ = (id) => document.getElementById(id);
const start = $('start'), change = $('change');

function show(problem) {
  $('problem').textContent = problem;
  $('problem').hidden = !problem;
}

async function post(path, body) {
  try {
    const res = await fetch(path, { method: 'POST', body });
    show(res.ok ? '' : await res.text());
    return res.ok;
  } catch {
    show('The load tester does not answer.');
    return false;
  }
}

// Only the fields of the chosen model are shown and sent.
function choose() {
  const model = start.elements.model.value;
  for (const e of start.querySelectorAll('[data-for]')) {
    e.hidden = e.dataset.for !== model;
    for (const c of e.querySelectorAll('input, select')) c.disabled = e.hidden;
  }
}
start.elements.model.addEventListener('change', choose);

start.addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = start.querySelector('button.primary');
  button.disabled = true;
  await post('/start', new FormData(start));
  button.disabled = false;
  await refresh();
});

change.addEventListener('submit', async (event) => {
  event.preventDefault();
  await post('/level', new URLSearchParams({ level: change.elements.level.value }));
  await refresh();
});

$('stop').addEventListener('click', async () => {
  await post('/stop');
  await refresh();
});

let running = null, seen = '';
async function refresh() {
  let state;
  try {
    const res = await fetch('/state?seen=' + encodeURIComponent(seen));
    if (!res.ok) throw new Error();
    state = await res.json();
  } catch {
    $('state').textContent = 'not connected';
    $('state').dataset.running = 'away';
    return;
  }
  if (state.result) $('result').innerHTML = state.result; // escaped by the server
  seen = state.seen;
  $('state').textContent = state.text;
  $('state').dataset.running = state.running;
  $('what').textContent = state.open ? 'Requests/s' : 'Users';
  if (state.running !== running) {
    running = state.running;
    start.hidden = running;
    change.hidden = !running;
    if (running) change.elements.level.value = state.level;
  }
  $('downloads').hidden = !state.there;
}

choose();
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, 1000);
