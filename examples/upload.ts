// PUT /name writes the body to a file, at the pace of the disk: a chunk is pulled when the one before has been written.
//   DIRECTORY=/tmp node --import @oxc-node/core/register examples/upload.ts
//   curl -T some-file http://127.0.0.1:8080/
import { createHash } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { serve } from 'hyperpull'
import type { IncomingRequest, OutgoingResponse, RequestBody } from 'hyperpull'

const directory = process.env.DIRECTORY ?? tmpdir()

async function store(body: RequestBody, path: string): Promise<{ bytes: number; sha256: string }> {
  const file = await open(path, 'w')
  const hash = createHash('sha256')
  let bytes = 0
  try {
    for await (const chunk of body) {
      await file.write(chunk)
      hash.update(chunk)
      bytes += chunk.length
    }
  } catch (error) {
    await rm(path, { force: true }) // half an upload is none
    throw error
  } finally {
    await file.close()
  }
  return { bytes, sha256: hash.digest('hex') }
}

async function put(request: IncomingRequest): Promise<OutgoingResponse> {
  const name = basename(decodeURIComponent(request.path))
  if (request.method !== 'PUT' || name === '' || name === '..') return { status: 400, body: 'PUT /name\n' }
  const stored = request.body ? await store(request.body, join(directory, name)) : { bytes: 0 }
  return { status: 201, headers: { 'content-type': 'application/json' }, body: `${JSON.stringify(stored)}\n` }
}

const server = await serve({ port: Number(process.env.PORT ?? 8080), limits: { bodyBytes: 10 * 2 ** 30 } }, put)
const { address } = server.listener
if ('port' in address) console.log(`listening on http://127.0.0.1:${address.port}`)
