// 103 Early Hints: the client can fetch the style sheet while the page is still being made.
//   node --import @oxc-node/core/register examples/early-hints.ts
//   curl -v http://127.0.0.1:8080/
import { serve } from 'hyperpull'
import type { IncomingRequest, OutgoingResponse } from 'hyperpull'

async function page(request: IncomingRequest): Promise<OutgoingResponse> {
  if (request.path === '/style.css') return { headers: { 'content-type': 'text/css' }, body: 'body { font: 2em serif }' }
  const { stream, key, httpVersion } = request
  if (httpVersion !== '1.0') await stream.inform(key, 103, { link: '</style.css>; rel=preload; as=style' })
  const body = await slowPage()
  return { headers: { 'content-type': 'text/html', link: '</style.css>; rel=preload; as=style' }, body }
}

/** Stands for the database that a page waits for. */
async function slowPage(): Promise<string> {
  await new Promise((resolve) => setTimeout(resolve, 100))
  return '<!doctype html><title>Hints</title><link rel=stylesheet href=/style.css><p>Hello'
}

const server = await serve({ port: Number(process.env.PORT ?? 8080) }, page)
const { address } = server.listener
if ('port' in address) console.log(`listening on http://127.0.0.1:${address.port}`)
