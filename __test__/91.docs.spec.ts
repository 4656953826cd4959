// What the documents say of this repository: their links lead somewhere, and their snippets fit the interface. (Those of the crate are
// its documentation tests.)
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { root, tool } from './_process.js'

const markdown = (folder: string) => readdirSync(join(root, folder)).filter((name) => name.endsWith('.md')).map((name) => join(folder, name))
const documents = ['', 'docs', 'docs/decisions', 'bench', 'crates/core', 'crates/core/examples'].flatMap(markdown)

test('every link to a file leads to one', (t) => {
  const links = documents.flatMap((document) =>
    Array.from(readFileSync(join(root, document), 'utf8').matchAll(/\]\((?!https?:)([^)#]+)/g), ([, link]) => ({ document, link: link! })),
  )
  t.deepEqual(links.filter(({ document, link }) => !existsSync(join(root, dirname(document), link))), [])
  t.true(links.length > 100)
})

test('every snippet in JavaScript or TypeScript fits the interface', async (t) => {
  // Within the package, so that `hyperpull` is this one.
  mkdirSync(join(root, 'target'), { recursive: true })
  const folder = mkdtempSync(join(root, 'target', 'snippets-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const files = documents.flatMap((document) =>
    Array.from(readFileSync(join(root, document), 'utf8').matchAll(/^( *)```(js|ts)\n(.+?)^\1```$/gms), ([, indent, language, text], i) => {
      const file = join(folder, `${document.replaceAll(/\W/g, '-')}-${i}.${language === 'js' ? 'mjs' : 'd.ts'}`)
      writeFileSync(file, text!.replaceAll(new RegExp(`^${indent}`, 'gm'), ''))
      return file
    }),
  )
  t.is(files.length, 5)
  const flags = '--ignoreConfig --noEmit --checkJs --noImplicitAny false --module nodenext --target es2022 --lib es2023,esnext.disposable --types node'
  const { code, stdout } = await tool(process.execPath, ['node_modules/typescript/bin/tsc', ...flags.split(' '), ...files])
  t.is(code, 0, stdout)
})
