import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'

const server = createServer()
const wss = new WebSocketServer({ server, perMessageDeflate: false })
wss.on('connection', (socket) => {
  socket.on('message', (data, binary) => socket.send(data, { binary }))
})
server.listen(process.env.PORT, '127.0.0.1')
