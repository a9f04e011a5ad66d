// The panel beside the form: a prediction, its reasons and warnings, or what is wrong.

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
    showOutputs(label, probabilities, value, warnings.some(({ kind }) => kind === 'hardly_given') ? null : interval);
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
    const column = panel.dataset.column;
    fill('of', interval ? `${column}, between ${figure(interval[0])} and ${figure(interval[1])}${panel.dataset.coverage}` : column + panel.dataset.nointerval);
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
