Bun.serve({
  port: Number(process.env.PORT),
  hostname: '127.0.0.1',
  maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  async fetch(request) {
    let length = 0
    for await (const chunk of request.body) length += chunk.length
    return new Response(`${length}`)
  },
})
