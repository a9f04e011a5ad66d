// Does to the page what a person would, and reports what it shows after each step.
'use strict';

const steps = [];
const send = window.fetch;

function visible(root) {
  const texts = [];
  const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode;
    if (text.parentElement.checkVisibility() && !text.parentElement.closest('.outdated, noscript')) texts.push(text.data);
  }
  return texts.join('');
}

async function until(what, holds) {
  for (let i = 0; i < 150; i++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${what}: waited in vain`);
}

function report(did) {
  const shown = document.getElementById('result');
  const note = document.querySelector('.panel .outdated');
  const connection = document.getElementById('connection');
  steps.push({
    did,
    state: shown.dataset.state,
    outdated: note.checkVisibility() ? note.textContent : '',
    dimmed: [...shown.querySelectorAll(`.when-${shown.dataset.state}`)].some((e) => getComputedStyle(e).opacity < 1),
    text: visible(shown),
    title: document.title,
    odd: [...document.querySelectorAll('.field.odd')].map((f) => f.dataset.column).join(),
    away: connection.checkVisibility() ? connection.textContent : '',
  });
}

function edit(column, value) {
  const control = document.querySelector(`[name="c.${column}"]`);
  control.value = value;
  control.dispatchEvent(new Event('input', { bubbles: true }));
}

async function press() {
  const button = document.querySelector('.panel .primary');
  button.click();
  await until('a prediction', () => !button.hasAttribute('aria-disabled'));
}

const change = (what) => send('/change/' + what, { method: 'POST' });

async function main() {
  report('nothing');
  edit('number_inpatient', '3');
  report('edit before a prediction');
  await press();
  report('predict');
  edit('number_inpatient', '4');
  report('edit another field');
  edit('number_inpatient', '3');
  report('edit it back');
  await change('excluded');
  await press();
  report('predict an excluded record');
  edit('number_inpatient', '5');
  report('edit after that');
  await change('scored');
  await press();
  report('predict again');
  await change('failing');
  await press();
  report('predict on an overloaded server');
  await change('invalid');
  await press();
  report('predict what is invalid');
  await change('garbled');
  await press();
  report('predict behind a broken proxy');
  await change('well');
  window.fetch = (address, ...rest) => (address === '/predict?explain' ? Promise.reject(new TypeError('no connection')) : send(address, ...rest));
  await press();
  report('predict with no connection');
  window.fetch = send;
  await press();
  report('predict when all is well');
  edit('number_inpatient', '6');
  await until('a prediction', () => document.getElementById('tried').querySelectorAll('li').length === 3);
  report('type and wait');
  const choice = document.getElementById('what-if');
  choice.value = 'time_in_hospital';
  choice.dispatchEvent(new Event('change'));
  await until('a curve', () => document.querySelector('#curve svg'));
  steps.push({ did: 'what if', text: document.getElementById('curve').querySelector('p').textContent });
  steps.push({ did: 'link', text: document.getElementById('link').getAttribute('href') });
  steps.push({ did: 'tried', text: visible(document.getElementById('tried')) });
  await change('swapped');
  await until('another version', () => document.getElementById('about').dataset.version === '4');
  report('another version is served');
  await press();
  report('predict with it');
  window.fetch = () => Promise.reject(new TypeError('no connection'));
  await until('the news', () => document.getElementById('connection').checkVisibility());
  report('the server goes away');
}

main()
  .catch((error) => steps.push({ did: String(error) }))
  .then(() => send('/done', { method: 'POST', body: JSON.stringify(steps) }));
