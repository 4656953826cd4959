import { createServer } from 'node:http'

createServer((request, response) => {
  let length = 0
  request.on('data', (chunk) => (length += chunk.length))
  request.on('end', () => response.end(`${length}`))
}).listen(process.env.PORT, '127.0.0.1')
