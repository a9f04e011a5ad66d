// The form with JavaScript: predictions that follow what is typed, marks on changed values,
// and a footer that follows the served model. Without it the form is submitted and comes
// back with the same content. These files make one script, in the order of formScripts.
'use strict';

const form = document.getElementById('record');
const panel = document.getElementById('panel');
const result = document.getElementById('result');
const dock = form.querySelector('.dock');
const about = () => document.getElementById('about'); // replaced when the model changes
const buttons = form.querySelectorAll('button[type=submit]');
const mostErrors = 20; // that a response lists; its detail says whether there are more
const another = '…'; // the list entry for typing another value

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
  return JSON.parse(controlOf(field).list.dataset.names).find(fits)?.[0] ?? '';
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
  if (text && field.closest('details')) field.closest('details').open = true;
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
