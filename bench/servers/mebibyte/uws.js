import uws from 'uwebsockets'

const mebibyte = Buffer.alloc(1 << 20, 'x')
uws.App()
  .get('/', (response) => {
    response.writeHeader('content-type', 'text/plain').end(mebibyte)
  })
  .listen('127.0.0.1', Number(process.env.PORT), () => {})
