// The Rust programs of this folder: the servers without JavaScript, and the load that other tools do not make.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

type Crate = 'core' | 'hyper' | 'loadgen'

const here = join(import.meta.dirname, '..', '..')
const failed = new Map<Crate, string | null>()

export const native = {
  path: (crate: Crate): string => join(here, 'target', 'release', `bench-${crate}`),

  /** Builds it, once, if that was not done; why it could not be. */
  missing(crate: Crate): string | null {
    if (!failed.has(crate)) failed.set(crate, build(crate))
    return failed.get(crate) ?? null
  },
}

function build(crate: Crate): string | null {
  const { status, error } = spawnSync('cargo', ['build', '--release', '--locked', '--quiet'], { cwd: join(here, crate), stdio: ['ignore', 'ignore', 'inherit'] })
  if (status === 0 && existsSync(native.path(crate))) return null
  return error ? `cargo could not be run: ${error.message}` : `bench/${crate} could not be built`
}
