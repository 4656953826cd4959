// Runs a load tool to its end.
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'

/** What it printed. Rejects when it fails. */
export async function tool(command: readonly string[]): Promise<string> {
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise<number | string>((resolve, reject) => {
    child.on('error', reject).on('close', (code, signal) => resolve(code ?? signal ?? 'nothing'))
  })
  const [printed, complained, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  if (code !== 0) throw new Error(`${command[0]} ended with ${code}: ${(complained || printed).trim().slice(-500)}`)
  return printed
}
