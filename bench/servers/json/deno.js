const options = { port: Number(Deno.env.get('PORT')), hostname: '127.0.0.1', onListen() {} }
Deno.serve(options, async (request) => Response.json(await request.json()))
