// What the package weighs, and that it needs nothing.

import assert from "node:assert/strict"
import { test } from "node:test"
import { brotliCompressSync, constants, gzipSync } from "node:zlib"
import { build } from "esbuild"

const LIMIT = 6_000

test("the client is one module of at most 6 kB compressed", async () => {
  const { outputFiles, metafile } = await build({
    entryPoints: ["dist/latchkey.js"],
    bundle: true,
    minify: true,
    format: "esm",
    write: false,
    metafile: true,
    platform: "browser",
  })
  const [{ contents }] = outputFiles
  const gzip = gzipSync(contents, { level: 9 }).length
  const brotli = brotliCompressSync(contents, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).length
  console.log(`minified ${contents.length}, gzip ${gzip}, brotli ${brotli} bytes`)
  assert.ok(gzip <= LIMIT, `${gzip} bytes`)
  assert.ok(brotli <= LIMIT, `${brotli} bytes`)
  assert.deepEqual(Object.keys(metafile.inputs), ["dist/latchkey.js"])
})
