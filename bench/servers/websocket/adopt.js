// How `ws` gets on a stream whose 101 has been sent already; examples/websocket.ts has the whole story.
import { createHash } from 'node:crypto'
import { WebSocketServer } from 'ws'

const wss = new WebSocketServer({ noServer: true, perMessageDeflate: false })

/** RFC 6455 section 4.2.2: what the 101 must say. */
export function accept({ headers }) {
  const key = headers.get('sec-websocket-key')
  return { 'sec-websocket-accept': createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64') }
}

/** Calls back with the WebSocket. The first write of `ws` is a 101 of its own, which is left out. */
export function adopt({ method, headers }, tunnel, callback) {
  const { write } = tunnel
  tunnel.write = () => {
    tunnel.write = write
    return true
  }
  wss.handleUpgrade({ method, headers: headers.toObject() }, tunnel, Buffer.alloc(0), callback)
}
