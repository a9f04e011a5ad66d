"use strict";
// Each operation is tried from this page and written down for other programs.
const key = document.getElementById("key");
const shell = (s) => "'" + s.replaceAll("'", "'\\''") + "'";
const write = {
  curl: (r) => ["curl", ...(r.method === "GET" ? [] : ["-X " + r.method]), shell(r.url), ...r.headers.map(([k, v]) => "-H " + shell(k + ": " + v)),
    ...(r.body === undefined ? [] : ["--data-binary " + shell(r.body)])].join(" \\\n  "),
  Python: (r) => "import requests\n\nr = requests.request(" + [JSON.stringify(r.method), JSON.stringify(r.url), ...(r.headers.length ? ["headers=" + JSON.stringify(Object.fromEntries(r.headers))] : []),
    ...(r.body === undefined ? [] : ["data=" + JSON.stringify(r.body) + ".encode()"])].join(",\n    ") + ")\nprint(r.status_code, r.text)",
  Go: (r) => "req, err := http.NewRequest(" + [JSON.stringify(r.method), JSON.stringify(r.url), r.body === undefined ? "nil" : "strings.NewReader(" + JSON.stringify(r.body) + ")"].join(", ") + ")\nif err != nil {\n\treturn err\n}\n" +
    r.headers.map(([k, v]) => "req.Header.Set(" + JSON.stringify(k) + ", " + JSON.stringify(v) + ")\n").join("") +
    "res, err := http.DefaultClient.Do(req)\nif err != nil {\n\treturn err\n}\ndefer res.Body.Close()",
  JavaScript: (r) => "const r = await fetch(" + JSON.stringify(r.url) + ", " + JSON.stringify({method: r.method, headers: Object.fromEntries(r.headers), body: r.body}, null, 2) + ");\nconsole.log(r.status, await r.text());",
};
for (const form of document.querySelectorAll("form")) {
  const {method, path} = form.dataset, body = form.querySelector("textarea"), kind = form.querySelector(".kind"), language = form.querySelector(".language");
  const [snippet, said] = form.querySelectorAll("pre");
  const request = () => {
    const url = new URL(path.slice(1), document.baseURI);
    for (const input of form.querySelectorAll("[data-query]")) if (input.value !== "") url.searchParams.set(input.dataset.query, input.value);
    const headers = [];
    if (body) headers.push(["Content-Type", kind.value]);
    if (key.value) headers.push(["X-API-Key", key.value]);
    return {method, url: url.href, headers, body: body?.value};
  };
  const show = () => { snippet.textContent = write[language.value](request()); };
  form.addEventListener("input", show);
  key.addEventListener("input", show);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const r = request();
    said.hidden = false;
    said.textContent = "Waiting for the response.";
    try {
      const begun = performance.now(), res = await fetch(r.url, r);
      let text = await res.text();
      const took = Math.round(performance.now() - begun);
      try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* no JSON */ }
      said.textContent = `${res.status} ${res.statusText}, ${took} ms\n\n${text}`;
    } catch (error) {
      said.textContent = `No response: ${error.message}`;
    }
  });
  form.hidden = false;
  show();
}
key.closest("label").hidden = false;
