// Which status may be sent where (RFC 9110 section 15).

import { inspect } from 'node:util'

import { PullError } from './errors.js'

/** A final status, with a body of `length` bytes (-1: not known). */
export function checkFinal(status: number, length: number): void {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new PullError('ERR_INVALID_STATUS', `${inspect(status)} is not a final status (200 to 599): 1xx is sent by inform, 101 by upgrade`)
  }
  if ((status === 204 || status === 205) && length > 0)
    throw new PullError('ERR_BODY_LENGTH_MISMATCH', `a ${status} has no body (RFC 9110 section 15.3)`)
}

export function checkInterim(status: number, httpVersion: string): void {
  if (!Number.isInteger(status) || status < 100 || status > 199 || status === 101) {
    throw new PullError('ERR_INVALID_STATUS', `${inspect(status)} is not an interim status (1xx); 101 is sent by upgrade`)
  }
  if (httpVersion === '1.0') throw new PullError('ERR_INVALID_STATUS', 'HTTP/1.0 has no interim responses (RFC 9110 section 15.2)')
}

/** `switches`: the stream is left by 101 (RFC 9110 section 7.8), not by a 2xx to CONNECT. */
export function checkUpgrade(status: number, switches: boolean): void {
  if (Number.isInteger(status) && (switches ? status === 101 : status >= 200 && status <= 299)) return
  throw new PullError('ERR_INVALID_STATUS', `${inspect(status)} does not leave HTTP here: ${switches ? '101' : '2xx'} does`)
}
