import { createServer } from 'node:http'

const headers = { 'content-type': 'text/plain', 'content-length': 13 }
createServer({ keepAliveTimeout: 65_000 }, (request, response) => {
  response.writeHead(200, headers).end('Hello, World!')
}).listen(process.env.PORT, '127.0.0.1')
