// When a prediction is asked for: by the button, and while somebody types.

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
