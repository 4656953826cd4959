import { serve } from '../../../index.js'

const headers = { 'content-type': 'text/plain' }
await serve({ port: Number(process.env.PORT) }, () => ({ headers, body: 'Hello, World!' }))
