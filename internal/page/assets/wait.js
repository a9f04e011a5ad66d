// The page without a model: asks for one, and goes to the form once there is one.
'use strict';

async function ask() {
  try {
    const resp = await fetch('/model', { cache: 'no-cache' });
    if (resp.ok) {
      location.replace('/');
      return;
    }
    const problem = await resp.json();
    const detail = document.getElementById('detail');
    if (problem.detail && detail.textContent !== problem.detail) detail.textContent = problem.detail;
  } catch {
    // This page's own server is away; the next attempt may reach it again.
  }
  setTimeout(ask, 2000);
}

setTimeout(ask, 2000);
