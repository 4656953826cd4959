const options = { port: Number(Deno.env.get('PORT')), hostname: '127.0.0.1', onListen() {} }
const init = { headers: { 'content-type': 'text/plain' } }
const mebibyte = new Uint8Array(1 << 20).fill(120)
Deno.serve(options, () => new Response(mebibyte, init))
