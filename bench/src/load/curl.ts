// curl: one large body, up or down.
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tool } from './tool.ts'

export const GIBIBYTE = 1 << 30

/** A sparse file to upload; the caller removes it. */
export async function gibibyteFile(): Promise<AsyncDisposable & { readonly path: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'hyperpull-bench-'))
  const path = join(folder, 'gibibyte')
  await writeFile(path, '')
  await truncate(path, GIBIBYTE)
  return { path, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) }
}

/** Seconds that it took. Rejects when not every byte has come. */
export async function transfer(port: number, upload: string | null): Promise<number> {
  const format = '%{http_code} %{size_upload} %{size_download} %{time_total}'
  const flags = ['-sS', '--http1.1', '-o', '/dev/null', '-w', format, ...(upload === null ? [] : ['-T', upload, '-H', 'expect:'])]
  const [status, up, down, seconds] = (await tool(['curl', ...flags, `http://127.0.0.1:${port}/`])).split(' ').map(Number)
  const moved = upload === null ? down : up
  if (status !== 200 || moved !== GIBIBYTE) throw new Error(`curl got a ${status} and moved ${moved} bytes`)
  return seconds!
}
