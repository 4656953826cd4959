// The numbers of docs/crossing.md, each named once. __test__/10.crossing.spec.ts compares them with the native side's.

/** Event kinds: an I/O loop to JavaScript. */
export const EVENT = Object.freeze({
  connection: 1,
  request: 2,
  chunk: 3,
  end: 4,
  'body-failed': 5,
  written: 6,
  sent: 7,
  failed: 8,
  upgraded: 9,
  rejected: 10,
  closed: 11,
  stopped: 12,
} as const)

/** Command kinds: JavaScript to an I/O loop. */
export const COMMAND = Object.freeze({
  send: 1,
  start: 2,
  write: 3,
  finish: 4,
  inform: 5,
  upgrade: 6,
  reset: 7,
  'pull-requests': 8,
  drain: 9,
  close: 10,
  release: 11,
  'pull-connections': 12,
  'drain-all': 13,
  'close-all': 14,
  prepare: 15,
  'read-on': 16,
} as const)

/** Words of an event record, and of a command record. */
export const EVENT_WORDS = 12
export const COMMAND_WORDS = 8
/** The bits of a record's place among the words. Told that it has no others, V8 leaves out what checks a word's place for overflow. */
export const PLACES = 0xffff
/** In place of a length: the bytes travel apart, as the next blob. */
export const BLOB = 0xffffffff
/** Bytes up to so many travel in the shared memory, more of them apart. */
export const INLINE_BYTES = 16 << 10

/** Words of the first command record, which is the queue's own: how many records follow, their bytes, 1 when a flush is arranged. */
export const QUEUE_RECORDS = 0
export const QUEUE_BYTES = 1
export const QUEUE_ARRANGED = 2

/** In a command's first word: the head is a prepared one, named by `aux`. */
export const FLAG_PREPARED = 1 << 8
/** In a command's first word: there are trailers. */
export const FLAG_TRAILERS = 2 << 8
/** In a read-on's first word: the reader has taken all that it was given, and waits. */
export const FLAG_WAITS = 4 << 8
/** In a read-on's first word: the I/O thread need not be woken for it. */
export const FLAG_QUIET = 8 << 8

/** Request flags. */
export const HAS_BODY = 1
export const BODY_COMPLETE = 2
export const SCHEME_HTTPS = 4
export const CAN_UPGRADE = 8

/** Reasons of `reset`. */
export const RESET = Object.freeze({ cancel: 0, refused: 1, internal: 2, 'enhance-your-calm': 3 } as const)

/** Error codes, from 0. */
export const CODES = [
  'ERR_KEY_USED',
  'ERR_KEY_UNKNOWN',
  'ERR_NOT_UPGRADABLE',
  'ERR_BODY_IN_USE',
  'ERR_INVALID_HEADER',
  'ERR_INVALID_STATUS',
  'ERR_BODY_LENGTH_MISMATCH',
  'ERR_INVALID_OPTION',
  'ERR_CLOSED',
  'ERR_ADDRESS_IN_USE',
  'ERR_TLS_CONFIG',
  'ERR_PEER_CLOSED',
  'ERR_PEER_RESET',
  'ERR_BODY_TOO_LARGE',
  'ERR_BODY_TIMEOUT',
  'ERR_WRITE_STALLED',
  'ERR_PROTOCOL',
  'ERR_IO',
] as const

/** Why a connection ended, from 0, and who ended it. */
export const CLOSE_CODES = [
  ['peer-closed', 'peer'],
  ['peer-reset', 'peer'],
  ['drained', 'local'],
  ['closed', 'local'],
  ['exchange-ended', 'local'],
  ['upgraded', 'local'],
  ['bad-request', 'peer'],
  ['protocol-error', 'peer'],
  ['handshake-timeout', 'peer'],
  ['headers-timeout', 'peer'],
  ['body-timeout', 'peer'],
  ['keep-alive-timeout', 'peer'],
  ['write-stalled', 'peer'],
  ['ping-timeout', 'peer'],
  ['io', 'io'],
  ['internal', 'local'],
] as const
export const CLOSE_INTERNAL = CLOSE_CODES.length - 1

/** The counters of `LoopMemory.stats`, before those of the refusals. */
export const COUNTERS = [
  'connectionsOpen',
  'connectionsTotal',
  'requestsTotal',
  'requestsInFlight',
  'responsesSent',
  'responsesFailed',
  'bytesRead',
  'bytesWritten',
] as const

/** Why something was refused before it became a request, from 0. */
export const REFUSALS = [
  'bad-request',
  'target-too-long',
  'head-too-large',
  'method-too-long',
  'body-too-large',
  'unknown-coding',
  'version',
  'too-many-streams',
  'handshake-timeout',
  'headers-timeout',
  'protocol-error',
  'draining',
] as const

/** Methods, from 1. */
export const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'] as const

/** Response fields that are sent as a number, from 0. */
export const HEADER_NAMES = [
  'content-type',
  'content-length',
  'cache-control',
  'date',
  'etag',
  'last-modified',
  'location',
  'set-cookie',
  'vary',
  'server',
  'connection',
  'content-encoding',
  'content-disposition',
  'content-range',
  'accept-ranges',
  'access-control-allow-origin',
  'expires',
  'link',
  'allow',
  'retry-after',
  'age',
  'upgrade',
] as const
