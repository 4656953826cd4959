// The layers point one way: index -> src -> src/binding.ts -> binding.js -> crates/node -> crates/core. Says what does not.
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { root } from './steps.js'

const files = (folder, extension) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(extension))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))

const rules = [
  ['only src/binding.ts imports the generated binding', files('src', '.ts'), /from '\.\.\/binding\.js'/, ['src/binding.ts']],
  ['only the crossing imports src/binding.ts as more than a type', files('src', '.ts'), /import \{[^}]*\} from '\.\/binding\.js'/, ['src/crossing.ts', 'src/listener.ts']],
  ['only the crossing knows the record layout', files('src', '.ts'), /\b(EVENT_WORDS|COMMAND_WORDS|eventBytes|commandBytes)\b/, ['src/crossing.ts', 'src/commands.ts', 'src/layout.ts', 'src/binding.ts']],
  ['the facade does not import the public entry as more than types', files('src', '.ts'), /import (?!type )[^\n]*from '\.\.\/index\.js'/, []],
  ['the core knows no napi', [...files('crates/core', '.rs'), 'crates/core/Cargo.toml'], /\bnapi\b/, []],
  ['the core spawns nothing', files('crates/core/src', '.rs'), /\bspawn(_local|_blocking)?\s*\(/, []],
  ['the addon decides nothing about HTTP', files('crates/node/src', '.rs'), /(==|!=|if let|matches!\()\s*[^;{]*Protocol::Http[12]/, []],
  ['the addon does not know hyper or h2', files('crates/node', '.rs'), /\b(hyper|h2)::/, []],
]

let broken = 0
for (const [rule, paths, pattern, allowed] of rules) {
  for (const path of paths) {
    const line = readFileSync(join(root, path), 'utf8')
      .split('\n')
      .findIndex((text) => pattern.test(text) && !/^\s*(\/\/|\*|#)/.test(text))
    if (line < 0 || allowed.includes(path.replaceAll('\\', '/'))) continue
    console.error(`${path}:${line + 1}: ${rule}`)
    broken++
  }
}
process.exitCode = broken ? 1 : 0
