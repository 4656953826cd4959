const options = { port: Number(Deno.env.get('PORT')), hostname: '127.0.0.1', onListen() {} }
Deno.serve(options, async (request) => {
  let length = 0
  for await (const chunk of request.body) length += chunk.length
  return new Response(`${length}`)
})
