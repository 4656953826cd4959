import { serve } from '../../../index.js'

const headers = { 'content-type': 'application/json' }
await serve({ port: Number(process.env.PORT) }, async ({ body }) => ({ headers, body: JSON.stringify(await body.json()) }))
