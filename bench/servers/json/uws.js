import uws from 'uwebsockets'

uws.App().post('/', (response) => {
  let whole = Buffer.alloc(0)
  response.onAborted(() => {})
  response.onData((chunk, last) => {
    whole = Buffer.concat([whole, Buffer.from(chunk)])
    if (!last) return
    response.writeHeader('content-type', 'application/json').end(JSON.stringify(JSON.parse(whole.toString())))
  })
}).listen('127.0.0.1', Number(process.env.PORT), () => {})
