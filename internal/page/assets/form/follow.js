// The footer follows the served model.

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

performance.mark('usable'); // what is typed from here on is predicted

// What remains waits until the form is drawn, in parts that keep nobody waiting.
const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 20));

function furnish(fields, deadline) {
  do {
    const field = fields.shift();
    if (!field) break;
    if ('low' in field.dataset) addSlider(field);
    mark(field); // a browser may have restored what was typed
  } while (fields.length && deadline?.timeRemaining() > 2);
  if (fields.length) {
    idle((next) => furnish(fields, next));
    return;
  }
  outdate();
  showTried();
  document.documentElement.dataset.furnished = '';
  setTimeout(poll, 1000);
}

idle((deadline) => furnish([...form.querySelectorAll('.field')], deadline));
