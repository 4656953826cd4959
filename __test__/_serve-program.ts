// serve() in a process of its own, for the tests of its signals. GET /slow is answered once the drain has begun, GET /never is not.
import { serve } from '../index.js'

const draining = new Promise<void>((resolve) => {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.once(signal, () => {
      console.log('draining')
      resolve()
    })
  }
})
const server = await serve({ port: 0 }, async (request) => {
  console.log('handling')
  await draining
  if (request.path === '/never') await new Promise((resolve) => request.signal.addEventListener('abort', resolve))
  return { body: 'answered while draining' }
})
if ('port' in server.listener.address) console.log(`listening on http://127.0.0.1:${server.listener.address.port}`)

const { completed, aborted } = await server.finished
console.log(`completed ${completed}, aborted ${aborted}`)
