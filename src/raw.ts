/**
 * Node's Buffer with the methods that write and read one encoding. They are on the prototype in every release, but not in
 * @types/node; `write(string, at, 'latin1')` costs an encoding look-up more.
 */
export interface RawBuffer extends Buffer {
  latin1Slice(start: number, end: number): string
  utf8Slice(start: number, end: number): string
  latin1Write(text: string, at: number): number
  utf8Write(text: string, at: number): number
}
