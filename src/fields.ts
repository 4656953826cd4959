// Hot: runs for every response. Checks field sections while it copies them into the command buffer; nothing is
// allocated for a plain object of known names and short values. A field that is sent again and again is copied as it was
// encoded the first time.
//
// A field on the wire (docs/crossing.md): u16 name · u16 value length · name bytes · value bytes, little endian.

import type * as contract from '../index.js'
import { PullError } from './errors.js'
import { HEADER_NAMES } from './layout.js'
import { Memory, type Written } from './raw.js'

type HeadersLike = contract.HeadersLike

/** Where a section stands, which decides what may be in it: bits, or'ed. */
export const ON_H2 = 1
export const IN_TRAILERS = 2
export const IN_INTERIM = 4
export const IN_UPGRADE = 8
/** A status without a body and without Content-Length (RFC 9110 section 8.6). */
export const NO_CONTENT = 16
/** The head of a body that goes in chunks: its length, though it is known, is told by the caller or not at all. */
export const IN_CHUNKS = 32
// V8 does not fold what is exported, but it does fold this.
const TRAILERS: number = IN_TRAILERS

/** What a field name means to the framing. */
const PLAIN = 0
/** Not in trailers (RFC 9110 section 6.5.1). */
const HEAD_ONLY = 1
const LENGTH = 2
const CONNECTION = 3
/** One hop's affair: not on HTTP/2 (RFC 9113 section 8.2.2). */
const HOP = 4
/** The framing is hyperpull's own. */
const NEVER = 5

const ROLES = new Map([
  ['content-length', LENGTH],
  ['connection', CONNECTION],
  ['keep-alive', HOP],
  ['proxy-connection', HOP],
  ['upgrade', HOP],
  ['te', HOP],
  ['transfer-encoding', NEVER],
  ['content-type', HEAD_ONLY],
  ['content-encoding', HEAD_ONLY],
  ['content-range', HEAD_ONLY],
  ['host', HEAD_ONLY],
  ['trailer', HEAD_ONLY],
])

const KNOWN = 0x8000
/** Longer values are checked and copied by native code. */
const SHORT = 64
const MAX_VALUE = 0xffff
const MAX_NAME = 0x7fff
/** Spellings remembered. Names may come from data (a proxy's), so the memory of them is bounded. */
const MAX_SPELLINGS = 1024
/** Fields whose values are few: those are remembered as encoded, so many of each. */
const REPEATED = new Set([
  'content-type',
  'cache-control',
  'vary',
  'server',
  'content-encoding',
  'accept-ranges',
  'access-control-allow-origin',
  'allow',
])
const MAX_VALUES = 64

const hasOwn = Object.prototype.hasOwnProperty
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const BAD_VALUE = /[^\t\x20-\x7e\x80-\xff]/
const CONNECTION_VALUE = /^(?:close|keep-alive|upgrade)$/i

/** A name as somebody spells it. */
class FieldName {
  /** Whole fields that were sent with this name, by value; null when values are not remembered. */
  readonly encoded: Map<string, Written> | null
  /** Of those, the last: it is mostly that one again. */
  last: Written | null = null

  constructor(
    readonly spelling: string,
    readonly text: string,
    /** The first two bytes on the wire: the name's number, or its length. */
    readonly code: number,
    readonly role: number,
  ) {
    this.encoded = REPEATED.has(text) ? new Map() : null
  }
}

const spellings = new Map<string, FieldName>()
for (const [number, text] of HEADER_NAMES.entries()) spellings.set(text, new FieldName(text, text, KNOWN | number, ROLES.get(text) ?? PLAIN))
/** The spelling used last of each length: a program has few names, and a look-up in a map costs 100 instructions. */
const recent = new Array<FieldName>(32).fill(spellings.get('date')!)

/** Memory for field sections. Code of the caller's may run between two fields, and have others written: each memory has its own. */
export class FieldMemory extends Memory {
  /** Of the section written last: the content-length that it declares, or -1. */
  declaredLength = -1
  /** And whether it has fields that HTTP/2 does not. */
  hop = false
}

/** Headers that were checked and encoded once. */
export class Prepared {
  constructor(
    /** Names it to the I/O loops. */
    readonly number: number,
    readonly bytes: Uint8Array,
    readonly declaredLength: number,
    /** It has fields that HTTP/2 does not. */
    readonly hop: boolean,
  ) {}
}

let preparedCount = 0

export function prepareHead(headers: HeadersLike): contract.PreparedHead {
  const memory = new FieldMemory(1 << 16)
  const end = encodeFields(memory, 0, memory.bytes.length, headers, 0)
  const prepared = new Prepared(preparedCount++, new Uint8Array(memory.bytes.subarray(0, end)), memory.declaredLength, memory.hop)
  return prepared as unknown as contract.PreparedHead
}

/** Writes `headers` from `at` and gives the offset behind them. Throws ERR_INVALID_HEADER. */
export function encodeFields(out: FieldMemory, at: number, end: number, headers: HeadersLike, place: number): number {
  out.declaredLength = -1
  checkSection(headers)
  if ((headers as Iterable<never>)[Symbol.iterator] !== undefined) {
    for (const pair of headers as Iterable<readonly [string, string]>) {
      checkPair(pair)
      at = encodeField(out, at, end, pair[0], pair[1], place)
    }
    return at
  }
  const record = headers as Record<string, string | number | ReadonlyArray<string>>
  for (const name in record) {
    if (!hasOwn.call(record, name)) continue
    const value = record[name]
    if (typeof value === 'string') at = encodeField(out, at, end, name, value, place)
    else if (Array.isArray(value)) for (const item of value) at = encodeField(out, at, end, name, item, place)
    else at = encodeField(out, at, end, name, value as number, place)
  }
  return at
}

/** The fields of `headers`, a repeated one once for each value. Throws ERR_INVALID_HEADER; the values are not checked. */
export function* pairs(headers: HeadersLike): Iterable<readonly [string, string]> {
  checkSection(headers)
  if ((headers as Iterable<never>)[Symbol.iterator] !== undefined) {
    for (const pair of headers as Iterable<readonly [string, string]>) {
      checkPair(pair)
      yield pair
    }
  } else for (const [name, value] of Object.entries(headers)) for (const item of Array.isArray(value) ? value : [value]) yield [name, item]
}

/** Of a Response the fields that go beyond one connection (RFC 9110 section 7.6.1): those of its own are not its to say. */
export function endToEnd(headers: Iterable<readonly [string, string]>): HeadersLike {
  return [...headers].filter(([name]) => (ROLES.get(name.toLowerCase()) ?? PLAIN) < CONNECTION)
}

function checkSection(headers: HeadersLike): void {
  if (typeof headers !== 'object' || headers === null)
    throw new PullError('ERR_INVALID_HEADER', `headers must be an object or a list of pairs, not ${typeof headers}`)
}

function checkPair(pair: readonly [string, string]): void {
  if (!Array.isArray(pair) || pair.length !== 2 || typeof pair[0] !== 'string')
    throw new PullError('ERR_INVALID_HEADER', 'a header in a list must be a [name, value] pair')
}

/** Writes the content-length of a body whose length is known. */
export function encodeLength(out: FieldMemory, at: number, length: number): number {
  out.declaredLength = -1
  return encodeField(out, at, out.bytes.length, 'content-length', length, 0)
}

function encodeField(out: FieldMemory, at: number, end: number, name: string, value: string | number, place: number): number {
  const near = recent[name.length & 31]
  const field = near.spelling === name ? near : fieldName(name)
  let known = field.last
  if (known === null || known.text !== value) known = recall(field, value)
  if (known === null || (place & TRAILERS) !== 0) return encodeNew(out, at, end, field, value, place)
  if (at + known.length + 8 > end) throw tooLarge()
  return at + out.repeat(at, known)
}

function recall(field: FieldName, value: string | number): Written | null {
  const known = field.encoded?.get(value as string) ?? null
  if (known !== null) field.last = known
  return known
}

function encodeNew(out: FieldMemory, start: number, end: number, field: FieldName, value: string | number, place: number): number {
  if (typeof value !== 'string') {
    if (typeof value !== 'number')
      throw new PullError('ERR_INVALID_HEADER', `the value of '${field.text}' must be a string, a number or an array of strings`)
    value = String(value)
  }
  // RFC 9110 section 5.5: white space around a value is not part of it (and on HTTP/2 malformed).
  if (value.charCodeAt(0) <= 32 || value.charCodeAt(value.length - 1) <= 32) value = value.replace(/^[\t ]+|[\t ]+$/g, '')
  if (field.role !== PLAIN && !admit(out, field, value, place)) return start

  const length = value.length
  const named = field.code >= KNOWN ? 0 : field.text.length
  if (length > MAX_VALUE) throw new PullError('ERR_INVALID_HEADER', `the value of '${field.text}' is longer than ${MAX_VALUE} bytes`)
  if (start + 4 + named + length > end) throw tooLarge()

  out.view.setUint32(start, field.code | (length << 16), true)
  let at = start + 4
  if (named > 0) at += out.putShort(at, field.text)
  at += length > SHORT ? putLong(out, at, field, value) : putValue(out, at, field, value)
  if (field.encoded !== null && field.encoded.size < MAX_VALUES && length <= SHORT) {
    const written = out.remember(value, start, at - start)
    if (written !== null) field.encoded.set(value, written)
  }
  return at
}

/** Writes a value, checked on the way: a sign bit in `bad` tells of a control, of DEL, or of what is over 0xff. */
function putValue({ bytes }: Memory, at: number, field: FieldName, value: string): number {
  const length = value.length
  let bad = 0
  for (let i = 0; i < length; i++) {
    const c = value.charCodeAt(i)
    bad |= (c - 32) | ((c ^ 127) - 1) | (255 - c)
    bytes[at + i] = c
  }
  if (bad < 0) checkValue(field, value)
  return length
}

function putLong({ bytes }: Memory, at: number, field: FieldName, value: string): number {
  checkValue(field, value)
  return bytes.latin1Write(value, at)
}

function checkValue(field: FieldName, value: string): void {
  if (BAD_VALUE.test(value))
    throw new PullError('ERR_INVALID_HEADER', `the value of '${field.text}' has a character that may not be sent (RFC 9110 section 5.5)`)
}

function tooLarge(): PullError {
  return new PullError('ERR_INVALID_HEADER', 'the header section is too large')
}

function fieldName(name: string): FieldName {
  const field = spellings.get(name) ?? newSpelling(name)
  recent[name.length & 31] = field
  return field
}

function newSpelling(name: string): FieldName {
  if (!TOKEN.test(name) || name.length > MAX_NAME) {
    throw new PullError('ERR_INVALID_HEADER', `${JSON.stringify(name)} is not a header name (RFC 9110 section 5.1)`)
  }
  const text = name.toLowerCase()
  const known = spellings.get(text)
  const field = new FieldName(name, text, known?.code ?? text.length, ROLES.get(text) ?? PLAIN)
  if (spellings.size < MAX_SPELLINGS) spellings.set(name, field)
  return field
}

/** Fields that mean something to the framing: throws if this one may not stand here; false if it is to be left out. */
function admit(out: FieldMemory, field: FieldName, value: string, place: number): boolean {
  const name = field.text
  switch (field.role) {
    case HEAD_ONLY:
      if ((place & IN_TRAILERS) !== 0) throw misplaced(name, 'trailers (RFC 9110 section 6.5.1)')
      return true
    case LENGTH:
      return admitLength(out, value, place)
    case CONNECTION:
    case HOP:
      // Leaving HTTP is hyperpull's to say, and what for, the caller's, on HTTP/1.1.
      if ((place & IN_UPGRADE) !== 0 && name === 'connection') return false
      if ((place & IN_UPGRADE) !== 0 && name === 'upgrade') return (place & ON_H2) === 0
      if ((place & ON_H2) !== 0) throw misplaced(name, 'an HTTP/2 message (RFC 9113 section 8.2.2)')
      if ((place & (IN_TRAILERS | IN_INTERIM)) !== 0) throw misplaced(name, 'trailers or an interim response')
      if (field.role === CONNECTION && !CONNECTION_VALUE.test(value))
        throw new PullError('ERR_INVALID_HEADER', `'connection' may be 'close', 'keep-alive' or 'upgrade'`)
      out.hop = true
      return true
    default:
      throw new PullError('ERR_INVALID_HEADER', `'${name}' is set by hyperpull`)
  }
}

function admitLength(out: FieldMemory, value: string, place: number): boolean {
  if ((place & (IN_TRAILERS | IN_INTERIM | IN_UPGRADE)) !== 0)
    throw misplaced('content-length', 'trailers, an interim response or an upgrade (RFC 9110 section 8.6)')
  const length = /^[0-9]{1,15}$/.test(value) ? Number(value) : NaN
  if (Number.isNaN(length)) throw new PullError('ERR_INVALID_HEADER', `${JSON.stringify(value)} is not a content-length`)
  if (out.declaredLength !== -1) throw new PullError('ERR_INVALID_HEADER', 'content-length is given twice')
  out.declaredLength = length
  return (place & NO_CONTENT) === 0
}

function misplaced(name: string, where: string): PullError {
  return new PullError('ERR_INVALID_HEADER', `'${name}' may not be sent in ${where}`)
}
