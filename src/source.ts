// Bodies that are not there whole: files, blobs, streams and iterables, read as the peer takes them.

import { Blob } from 'node:buffer'
import { type FileHandle, open as openFile } from 'node:fs/promises'
import { inspect } from 'node:util'

import type * as contract from '../index.js'
import { RequestBody } from './body.js'
import type { Head } from './commands.js'
import { PullError, settle } from './errors.js'
import { Prepared, pairs } from './fields.js'
import { checkEmpty, lostBytes } from './raw.js'
import type { Writer } from './response.js'
import type { Stream } from './stream.js'

/** What is read at once from a file. */
const FILE_CHUNK = 256 << 10
/** A file or blob up to this is read first and then sent whole. */
const SMALL = 64 << 10
/** Of a body that is there whole, so much is handed over at once. */
const PIECE = 64 << 10

type Chunk = Uint8Array | string
type Body = contract.OutgoingResponse['body']
type Trailers = contract.OutgoingResponse['trailers']

interface Source {
  /** Bytes to come, or -1 when that is not known. */
  readonly length: number
  next(): Promise<IteratorResult<Chunk, unknown>> | IteratorResult<Chunk, unknown>
  /** Nothing more will be read. Also called after the end. */
  cancel(): void
}

/** Answers the current request of `stream`, whose key was checked, from a source. */
export function sendSource(stream: Stream, status: number, headers: Head, body: Body, trailers: Trailers): Promise<contract.Sent> {
  return settle(answer(stream, status, headers, body, trailers))
}

/** Closes a body that nobody will read, unread: whoever makes it may wait for that. */
export function closeBody(body: Body): void {
  if (typeof body === 'object' && body !== null && !('file' in body)) openSource(body).then((source) => source.cancel(), ignore)
}

async function answer(stream: Stream, status: number, headers: Head, body: Body, trailers: Trailers): Promise<contract.Sent> {
  const { sequence } = stream
  const bodiless = stream.isBodiless(status)
  // The key is taken while files are opened: a second answer is ERR_KEY_USED. Until something is queued it can be given back.
  stream.claim()
  let source: Source | null = null
  let writer: Writer
  try {
    source = await openSource(body)
    const small = source.length >= 0 && source.length <= SMALL && trailers === undefined && !bodiless
    const whole = small ? await readWhole(source) : null
    const fields = trailers === undefined || typeof trailers === 'function' ? null : [...pairs(trailers)]
    if (fields !== null) headers = announced(headers, fields)
    // Last of what waits, or runs code of the caller's.
    const lost = stream.lost(sequence)
    if (lost !== null) throw lost
    if (whole !== null) {
      source.cancel()
      stream.unclaim(sequence)
      return stream.sendWhole(status, headers, whole)
    }
    if (fields !== null) stream.checkTrailers(fields)
    // Behind the head there is no 100 any more, and HTTP/1.1 gives up the connection of a body that nobody has begun to read.
    if (!bodiless) (body instanceof RequestBody ? body : stream.streamedBody)?.ask()
    // HTTP/1.1 has room for trailers in the chunked coding alone (RFC 9112 section 7.1.2).
    writer = stream.begin(status, headers, source.length, trailers !== undefined)
    trailers = fields ?? trailers
  } catch (error) {
    source?.cancel()
    stream.unclaim(sequence)
    throw error
  }
  const sent = new Promise<contract.Sent>((resolve, reject) => {
    writer.onFail = reject
    pump(writer, source, trailers).then(resolve, reject)
  })
  // By a reaction: it runs in the context (AsyncLocalStorage) of who has sent it, the event that ends the exchange in another.
  sent.catch(() => source.cancel())
  return sent
}

/** With a `trailer` field that names what will follow (RFC 9110 section 6.6.2): a recipient may want to know. */
function announced(headers: Head, trailers: (readonly [string, string])[]): Head {
  if (trailers.length === 0 || headers instanceof Prepared) return headers
  const fields = headers === undefined ? [] : [...pairs(headers as contract.HeadersLike)]
  if (!fields.some(([name]) => name.toLowerCase() === 'trailer')) fields.push(['trailer', [...new Set(trailers.map(([name]) => name))].join(', ')])
  return fields
}

async function pump(writer: Writer, source: Source, trailers: Trailers): Promise<contract.Sent> {
  try {
    while (!writer.bodiless) {
      const { done, value } = await source.next()
      if (done) break
      await writer.write(value)
    }
    source.cancel()
    return await writer.finish(typeof trailers === 'function' ? await trailers() : trailers)
  } catch (error) {
    // The peer must not take a part for the whole; the caller is told what went wrong first.
    writer.onFail = null
    source.cancel()
    writer.abort(error)
    throw error
  }
}

async function readWhole(source: Source): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for (;;) {
    const { done, value } = await source.next()
    if (done) return Buffer.concat(chunks)
    // A copy, which a Buffer's slice is not: a file is read into the same memory again.
    chunks.push(typeof value === 'string' ? Buffer.from(value) : new Uint8Array(value))
  }
}

async function openSource(body: Body): Promise<Source> {
  if (body === undefined || body === null) return iterableSource([])
  if (typeof body === 'string' || body instanceof Uint8Array) return pieceSource(body)
  if (body instanceof ArrayBuffer) return pieceSource(viewOf(body))
  if (body instanceof Blob) return streamSource(body.stream() as ReadableStream<Uint8Array>, body.size)
  // Another view would be a list of its numbers.
  if (typeof body === 'object' && !ArrayBuffer.isView(body)) {
    if ('file' in body && typeof body.file === 'string') return fileSource(body)
    if ('getReader' in body) return streamSource(body, -1)
    if (Symbol.asyncIterator in body || Symbol.iterator in body) return iterableSource(body)
  }
  throw new PullError('ERR_INVALID_OPTION', `${inspect(body, { depth: 0, maxArrayLength: 0 })} cannot be a response body`)
}

function viewOf(body: ArrayBuffer): Uint8Array {
  try {
    return new Uint8Array(body)
  } catch {
    throw lostBytes()
  }
}

/** A body that is there whole, in pieces. */
function pieceSource(body: string | Uint8Array): Source {
  if (typeof body !== 'string' && body.length === 0) checkEmpty(body)
  const size = body.length
  let at = 0
  return {
    length: Buffer.byteLength(body),
    next() {
      if (at === size) return { done: true, value: undefined }
      const end = Math.min(at + PIECE, size)
      if (body.length < end) throw lostBytes()
      const value = typeof body === 'string' ? textPiece(body, at) : body.subarray(at, end)
      at += value.length
      return { done: false, value }
    },
    cancel: ignore,
  }
}

function textPiece(text: string, at: number): string {
  const end = at + PIECE
  // Not between the halves of a character (a surrogate pair): each half alone would be encoded as U+FFFD.
  return text.slice(at, (text.charCodeAt(end - 1) & 0xfc00) === 0xd800 ? end + 1 : end)
}

function streamSource(body: ReadableStream<Uint8Array>, length: number): Source {
  if (body.locked) throw new PullError('ERR_BODY_IN_USE', 'the ReadableStream is locked to another reader')
  const reader = body.getReader()
  return {
    length,
    next: () => reader.read() as Promise<IteratorResult<Uint8Array, unknown>>,
    cancel: () => void reader.cancel().catch(ignore),
  }
}

function iterableSource(body: AsyncIterable<Chunk> | Iterable<Chunk>): Source {
  const iterator = Symbol.asyncIterator in body ? body[Symbol.asyncIterator]() : body[Symbol.iterator]()
  const destroy = 'destroy' in body && typeof body.destroy === 'function' ? body.destroy.bind(body) : null
  // While a node:stream is not read it has no listener of the iterator's, and what fails would end the process. Its readers are told all the same.
  if (destroy !== null && 'on' in body && typeof body.on === 'function') body.on('error', ignore)
  let ended = false
  // Async, so that what the caller's own code throws here is a rejection: it comes in the middle of other work.
  const close = async (): Promise<void> => {
    // A node:stream is told at once: its iterator's `return` waits for the chunk that is being read.
    destroy?.()
    await iterator.return?.()
  }
  return {
    length: -1,
    async next() {
      const result = await iterator.next()
      ended ||= result.done === true
      return result
    },
    cancel() {
      if (ended) return
      ended = true
      close().catch(ignore)
    },
  }
}

async function fileSource({ file, start = 0, end = Infinity }: contract.FileBody): Promise<Source> {
  for (const [name, value] of Object.entries({ start, end })) {
    if (!(Number.isInteger(value) || (name === 'end' && value === Infinity)) || value < 0)
      throw new PullError('ERR_INVALID_OPTION', `'${name}' of a file body must be a whole number of bytes`)
  }
  if (end < start - 1) throw new PullError('ERR_INVALID_OPTION', `'end' of a file body (${end}) comes before its 'start' (${start})`)
  const handle = await openFile(file)
  try {
    const stat = await handle.stat()
    // It can be opened, but not read: better said before anything is sent.
    if (stat.isDirectory()) await handle.read(Buffer.alloc(1))
    // A pipe or a device has no size that means anything, nor has a file that says 0 and is not empty (as in /proc): it is read to its end.
    const hasSize = stat.isFile() && (stat.size > 0 || (await handle.read(Buffer.alloc(1), 0, 1, 0)).bytesRead === 0)
    const left = Math.max(0, Math.min(end + 1, hasSize ? stat.size : Infinity) - start)
    return new FileSource(handle, hasSize ? left : -1, left, stat.isFile() ? start : null)
  } catch (error) {
    await handle.close()
    throw error
  }
}

class FileSource implements Source {
  private buffer: Buffer | null = null
  private closed = false
  /** A read that is under way. */
  private reading: Promise<unknown> = Promise.resolve()

  constructor(
    private readonly handle: FileHandle,
    readonly length: number,
    /** To be read at most. */
    private left: number,
    private position: number | null,
  ) {}

  async next(): Promise<IteratorResult<Chunk, unknown>> {
    if (this.left === 0 || this.closed) return { done: true, value: undefined }
    // One buffer for the whole file: `write` copies what it is given.
    this.buffer ??= Buffer.allocUnsafeSlow(Math.min(FILE_CHUNK, this.left))
    const read = this.handle.read(this.buffer, 0, Math.min(this.buffer.length, this.left), this.position)
    this.reading = read
    const { bytesRead } = await read
    if (bytesRead === 0) return { done: true, value: undefined }
    this.left -= bytesRead
    if (this.position !== null) this.position += bytesRead
    return { done: false, value: this.buffer.subarray(0, bytesRead) }
  }

  cancel(): void {
    if (this.closed) return
    this.closed = true
    this.reading.catch(ignore).finally(() => this.handle.close().catch(ignore))
  }
}

function ignore(): void {}
