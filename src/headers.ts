import { inspect } from 'node:util'

import type * as contract from '../index.js'

/** The fields of a request or of its trailers: split off their text on first use. */
export class RequestHeaders implements contract.RequestHeaders {
  private readonly text: string
  /** Parts of the text that stand before the first field. */
  private readonly skip: number
  private list: string[] | null = null

  /** `text`: `skip` parts, then `name \0 value \0` for each field. Names are in lower case. */
  constructor(text: string, skip: number) {
    this.text = text
    this.skip = skip
  }

  /** [name, value, name, value, ...]: not to be given away. */
  private get fields(): string[] {
    if (this.list === null) {
      const parts = this.text.split('\0')
      parts.pop()
      this.list = this.skip === 0 ? parts : parts.slice(this.skip)
    }
    return this.list
  }

  get size(): number {
    return this.fields.length / 2
  }

  get(name: string): string | null {
    const fields = this.fields
    name = name.toLowerCase()
    let found: string | null = null
    for (let i = 0; i < fields.length; i += 2) {
      if (fields[i] !== name) continue
      // RFC 9110 section 5.3; a cookie that HTTP/2 has cut up is put together as RFC 9113 section 8.2.3 says.
      found = found === null ? fields[i + 1] : found + (name === 'cookie' ? '; ' : ', ') + fields[i + 1]
    }
    return found
  }

  getAll(name: string): string[] {
    const fields = this.fields
    name = name.toLowerCase()
    const found: string[] = []
    for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) found.push(fields[i + 1])
    return found
  }

  has(name: string): boolean {
    return this.get(name) !== null
  }

  raw(): string[] {
    return this.fields.slice()
  }

  toObject(): Record<string, string | string[]> {
    const fields = this.fields
    // Without a prototype, so that a field named `__proto__` is a field.
    const object: Record<string, string | string[]> = Object.create(null)
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i]
      const before = object[name]
      if (before === undefined) object[name] = fields[i + 1]
      else if (typeof before === 'string') object[name] = [before, fields[i + 1]]
      else before.push(fields[i + 1])
    }
    return object
  }

  *[Symbol.iterator](): Iterator<[name: string, value: string]> {
    const fields = this.fields
    for (let i = 0; i < fields.length; i += 2) yield [fields[i], fields[i + 1]]
  }

  [inspect.custom](): string {
    return inspect({ ...this.toObject() })
  }
}
