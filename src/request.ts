// Hot: one object a request. Numbers and one string come in, everything else is made on first use.

import { inspect } from 'node:util'

import type * as contract from '../index.js'
import { RequestBody } from './body.js'
import { PullError, hush, refused } from './errors.js'
import { RequestHeaders } from './headers.js'
import * as layout from './layout.js'
import type { Stream } from './stream.js'

// V8 does not fold what is imported, but it does fold these.
const { CAN_UPGRADE, HAS_BODY, METHODS, SCHEME_HTTPS } = layout

const VERSIONS = ['1.0', '1.1', '2.0'] as const

const HEAD = METHODS.indexOf('HEAD') + 1

/** Parts of the head text before the fields: target, authority, upgrade, method. */
const HEAD_PARTS = 4

export class IncomingRequest implements contract.IncomingRequest {
  readonly receivedAt: number
  /** Counts the requests of the stream. */
  readonly sequence: number

  // Hidden, not only private: what a logger makes of a request must not show the heads of others.
  readonly #stream: Stream
  /** method · version·256 · flags·65536 */
  readonly #packed: number
  /** Has `target \0 authority \0 upgrade \0 method \0`, then the fields, from `start` on, among other requests' heads. */
  readonly #window: string
  readonly #start: number
  readonly #length: number
  readonly #targetLength: number
  readonly #contentLength: number
  /** The body, if it came whole with the head: a small one as text, one character a byte. */
  readonly #wholeBody: Uint8Array | string | null
  #headers: RequestHeaders | null = null
  #body: RequestBody | null = null
  #controller: AbortController | null = null
  /** Why the exchange ended without its response having been sent. */
  #failure: PullError | null = null
  /** The promise of the answer, and what settles it: here, since what a new object is given costs no write barrier; the stream is old. */
  #answer: Promise<unknown> | null = null
  #resolve: ((value: unknown) => void) | null = null

  constructor(
    stream: Stream,
    sequence: number,
    packed: number,
    window: string,
    start: number,
    length: number,
    targetLength: number,
    receivedAt: number,
    contentLength: number,
    wholeBody: Uint8Array | string | null,
  ) {
    this.receivedAt = receivedAt
    this.sequence = sequence
    this.#stream = stream
    this.#packed = packed
    this.#window = window
    this.#start = start
    this.#length = length
    this.#targetLength = targetLength
    this.#contentLength = contentLength
    this.#wholeBody = wholeBody
  }

  static {
    // Resolving a promise looks for a `then`: found here, it is not looked for in Object.prototype.
    Object.defineProperty(this.prototype, 'then', { value: undefined })
  }

  get stream(): Stream {
    return this.#stream
  }

  get key(): contract.RequestKey {
    return this.#stream.keyOf(this.sequence)
  }

  get method(): string {
    return METHODS[(this.#packed & 0xff) - 1] ?? this.part(3)
  }

  get target(): string {
    return this.#window.slice(this.#start, this.#start + this.#targetLength)
  }

  get path(): string {
    const target = this.originForm
    const mark = target.indexOf('?')
    return mark === -1 ? target : target.slice(0, mark)
  }

  get query(): string {
    const target = this.originForm
    const mark = target.indexOf('?')
    return mark === -1 ? '' : target.slice(mark + 1)
  }

  get scheme(): 'http' | 'https' {
    return (this.flags & SCHEME_HTTPS) === 0 ? 'http' : 'https'
  }

  get authority(): string {
    return this.part(1) || (this.headers.get('host') ?? '')
  }

  get httpVersion(): '1.0' | '1.1' | '2.0' {
    return VERSIONS[(this.#packed >>> 8) & 0xff]
  }

  get headers(): RequestHeaders {
    return (this.#headers ??= new RequestHeaders(this.#window.slice(this.#start, this.#start + this.#length), HEAD_PARTS))
  }

  get upgrade(): string | null {
    return this.upgradable ? this.part(2) : null
  }

  /** May the stream leave HTTP with this request? */
  get upgradable(): boolean {
    return (this.flags & CAN_UPGRADE) !== 0
  }

  get body(): RequestBody | null {
    if (this.#body === null && (this.flags & HAS_BODY) !== 0) {
      this.#body = new RequestBody(this.#stream, this.sequence, this.#contentLength, this.#wholeBody)
    }
    return this.#body
  }

  /** The body, if a stream was made of it. */
  get streamedBody(): RequestBody | null {
    return this.#body?.isStreamed === true ? this.#body : null
  }

  /**
   * RFC 9218 section 4: a dictionary of structured fields, of which two keys are defined. The last of a key counts; what does not parse
   * counts as absent.
   */
  get priority(): { urgency: number; incremental: boolean } {
    const field = this.headers.getAll('priority').join(',')
    const urgency = /^(?:.*,)?[\t ]*u=([0-7])[\t ]*(?:;[^,]*)?(?=,|$)/.exec(field)
    const incremental = /^(?:.*,)?[\t ]*i(?:=\?([01]))?[\t ]*(?:;[^,]*)?(?=,|$)/.exec(field)
    return { urgency: urgency === null ? 3 : Number(urgency[1]), incremental: incremental !== null && incremental[1] !== '0' }
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController()
      if (this.#failure !== null) this.#controller.abort(this.#failure)
    }
    return this.#controller.signal
  }

  get isHead(): boolean {
    return (this.#packed & 0xff) === HEAD
  }

  /** The promise of the answer that was just queued. */
  answered<T>(): Promise<T> {
    const answer = new Promise<unknown>((resolve) => (this.#resolve = resolve))
    this.#answer = answer
    return answer as Promise<T>
  }

  /** `value`: what came of the answer, or a promise of that. */
  settle(value: unknown): void {
    const resolve = this.#resolve
    this.#answer = null
    this.#resolve = null
    resolve?.(value)
  }

  /** The answer was not sent. */
  unanswered(error: PullError): void {
    if (this.#answer === null) return
    hush(this.#answer, error)
    this.settle(refused(error))
  }

  /** The exchange is over, its response was not sent. */
  fail(error: PullError): void {
    this.unanswered(error)
    this.#failure = error
    this.#controller?.abort(error)
  }

  toWeb(): globalThis.Request {
    const method = this.method
    const body = method === 'GET' || method === 'HEAD' ? null : (this.body?.toWeb() ?? null)
    const headers = new Headers()
    for (const [name, value] of this.headers) headers.append(name, value)
    const { url } = this
    try {
      if (!URL.canParse(url)) throw new PullError('ERR_PROTOCOL', `${JSON.stringify(url)} is no URL (WHATWG URL)`)
      return new Request(url, { method, headers, body, signal: this.signal, duplex: 'half' })
    } catch (error) {
      // The body is still the caller's.
      void body?.cancel()
      throw error
    }
  }

  [inspect.custom](): string {
    return `IncomingRequest { ${this.method} ${this.target} HTTP/${this.httpVersion} ${inspect(this.headers)} }`
  }

  private get url(): string {
    const target = this.target
    if (!target.startsWith('/') && target.includes('://')) return target
    return `${this.scheme}://${this.authority || this.#stream.connection.localName}${target.startsWith('/') ? target : `/${target}`}`
  }

  private get flags(): number {
    return this.#packed >>> 16
  }

  /** The target without scheme and authority. */
  private get originForm(): string {
    const target = this.target
    if (target.startsWith('/') || target === '*') return target
    const scheme = target.indexOf('://')
    if (scheme === -1) return ''
    const path = target.slice(scheme + 3).search(/[/?]/)
    if (path === -1) return '/'
    const rest = target.slice(scheme + 3 + path)
    return rest.startsWith('?') ? `/${rest}` : rest
  }

  /** One of the parts before the fields. */
  private part(index: number): string {
    let start = this.#start + this.#targetLength + 1
    for (; index > 1; index--) start = this.#window.indexOf('\0', start) + 1
    return this.#window.slice(start, this.#window.indexOf('\0', start))
  }
}
