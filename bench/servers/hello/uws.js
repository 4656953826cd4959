import uws from 'uwebsockets'

uws.App()
  .get('/', (response) => {
    response.writeHeader('content-type', 'text/plain').end('Hello, World!')
  })
  .listen('127.0.0.1', Number(process.env.PORT), () => {})
