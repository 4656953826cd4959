// The public entry: every name that users may import. index.d.ts is its contract.
export { Connection, IncomingRequest, Listener, PullError, Stream, listen, prepareHead, serve } from './dist/index.js'
