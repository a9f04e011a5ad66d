// What if, links to a filled form, and what was tried in this tab.

const whatIf = document.getElementById('what-if');

// showCurve asks what the prediction would be for other values of the chosen column.
async function showCurve() {
  if (!whatIf) return;
  const curve = document.getElementById('curve');
  if (!whatIf.value) {
    curve.replaceChildren();
    return;
  }
  curve.setAttribute('aria-busy', 'true');
  try {
    const resp = await fetch('/what-if', { method: 'POST', body: new URLSearchParams(new FormData(form)), signal: AbortSignal.timeout(15000) });
    if (!resp.ok) throw new Error(resp.statusText);
    const page = new DOMParser().parseFromString(await resp.text(), 'text/html');
    curve.replaceWith(page.getElementById('curve'));
  } catch {
    curve.textContent = 'The server does not respond; choose again.';
    curve.removeAttribute('aria-busy');
  }
}

whatIf?.addEventListener('change', showCurve);

// Links and what was tried

// linkOf is the address of a form filled in like this one.
function linkOf() {
  const q = new URLSearchParams({ sample: form.elements.sample.value });
  for (const field of form.querySelectorAll('.field')) {
    const value = valueOf(field);
    if (value !== field.dataset.sample) q.set('c.' + field.dataset.column, value);
  }
  return '/?' + q;
}

const tried = document.getElementById('tried');
const triedKey = 'tried ' + form.dataset.signature;
const mostTried = 20;

// remember notes a prediction in this tab's storage, which ends with it; no server
// keeps it.
function remember({ model, predictions: [{ label, probability, probabilities, value, excluded }] }) {
  let text = 'No score';
  if (probabilities) text = `${label} ${percent(probabilities[label])}`;
  else if (value !== undefined) text = String(Number(value.toPrecision(6)));
  else if (!excluded) text = percent(probability);
  const changed = [...form.querySelectorAll('.field.changed')].map((f) => `${labelOf(f)} ${valueOf(f) || 'unknown'}`);
  const entry = { link: linkOf(), text, version: model.version, what: changed.slice(0, 3).join(', ') + (changed.length > 3 ? ', …' : '') || 'as the form began' };
  const list = [entry, ...remembered().filter((e) => e.link !== entry.link || e.version !== entry.version)].slice(0, mostTried);
  try {
    sessionStorage.setItem(triedKey, JSON.stringify(list));
  } catch {
    return; // a browser may forbid it
  }
  showTried();
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(triedKey)) || [];
  } catch {
    return [];
  }
}

function showTried() {
  const list = remembered();
  tried.hidden = list.length === 0;
  tried.querySelector('ol').replaceChildren(
    ...list.map(({ link, text, version, what }) => {
      const item = document.createElement('li');
      const a = document.createElement('a');
      a.href = link;
      a.textContent = what;
      const b = document.createElement('span');
      b.textContent = `${text} (version ${version})`;
      item.append(a, b);
      return item;
    }),
  );
}

form.addEventListener('change', (event) => {
  if (event.target.value === another) event.target.closest('.field').querySelector('.other').focus();
});
