import uws from 'uwebsockets'

uws.App().any('/*', (response) => {
  let length = 0
  response.onAborted(() => {})
  response.onData((chunk, last) => {
    length += chunk.byteLength
    if (last) response.end(`${length}`)
  })
}).listen('127.0.0.1', Number(process.env.PORT), () => {})
