// The checksum of a body that is made while it is sent can only stand behind it. Checks the checksum of an upload likewise.
//   node --import @oxc-node/core/register examples/trailers.ts
//   curl -v -H 'te: trailers' http://127.0.0.1:8080/
import { createHash } from 'node:crypto'
import type { Hash } from 'node:crypto'
import { serve } from 'hyperpull'
import type { IncomingRequest, OutgoingResponse } from 'hyperpull'

async function* hashed(chunks: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>, hash: Hash): AsyncGenerator<string | Uint8Array> {
  for await (const chunk of chunks) {
    hash.update(chunk)
    yield chunk
  }
}

async function respond(request: IncomingRequest): Promise<OutgoingResponse> {
  if (request.body) {
    const received = createHash('sha256').update(await request.body.bytes()).digest('hex')
    const declared = (await request.body.trailers)?.get('x-sha256')
    return declared === received ? { body: 'the checksum fits\n' } : { status: 400, body: 'the checksum does not fit\n' }
  }
  const hash = createHash('sha256')
  const lines = Array.from({ length: 1000 }, (_, i) => `line ${i}\n`)
  return {
    headers: { 'content-type': 'text/plain', trailer: 'x-sha256' },
    body: hashed(lines, hash),
    trailers: () => ({ 'x-sha256': hash.digest('hex') }),
  }
}

const server = await serve({ port: Number(process.env.PORT ?? 8080) }, respond)
const { address } = server.listener
if ('port' in address) console.log(`listening on http://127.0.0.1:${address.port}`)
