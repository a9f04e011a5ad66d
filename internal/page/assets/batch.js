// A file's records, scored in parts: progress, a table with filters, and the scored file.
// Without it, the form uploads the file and the scored one is downloaded.
'use strict';

const partBytes = 400000; // of text per request; the page's server takes 1 MiB
const partRecords = 5000;
const mostShown = 200; // rows of the table

const upload = document.getElementById('upload');
const element = (id) => document.getElementById(id);

let columns = [];
let given = 0; // how many of the columns are the file's own
let rows = [];
let texts = []; // the scored file, in parts
let name = 'scored.csv';
let stopping = null;

// encodingOf is what a file says itself that it is in, UTF-8 if it is, else what the data
// set's own tables are in.
async function encodingOf(file) {
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  if (first === 0xff && second === 0xfe) return 'utf-16le';
  if (first === 0xfe && second === 0xff) return 'utf-16be';
  const other = upload.dataset.encoding;
  if (!other) return 'utf-8';
  const reader = file.stream().pipeThrough(new TextDecoderStream('utf-8', { fatal: true })).getReader();
  try {
    while (!(await reader.read()).done);
    return 'utf-8';
  } catch {
    return other;
  }
}

// textOf decodes a file.
async function textOf(file) {
  const encoding = await encodingOf(file);
  try {
    return file.stream().pipeThrough(new TextDecoderStream(encoding, { fatal: true }));
  } catch {
    throw new Error(`It is in ${encoding}, which the browser can’t read: save it as “CSV UTF-8”.`);
  }
}

// parts reads a file in parts of whole records, which may have line ends within quotes.
async function* parts(file) {
  const reader = (await textOf(file)).getReader();
  let header = null;
  let rest = '';
  let text = '';
  let records = 0;
  let line = 1; // of the next record
  let first = 0; // line of the part's first record
  let read = 0;
  for (;;) {
    const { done, value } = await reader.read();
    rest += done ? '' : value;
    read += done ? 0 : value.length;
    let from = 0;
    let quoted = false;
    let lines = 0;
    for (let i = 0; i < rest.length; i++) {
      const c = rest[i];
      if (c === '"') quoted = !quoted;
      if (c !== '\n') continue;
      lines++;
      if (quoted) continue;
      const record = rest.slice(from, i + 1);
      from = i + 1;
      if (header === null) header = record;
      else {
        if (!records) first = line;
        text += record;
        records++;
      }
      line += lines;
      lines = 0;
      if (records === partRecords || text.length > partBytes) {
        yield { text: header + text, line: first, read };
        text = '';
        records = 0;
      }
    }
    rest = rest.slice(from);
    if (rest.length > 2 * partBytes) throw new Error(`Line ${line}: a record is longer than ${partBytes} characters; is a quote missing?`);
    if (!done) continue;
    if (header === null) header = rest;
    else if (rest) {
      if (!records) first = line;
      text += rest;
    }
    if (text || !first) yield { text: header + text, line: first || 2, read };
    return;
  }
}

async function score(file, signal) {
  for await (const part of parts(file)) {
    const resp = await fetch(`/batch?line=${part.line}`, { method: 'POST', headers: { 'Content-Type': 'text/csv' }, body: part.text, signal });
    const body = await resp.json();
    if (!resp.ok) throw new Error(body.detail || body.title);
    if (!rows.length) {
      ({ columns, given } = body);
      texts.push(body.csv);
    } else {
      texts.push(body.csv.slice(body.csv.indexOf('\n') + 1));
    }
    rows.push(...body.rows);
    element('bar').value = Math.min(part.read / file.size, 1);
    element('said').textContent = `${rows.length.toLocaleString('en')} records scored`;
    show();
  }
}

// added is the place of a column that scoring has added, by the end of its name.
const added = (ending) => columns.findIndex((c, i) => i >= given && c.endsWith(ending));

// kinds are what the table can be reduced to.
function kinds() {
  const list = [['all records', () => true]];
  const label = added('label');
  if (label >= 0) {
    for (const value of [...new Set(rows.map((r) => r[label]))].filter((v) => v !== '').sort()) {
      list.push([`label ${value}`, (r) => r[label] === value]);
    }
  }
  for (const [ending, text] of [['excluded', 'without a score'], ['warnings', 'with warnings']]) {
    const at = added(ending);
    if (rows.some((r) => r[at])) list.push([text, (r) => r[at] !== '']);
  }
  return list;
}

function show() {
  element('scored').hidden = rows.length === 0;
  if (!rows.length) return;
  const choice = element('kind');
  const list = kinds();
  if (choice.options.length !== list.length) {
    const before = choice.value;
    choice.replaceChildren(...list.map(([text]) => new Option(text, text)));
    choice.value = list.some(([text]) => text === before) ? before : list[0][0];
  }
  const keep = list.find(([text]) => text === choice.value)[1];
  const wanted = element('search').value.trim().toLowerCase();
  const order = [...columns.keys()].slice(given).concat([...columns.keys()].slice(0, given));
  let matching = 0;
  const body = [];
  rows.forEach((row, i) => {
    if (!keep(row) || (wanted && !row.some((v) => v.toLowerCase().includes(wanted)))) return;
    if (++matching > mostShown) return;
    const tr = document.createElement('tr');
    const number = document.createElement('th');
    number.scope = 'row';
    number.textContent = i + 1;
    tr.append(number, ...order.map((c) => {
      const td = document.createElement('td');
      td.textContent = row[c] ?? '';
      if (c >= given) td.className = 'added';
      return td;
    }));
    body.push(tr);
  });
  const head = document.createElement('tr');
  head.append(...['#', ...order.map((c) => columns[c])].map((text) => {
    const th = document.createElement('th');
    th.scope = 'col';
    th.textContent = text;
    return th;
  }));
  document.querySelector('thead').replaceChildren(head);
  document.querySelector('tbody').replaceChildren(...body);
  const number = (n) => n.toLocaleString('en');
  element('shown').textContent = `${number(matching)} of ${number(rows.length)} records${matching > mostShown ? `, the first ${mostShown} shown` : ''}`;
}

function problem(text) {
  element('problem').hidden = text === '';
  element('problem').querySelector('.lines').textContent = text;
}

upload.addEventListener('submit', async (event) => {
  event.preventDefault();
  const file = element('file').files[0];
  if (!file || stopping) return;
  stopping = new AbortController();
  columns = [];
  rows = [];
  texts = [];
  name = `scored-${file.name}`;
  problem('');
  show();
  element('bar').value = 0;
  element('said').textContent = 'Reading';
  element('progress').hidden = false;
  element('stop').hidden = false;
  try {
    await score(file, stopping.signal);
    element('bar').value = 1;
  } catch (error) {
    if (stopping.signal.aborted) element('said').textContent = `Stopped after ${rows.length.toLocaleString('en')} records`;
    else {
      problem(error instanceof TypeError ? (error.message.includes('encoded') || error.message.includes('decod') ? 'It is not UTF-8: save it as “CSV UTF-8”.' : 'The server does not respond; please try again.') : error.message);
      element('said').textContent = rows.length ? `${rows.length.toLocaleString('en')} records before it were scored` : '';
    }
  }
  element('stop').hidden = true;
  stopping = null;
});

element('stop').addEventListener('click', () => stopping?.abort());
element('kind').addEventListener('change', show);
element('search').addEventListener('input', show);
element('download').addEventListener('click', () => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(texts, { type: 'text/csv' }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});
