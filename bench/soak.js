// npm run soak: src/soak/main.ts, with what it needs.
import './prepare.js'

await import('./src/soak/main.ts')
