import { createServer } from 'node:http'

const chunk = Buffer.alloc(1 << 16)
createServer((request, response) => {
  let left = 1 << 14
  const write = () => {
    while (left-- > 0) if (!response.write(chunk)) return
    response.end()
  }
  response.writeHead(200, { 'content-length': 1 << 30 }).on('drain', write)
  write()
}).listen(process.env.PORT, '127.0.0.1')
