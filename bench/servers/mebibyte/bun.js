const init = { headers: { 'content-type': 'text/plain' } }
const mebibyte = new Uint8Array(1 << 20).fill(120)
Bun.serve({
  port: Number(process.env.PORT),
  hostname: '127.0.0.1',
  fetch: () => new Response(mebibyte, init),
})
