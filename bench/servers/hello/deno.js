const options = { port: Number(Deno.env.get('PORT')), hostname: '127.0.0.1', onListen() {} }
const init = { headers: { 'content-type': 'text/plain' } }
Deno.serve(options, () => new Response('Hello, World!', init))
