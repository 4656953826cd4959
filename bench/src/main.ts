// The benchmark: each scenario, then the goals.
import { options } from './options.ts'
import { chart } from './report/chart.ts'
import { goals } from './report/goals.ts'
import { table } from './report/table.ts'
import { updateReadme } from './report/readme.ts'
import { load, save } from './results.ts'
import { Run } from './run.ts'

const chosen = options()
if (chosen !== null) {
  const { scenarios, json, svg, readme } = chosen
  const results = load(json)
  for (const scenario of scenarios) {
    console.error(`${scenario.name}: ${scenario.title}`)
    const outcome = await Run.of(scenario, chosen)
    results[scenario.name] = outcome
    console.log(`\n${table(scenario.name, outcome, 'text')}\n`)
    if (json !== undefined) save(json, results)
  }
  console.log(goals(results, 'text'))
  if (svg !== undefined) await chart(svg, results)
  if (readme) updateReadme(results)
}
