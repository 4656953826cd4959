const options = { port: Number(Deno.env.get('PORT')), hostname: '127.0.0.1', onListen() {} }
const chunk = new Uint8Array(1 << 16)
const headers = { 'content-length': `${1 << 30}` }
function* gibibyte() {
  for (let left = 1 << 14; left > 0; left--) yield chunk
}
Deno.serve(options, () => new Response(ReadableStream.from(gibibyte()), { headers }))
