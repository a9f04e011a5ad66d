// Checks dashboards/json against the types of @grafana/schema: node schema.mjs FOLDER, where
// npm has installed it and typescript. `make dashboards` runs it.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const dir = process.argv[2];
const types = readFileSync(join(dir, 'node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen.d.ts'), 'utf8');
// A text in JSON is no member of an enum to TypeScript, but one of a union.
const enums = /export (?:declare )?enum (\w+) \{([^}]*)\}/g;
writeFileSync(join(dir, 'types.d.ts'), types.replace(enums, (_, name, members) =>
  `export type ${name} = ${[...members.matchAll(/= *("[^"]*"|-?\d+)/g)].map((m) => m[1]).join(' | ')};`));

const check = (name, text) => {
  writeFileSync(join(dir, name), `import type { Dashboard } from "./types";\nexport const d: Dashboard = ${text};\n`);
  try {
    execFileSync('node', [join(dir, 'node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--skipLibCheck', '--moduleResolution', 'bundler', '--module', 'esnext', join(dir, name)]);
    return '';
  } catch (e) {
    return String(e.stdout || e);
  }
};

const json = join(import.meta.dirname, 'json');
let failed = false;
for (const file of readdirSync(json)) {
  const dashboard = JSON.parse(readFileSync(join(json, file), 'utf8'));
  // What an annotation asks is the data source's own, and no part of the published types.
  for (const a of dashboard.annotations.list ?? []) for (const own of ['expr', 'step', 'titleFormat']) delete a[own];
  const text = JSON.stringify(dashboard, null, 2);
  const problems = check(file.replace('.json', '.ts'), text);
  if (problems) {
    failed = true;
    console.error(`${file} is not what Grafana publishes:\n${problems}`);
  } else if (!check('odd.ts', text.replace('"panels"', '"panes"'))) {
    failed = true;
    console.error(`${file}: a wrong name is not noticed`);
  } else {
    console.log(`${file} fits Grafana's types`);
  }
}
process.exit(failed ? 1 : 0);
