import { createServer } from 'node:http2'

const headers = { ':status': 200, 'content-type': 'text/plain', 'content-length': 13 }
createServer()
  .on('stream', (stream) => {
    stream.respond(headers)
    stream.end('Hello, World!')
  })
  .listen(process.env.PORT, '127.0.0.1')
