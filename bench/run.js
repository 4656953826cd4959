// npm run bench: src/main.ts, with what it needs.
import './prepare.js'

await import('./src/main.ts')
