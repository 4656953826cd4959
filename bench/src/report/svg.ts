// Drawing: what vega-lite is told, as SVG.
import { writeFileSync } from 'node:fs'
import { View, parse } from 'vega'
import { compile } from 'vega-lite'
import type { TopLevelSpec } from 'vega-lite'

/** Draws charts beside and below each other. */
export async function draw(file: string, charts: readonly object[], columns: number): Promise<void> {
  const spec = { concat: charts, columns, background: 'white', padding: 8, config: { font: 'sans-serif', view: { stroke: null } } }
  const view = new View(parse(compile(spec as unknown as TopLevelSpec).spec), { renderer: 'none' })
  writeFileSync(file, `${await view.toSVG()}\n`)
}
