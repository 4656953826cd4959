// Checked by `npm run check:types`, never run. That src keeps what index.d.ts promises: every class by its `implements` clause
// there, and here the functions and the set of public names.

import type * as contract from '../../index.js'
import * as source from '../../src/index.js'

type Names = keyof typeof contract

const functions: Pick<typeof contract, 'listen' | 'prepareHead' | 'serve'> = source

/** Instances: private state apart, the source's class is the contract's. */
type Instances = {
  [Name in Extract<Names, 'Listener' | 'Connection' | 'Stream' | 'IncomingRequest' | 'PullError'>]: (typeof contract)[Name]['prototype']
}
const instances: Instances = {
  Listener: source.Listener.prototype,
  Connection: source.Connection.prototype,
  Stream: source.Stream.prototype,
  IncomingRequest: source.IncomingRequest.prototype,
  PullError: source.PullError.prototype,
}

/** No name is missing on either side. */
const sameNames: [Names] extends [keyof typeof source] ? ([keyof typeof source] extends [Names] ? true : never) : never = true

export { functions, instances, sameNames }
