const chunk = new Uint8Array(1 << 16)
async function* gibibyte() {
  for (let left = 1 << 14; left > 0; left--) yield chunk
}
Bun.serve({
  port: Number(process.env.PORT),
  hostname: '127.0.0.1',
  fetch: () => new Response(gibibyte(), { headers: { 'content-length': `${1 << 30}` } }),
})
