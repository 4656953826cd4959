// Load: a million requests on each protocol by h2load, none failed, memory flat after the first hundred thousand.
import test from 'ava'
import { tool } from './_process.js'

for (const protocol of ['h1', 'h2']) {
  test.serial(`${protocol}: 1 000 000 requests`, async (t) => {
    t.timeout(300_000)
    const { code, stdout, stderr } = await tool(process.execPath, ['scripts/load.js', protocol])
    t.log(stdout.trim())
    t.is(code, 0, stdout + stderr)
    t.regex(stdout, /1000000 succeeded/)
  })
}
