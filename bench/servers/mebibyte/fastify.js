import fastify from 'fastify'

const app = fastify()
const mebibyte = Buffer.alloc(1 << 20, 'x')
app.get('/', (request, reply) => {
  reply.type('text/plain').send(mebibyte)
})
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
