// The form with JavaScript: predictions that follow what is typed, marks on changed values,
// and a footer that follows the served model. Without it the form is submitted and comes
// back with the same content.
'use strict';

const form = document.getElementById('record');
const panel = document.getElementById('panel');
const result = document.getElementById('result');
const dock = form.querySelector('.dock');
const about = () => document.getElementById('about'); // replaced when the model changes
const buttons = form.querySelectorAll('button[type=submit]');
const mostErrors = 20; // that a response lists; its detail says whether there are more
const another = '…'; // the list entry for typing another value

// Fields

const controlOf = (field) => field.querySelector('select, input');

function valueOf(field) {
  const control = controlOf(field);
  const typed = control.value === another ? field.querySelector('.other') : control;
  return typed.value.trim();
}

const labelOf = (field) => field.querySelector('label').firstChild.textContent.trim();

// nameOf is what people call a value that is typed; the first name that fits counts.
function nameOf(field, value) {
  const fits = ([, from, to]) => (to === undefined ? value.startsWith(from) : value !== '' && value >= from && value < to);
  return JSON.parse(field.dataset.names).find(fits)?.[0] ?? '';
}

function mark(field) {
  moveSlider(field);
  const changed = valueOf(field) !== field.dataset.sample;
  field.classList.toggle('changed', changed);
  const was = field.querySelector('.was');
  if (was) was.hidden = !changed;
  const meaning = field.querySelector('.meaning');
  if (meaning) meaning.textContent = nameOf(field, valueOf(field));
  const group = field.closest('.compact');
  if (group) field.classList.toggle('usual', valueOf(field) === group.dataset.common);
}

// Sliders

// addSlider puts a slider below a number: a second way to set it, over the values that
// training saw. The number is what counts, and may lie outside of that.
function addSlider(field) {
  const { low, high, step } = field.dataset;
  const control = controlOf(field);
  const slider = document.createElement('input');
  Object.assign(slider, { type: 'range', className: 'slider', min: low, max: high, step: 'any' });
  slider.setAttribute('aria-label', `${labelOf(field)}, slider from ${low} to ${high}`);
  slider.title = `${low} to ${high} in training`;
  const snap = (x) => Math.min(Math.max(Math.round(x / step) * step, low), high);
  const set = (x) => {
    control.value = String(Number(snap(x).toPrecision(12)));
    control.dispatchEvent(new Event('input', { bubbles: true }));
  };
  slider.addEventListener('input', (event) => {
    event.stopPropagation();
    set(Number(slider.value));
  });
  slider.addEventListener('keydown', (event) => {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
    if (!by) return; // Home and End are the browser's
    event.preventDefault();
    set(Number(slider.value) + by * step);
  });
  control.after(slider);
  moveSlider(field);
}

// moveSlider has a field's slider show the field's number.
function moveSlider(field) {
  const slider = field.querySelector('.slider');
  if (!slider) return;
  const value = valueOf(field);
  slider.value = value === '' ? (Number(slider.min) + Number(slider.max)) / 2 : value;
  slider.classList.toggle('unset', value === '');
  slider.setAttribute('aria-valuetext', value || 'unknown');
}

function setError(field, text) {
  const error = field.querySelector('.error');
  error.textContent = text;
  error.hidden = text === '';
  field.classList.toggle('wrong', text !== '');
  if (text) controlOf(field).setAttribute('aria-invalid', 'true');
  else controlOf(field).removeAttribute('aria-invalid');
}

function setWarning(field, text) {
  const warning = field.querySelector('.warning');
  warning.textContent = text;
  warning.hidden = text === '';
  field.classList.toggle('odd', text !== '');
}

function fieldOf(column) {
  return [...form.querySelectorAll('.field')].find((f) => f.dataset.column === column);
}

// record is what the API accepts: text as in the table, without missing values.
function record() {
  const r = {};
  for (const input of form.querySelectorAll('input[type=hidden][name^="c."]')) r[input.name.slice(2)] = input.value;
  for (const field of form.querySelectorAll('.field')) {
    const value = valueOf(field);
    if (value) r[field.dataset.column] = value;
  }
  return r;
}

// Result

const percent = (p) => {
  if (p > 0 && p < 0.0005) return '< 0.1%';
  if (p < 1 && p >= 0.9995) return '> 99.9%';
  return (100 * p).toFixed(1) + '%';
};
const place = (p) => (100 * Math.min(Math.max(p, 0), 1)).toFixed(2) + '%';
const points = (d) => {
  if (Math.abs(d) < 1e-5) return 'none';
  const text = (100 * Math.abs(d)).toFixed(1);
  if (text === '0.0') return 'less than 0.1 points';
  return (d < 0 ? '−' : '+') + text + ' points';
};

function fill(name, text) {
  for (const e of form.querySelectorAll(`[data-fill=${name}]`)) e.textContent = text;
}

// setState shows one of the panel's contents, for the record that was asked about.
function setState(state, title) {
  result.dataset.state = dock.dataset.state = state;
  titleOfAnswer = `${title} · ${panel.dataset.title}`;
  outdate();
}

// canonical is a record as text, the same for the same values.
const canonical = (r) => JSON.stringify(Object.entries(r).sort(([a], [b]) => (a < b ? -1 : 1)));

let asked = result.dataset.asked ? canonical(JSON.parse(result.dataset.asked)) : null; // the record that the panel is about
let titleOfAnswer = document.title;
let answeredBy = about().dataset.run; // the run of the version that answered

// outdate says when what the panel shows is not the answer to what the form holds, or
// is another version's than the one that is served.
function outdate() {
  const shown = ['predicted', 'excluded', 'problem'].includes(result.dataset.state);
  const answered = shown && result.dataset.state !== 'problem';
  let text = '';
  if (shown && asked !== null && canonical(record()) !== asked) text = 'The form has changed since. Predict again.';
  else if (answered && answeredBy !== about().dataset.run) text = `Version ${about().dataset.version} is served now. Predict again.`;
  if (panel.querySelector('[data-fill=outdated]').textContent !== text) fill('outdated', text);
  for (const e of [panel, dock]) e.classList.toggle('is-outdated', text !== '');
  document.title = text ? panel.dataset.title : titleOfAnswer;
  document.getElementById('link').href = linkOf();
}

function showAnswer(answer) {
  const [{ label, probability, probabilities, value, interval, excluded, warnings = [], contributions }] = answer.predictions;
  answeredBy = answer.model.run_id;
  showWarnings(warnings);
  showReasons(contributions);
  fill('answered', `${answer.model.name}, version ${answer.model.version}`);
  if (excluded) {
    fill('excluded', excluded);
    emptyScale();
    setState('excluded', 'No score');
    return;
  }
  if (probabilities || value !== undefined) {
    showOutputs(label, probabilities, value, interval);
    return;
  }
  const positive = label === 1;
  fill('probability', percent(probability));
  fill('position', position(probability));
  fill('label', positive ? panel.dataset.positive : panel.dataset.negative);
  fill('side', positive ? 'at or above the threshold' : 'below the threshold');
  if ('average' in panel.dataset) fill('against', against(probability, Number(panel.dataset.average)));
  fill('experience', positive ? panel.dataset.above : panel.dataset.below);
  if ('stored' in panel.dataset) fill('difference', points(probability - Number(panel.dataset.stored)));
  panel.querySelector('.chip').classList.toggle('positive', positive);
  const bar = panel.querySelector('.scale .fill');
  bar.setAttribute('width', place(probability));
  bar.classList.toggle('positive', positive);
  describeScale(` and the prediction at ${percent(probability)}`);
  setState('predicted', percent(probability));
}

// position places an output among those of the test rows, which the panel has as
// quantiles.
function position(x) {
  if (!('quantiles' in panel.dataset)) return '';
  const quantiles = JSON.parse(panel.dataset.quantiles);
  let below = quantiles.findIndex((q) => !(q < Math.fround(x)));
  if (below < 0) below = quantiles.length;
  if (below === 0) return 'No higher than for any test record.';
  if (below === quantiles.length) return 'Higher than for every test record.';
  return `Higher than for ${Math.max(Math.floor((100 * below) / quantiles.length), 1)} of 100 test records.`;
}

// against compares a probability with the average of the test rows.
function against(probability, average) {
  const times = probability / average;
  if (times >= 0.95 && times < 1.05) return `about the average of ${percent(average)}`;
  return `${times.toFixed(times >= 10 ? 0 : 1)} times the average of ${percent(average)}`;
}

const scales = {
  'log-odds': 'What each value multiplies the odds by, against the average record',
  log: 'What each value multiplies the prediction by, against the average record',
  score: 'What each value adds to the class’s score, against the average record',
  value: 'What each value adds to the prediction, against the average record',
};

// readable is a value in words if it is an interval, such as [10-20), else the value.
function readable(value) {
  const m = value.match(/^([[(])\s*(-?[0-9.]+)\s*[-,;]\s*(-?[0-9.]+)\s*([\])])$/);
  return m ? `${m[1] === '(' ? 'over ' : ''}${m[2]} to ${m[4] === ')' ? 'under ' : ''}${m[3]}` : value;
}

// showReasons draws the largest contributions from the middle: raising ones to the
// right, lowering ones to the left.
function showReasons(contributions) {
  const { scale, features = [] } = contributions || {};
  const shown = features.filter(({ contribution }) => contribution !== 0);
  const largest = Math.max(...shown.map(({ contribution }) => Math.abs(contribution)));
  const svg = (name, attributes) => {
    const e = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
    return e;
  };
  const span = (kind, ...content) => {
    const e = document.createElement('span');
    e.className = kind;
    e.append(...content);
    return e;
  };
  const items = shown.map(({ label, value, name, contribution: c }) => {
    const item = document.createElement('li');
    const width = (50 * Math.abs(c)) / largest;
    const amount = scale.startsWith('log') ? `×${Math.exp(c).toFixed(2)}` : (c < 0 ? '−' : '+') + Number(Math.abs(c).toPrecision(3));
    const bar = svg('svg', { class: 'bar', width: '100%', height: '8', 'aria-hidden': 'true' });
    bar.append(
      svg('rect', { class: c > 0 ? 'up' : 'down', x: `${(c < 0 ? 50 - width : 50).toFixed(2)}%`, y: '1', width: `${width.toFixed(2)}%`, height: '6', rx: '2' }),
      svg('line', { x1: '50%', x2: '50%', y1: '0', y2: '8' }),
    );
    item.append(span('reason-name', `${label}: `, span('muted', value === null ? name || 'unknown' : name ? `${value} · ${name}` : readable(String(value)))), ' ', span('reason-amount', amount), bar);
    return item;
  });
  panel.querySelector('[data-fill=reasons]').replaceChildren(...items);
  fill('scale', scales[scale] || '');
  document.getElementById('reasons').hidden = items.length === 0;
}

// showOutputs shows a prediction of several classes, or of a value.
function showOutputs(label, probabilities, value, interval) {
  const figure = (x) => String(Number(x.toPrecision(6)));
  let number;
  if (probabilities) {
    number = percent(probabilities[label]);
    const others = Object.entries(probabilities).filter(([name]) => name !== label);
    others.sort(([a, p], [b, q]) => q - p || (a < b ? -1 : 1));
    fill('label', label);
    fill('of', `probability of “${label}”` + others.slice(0, 2).map(([name, p]) => `, ${name} ${percent(p)}`).join(''));
  } else {
    number = figure(value);
    fill('position', position(value));
    fill('of', `${panel.dataset.column}, between ${figure(interval[0])} and ${figure(interval[1])}${panel.dataset.coverage}`);
  }
  fill('probability', number);
  setState('predicted', number);
}

// lineOf is what the panel says of a column: a link to its field, and the detail.
function lineOf(column, detail) {
  const item = document.createElement('li');
  const field = column && fieldOf(column);
  if (!field) {
    item.textContent = column ? `${column}: ${detail}` : detail;
    return item;
  }
  const link = document.createElement('a');
  link.href = '#' + controlOf(field).id;
  link.textContent = labelOf(field);
  item.append(link, ': ' + detail);
  return item;
}

function showWarnings(warnings) {
  for (const field of form.querySelectorAll('.field.odd')) setWarning(field, '');
  const list = panel.querySelector('[data-fill=warnings]');
  list.replaceChildren(...warnings.map(({ column, detail }) => lineOf(column, detail)));
  document.getElementById('warnings').hidden = warnings.length === 0;
  fill('warned', warnings.length ? `, ${warnings.length} warning${warnings.length === 1 ? '' : 's'}` : '');
  for (const { column, detail } of warnings) {
    const field = column && fieldOf(column);
    if (field) setWarning(field, detail);
  }
}

function describeScale(more) {
  if (!panel.querySelector('.scale')) return; // only two outcomes have one
  const threshold = panel.querySelector('[data-fill=threshold]').textContent;
  panel.querySelector('.scale').setAttribute('aria-label', `Scale from 0 to 100 percent with the threshold at ${threshold}${more}`);
}

function emptyScale() {
  panel.querySelector('.scale .fill')?.setAttribute('width', '0');
  describeScale('');
}

// showProblem takes application/problem+json.
function showProblem({ title, detail, errors = [] }) {
  fill('problem', title || 'The prediction failed');
  fill('detail', errors.length && errors.length < mostErrors ? '' : detail || ''); // the list says the same
  panel.querySelector('[data-fill=errors]').replaceChildren(...errors.map((e) => lineOf(e.field, e.detail)));
  for (const { field: column, detail: text } of errors) {
    const field = column && fieldOf(column);
    if (field) setError(field, text);
  }
  showWarnings([]);
  showReasons();
  emptyScale();
  setState('problem', 'Error');
}

// Predicting

let asking = null; // stops the request under way
let timer = 0; // of a prediction while typing
const typingPause = 400; // ms without a change after which a prediction is asked for

// wrongFields are the fields whose values the form itself knows to be wrong.
function wrongFields() {
  const wrong = [];
  for (const field of form.querySelectorAll('.field')) {
    const control = controlOf(field);
    if ('required' in field.dataset && !valueOf(field)) wrong.push({ field: field.dataset.column, detail: 'is required' });
    else if (!control.checkValidity()) wrong.push({ field: field.dataset.column, detail: control.validationMessage });
  }
  return wrong;
}

async function predict(signal) {
  for (const field of form.querySelectorAll('.field')) setError(field, '');
  const now = record();
  let resp;
  try {
    resp = await fetch('/predict?explain', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(now),
      signal: AbortSignal.any([signal, AbortSignal.timeout(15000)]),
    });
  } finally {
    if (!signal.aborted) asked = canonical(now); // whatever the panel shows from here on is about this record
  }
  let body;
  try {
    body = await resp.json();
  } catch {
    if (signal.aborted) return;
    showProblem({ title: 'The server’s response can’t be read', detail: `It has status ${resp.status}. Your input is still here; please try again.` });
    return;
  }
  if (signal.aborted) return;
  if (!resp.ok) {
    showProblem(body);
    return;
  }
  if (body.model.run_id !== about().dataset.run) await follow();
  refreshPanel();
  showAnswer(body);
  remember(body);
  await showCurve();
}

// ask predicts, and gives up the request before it: only the last one counts.
async function ask() {
  clearTimeout(timer);
  asking?.abort();
  const own = new AbortController();
  asking = own;
  panel.classList.add('is-busy');
  for (const b of buttons) b.setAttribute('aria-disabled', 'true');
  try {
    await predict(own.signal);
  } catch {
    if (!own.signal.aborted) showProblem({ title: 'The server does not respond', detail: 'Your input is still here; please try again.' });
  }
  if (asking !== own) return;
  asking = null;
  panel.classList.remove('is-busy');
  for (const b of buttons) b.removeAttribute('aria-disabled');
}

form.noValidate = true; // show errors beside their fields, not in bubbles
form.addEventListener('submit', (event) => {
  event.preventDefault();
  const wrong = wrongFields();
  if (wrong.length) {
    clearTimeout(timer);
    asking?.abort();
    asked = canonical(record());
    showProblem({ title: 'Some values are invalid', errors: wrong });
    controlOf(fieldOf(wrong[0].field)).focus();
    return;
  }
  ask();
});

// While somebody types, a prediction follows the form; a value that is not finished yet
// is no error.
form.addEventListener('input', (event) => {
  const field = event.target.closest('.field');
  if (!field) return;
  setError(field, '');
  setWarning(field, '');
  mark(field);
  outdate();
  clearTimeout(timer);
  asking?.abort();
  if (canonical(record()) === asked && result.dataset.state !== 'problem') return;
  timer = setTimeout(() => {
    if (!wrongFields().length) ask();
  }, typingPause);
});

// What if

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

// The served model

let seen = null; // the last response of /model
let fresh = null; // the page of a newer model, while the panel still shows an older one's prediction

// follow replaces the footer with the server's current one. A prediction on display
// keeps the threshold it was made with, until the next one.
async function follow() {
  const resp = await fetch(location.pathname + location.search, { cache: 'no-store' });
  if (!resp.ok) return;
  const page = new DOMParser().parseFromString(await resp.text(), 'text/html');
  const swapped = page.getElementById('about').dataset.run !== about().dataset.run;
  about().replaceWith(page.getElementById('about'));
  if (!swapped) return;
  fresh = page;
  if (result.dataset.state !== 'predicted') refreshPanel();
  outdate();
  document.getElementById('stale').hidden = page.getElementById('record').dataset.signature === form.dataset.signature;
}

// refreshPanel adopts the threshold of the model that is served now, and what its test
// rows say. The sample's
// stored probability is another version's, so it is no longer compared.
function refreshPanel() {
  if (!fresh) return;
  for (const old of panel.querySelectorAll('.scale [data-at=threshold]')) {
    old.replaceWith(fresh.querySelector(`.scale ${old.tagName}[data-at=threshold]`));
  }
  const threshold = fresh.querySelector('[data-fill=threshold]');
  if (threshold) fill('threshold', threshold.textContent);
  for (const [name, text] of Object.entries(fresh.getElementById('panel').dataset)) panel.dataset[name] = text;
  delete panel.dataset.stored;
  for (const e of panel.querySelectorAll('.stored')) e.remove();
  describeScale('');
  fresh = null;
}

function setAway(text) {
  const connection = document.getElementById('connection');
  about().classList.toggle('away', text !== '');
  if (connection.textContent !== text) connection.textContent = text;
  connection.hidden = text === '';
}

async function poll() {
  try {
    if (!document.hidden) {
      const resp = await fetch('/model', { cache: 'no-cache' });
      const body = await resp.json();
      if (resp.ok) {
        const now = JSON.stringify([body.model, body.refused, body.loaded_at]);
        const changed = seen === null ? body.model.run_id !== about().dataset.run : now !== seen;
        if (changed) await follow();
        seen = now;
        setAway('');
      } else {
        setAway(`${body.title}. Trying again.`);
      }
    }
  } catch {
    setAway('This page’s server does not respond. Trying again.');
  }
  setTimeout(poll, 3000);
}

for (const field of form.querySelectorAll('.field[data-low]')) addSlider(field);
for (const field of form.querySelectorAll('.field')) mark(field); // a browser may have restored what was typed
outdate();
showTried();
setTimeout(poll, 1000);
