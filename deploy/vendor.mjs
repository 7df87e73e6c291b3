// Bundles the browser libraries into static/vendor/, one ES module each, with their licences beside them.
//
// Our own modules are served as they are written. A library is bundled because its dependencies are
// CommonJS, which no browser reads; the result is not committed, and package-lock.json pins its bytes.

import { build } from "esbuild";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const house = join(dirname(fileURLToPath(import.meta.url)), "..");
const vendor = join(house, "static", "vendor");

// The name a page imports, and the package or the list of imports behind it.
const libraries = { livekit: "livekit-client", tus: "tus-js-client", editor: "./deploy/editor.mjs" };

const packageOf = (input) => /^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];

async function licence(name) {
  const folder = join(house, "node_modules", name);
  const about = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file ? await readFile(join(folder, file), "utf8") : "";
  return `${name} ${about.version} (${about.license})\n\n${text.trim()}\n`;
}

await rm(vendor, { recursive: true, force: true });
await mkdir(vendor, { recursive: true });
const { metafile } = await build({
  absWorkingDir: house,
  entryPoints: libraries,
  outdir: vendor,
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  sourcemap: "linked",
  metafile: true,
  logLevel: "warning",
});

const names = [...new Set(Object.keys(metafile.inputs).map(packageOf).filter(Boolean))].sort();
await writeFile(join(vendor, "LICENCES.txt"), (await Promise.all(names.map(licence))).join(`\n${"-".repeat(78)}\n\n`));
