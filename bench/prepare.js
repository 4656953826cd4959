// What the programs of this folder need before they start: the library, this folder's own packages, a loader of TypeScript.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { build, install } from '../scripts/steps.js'

const here = import.meta.dirname

install()
if (!existsSync(join(here, '..', 'dist', 'index.js'))) build()
if (!existsSync(join(here, 'node_modules', '.package-lock.json'))) {
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: here, stdio: ['ignore', 'ignore', 'inherit'] })
  if (status !== 0) throw new Error('npm ci has failed in bench/')
}
await import('@oxc-node/core/register')
