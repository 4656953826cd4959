import { createServer } from 'node:http'

const headers = { 'content-type': 'text/plain', 'content-length': 1 << 20 }
const mebibyte = Buffer.alloc(1 << 20, 'x')
createServer({ keepAliveTimeout: 65_000 }, (request, response) => {
  response.writeHead(200, headers).end(mebibyte)
}).listen(process.env.PORT, '127.0.0.1')
