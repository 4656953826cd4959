import test from 'ava'

import { layout } from '../binding.js'
import { PullError } from '../index.js'
import { CLOSE_CODES, CODES, COMMAND, EVENT, HEADER_NAMES, METHODS, REFUSALS } from '../src/layout.js'

const native = layout()

/** Names in the order of their numbers, which must be 1, 2, 3, ... */
function numbered(table: Record<string, number>): string[] {
  return Object.entries(table).map(([name, number], index) => (number === index + 1 ? name : `${name} has the number ${number}`))
}

test('events and commands have the same numbers on both sides', (t) => {
  t.deepEqual(numbered(EVENT), native.events)
  t.deepEqual(numbered(COMMAND), native.commands)
})

test('error codes, and who is at fault, are the same on both sides', (t) => {
  t.deepEqual([...CODES], native.codes)
  t.deepEqual(
    CODES.map((code) => new PullError(code, '').side),
    native.sides,
  )
})

test('reasons why a connection ends are the same on both sides', (t) => {
  t.deepEqual(
    CLOSE_CODES.map(([code]) => code),
    native.closeCodes,
  )
  t.deepEqual(
    CLOSE_CODES.map(([, side]) => side),
    native.closeSides,
  )
  t.deepEqual([...REFUSALS], native.refusals)
})

test('methods and response fields have the same numbers on both sides', (t) => {
  t.deepEqual([...METHODS], native.methods)
  t.deepEqual([...HEADER_NAMES], native.headerNames)
})
