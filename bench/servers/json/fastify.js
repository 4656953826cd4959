import fastify from 'fastify'

const app = fastify()
app.post('/', (request, reply) => {
  reply.send(request.body)
})
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
