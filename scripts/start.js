// npm start: installs what is missing, builds what is stale, and serves; a line for each reply, with its reply time.
import { build, install } from './steps.js'

install()
build({ onlyStale: true })

const { listen } = await import('../index.js')
const listener = await listen({ port: Number(process.env.PORT ?? 8080) }).catch((error) => {
  console.error(error.message)
  process.exit(1)
})
console.log(`listening on http://${listener.address.host}:${listener.address.port}`)
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => listener.drain())

const headers = { 'content-type': 'text/plain; charset=utf-8' }
for await (const connection of listener) onConnection(connection).catch(console.error)

async function onConnection(connection) {
  for await (const stream of connection) onStream(stream).catch(console.error)
}

async function onStream(stream) {
  for await (const { key, method, target, httpVersion } of stream) {
    try {
      const { receivedAt, sentAt } = await stream.send(key, { headers, body: `Hello, World! You asked for ${target}\n` })
      console.log(`${method} ${target} HTTP/${httpVersion}: reply time ${(sentAt - receivedAt).toFixed(3)} ms`)
    } catch (error) {
      console.log(`${method} ${target} HTTP/${httpVersion}: not sent, ${error.message}`)
    }
  }
}
