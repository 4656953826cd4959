import fastify from 'fastify'

const app = fastify()
app.get('/', (request, reply) => {
  reply.type('text/plain').send('Hello, World!')
})
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
