// Streams each request body back. A chunk is pulled when the client has taken the one before: a slow reader slows its own upload.
//   node --import @oxc-node/core/register examples/echo.ts
//   curl -T some-file http://127.0.0.1:8080/
import { serve } from 'hyperpull'

const server = await serve({ port: Number(process.env.PORT ?? 8080) }, (request) => ({
  headers: { 'content-type': request.headers.get('content-type') ?? 'application/octet-stream' },
  body: request.body,
}))
const { address } = server.listener
if ('port' in address) console.log(`listening on http://127.0.0.1:${address.port}`)
