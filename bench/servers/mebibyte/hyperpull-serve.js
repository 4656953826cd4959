import { serve } from '../../../index.js'

const headers = { 'content-type': 'text/plain' }
const mebibyte = Buffer.alloc(1 << 20, 'x')
await serve({ port: Number(process.env.PORT) }, () => ({ headers, body: mebibyte }))
