// Starts the world and the browser, runs the parts one after another, and says what came of them.
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { check, report } from './tell.mjs'
import { Screen, root } from './screen.mjs'
import { World, freshFolder } from './world.mjs'
import { look } from './look.mjs'
import { live } from './live.mjs'
import { keyboard } from './keyboard.mjs'
import { actions } from './actions.mjs'
import { consent } from './consent.mjs'

// actions come before live, which restarts the sidecar and with it the last hour
const PARTS = { look, keyboard, actions, live, consent }

// forty seconds on an idle machine
const LONGEST = 20 * 60 * 1000

const named = process.argv.slice(2)
const parts = Object.entries(PARTS).filter(([name]) => !named.length || named.some(word => name.includes(word)))
if (!parts.length) {
  console.error(`tests/browser/run: no part is called ${named.join(' or ')}; there are ${Object.keys(PARTS).join(', ')}`)
  process.exit(2)
}

const binary = resolve(process.env.SIDECAR ?? join(root, 'target/debug/spapi-sidecar'))
accessSync(binary, constants.X_OK)
const home = mkdtempSync(join(tmpdir(), 'browser-'))
const world = new World(binary, home)
freshFolder(join(root, 'target/console'))
let screen
// nothing that was started here outlives this, however it ends
process.on('exit', () => world.children.forEach(child => child.kill('SIGKILL')))
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))
process.exitCode = 1
setTimeout(() => {
  console.log('FAILED  it ends: something is waited for that does not come')
  process.exit(1)
}, LONGEST).unref()
try {
  await world.start()
  await world.bringTrouble()
  screen = await Screen.start()
  for (const [name, part] of parts) {
    const began = Date.now()
    try {
      await part(world, screen)
    } catch (error) {
      check(`${name} runs to its end`, false, error.stack)
    }
    console.log(`--- ${name}: ${((Date.now() - began) / 1000).toFixed(1)} s`)
  }
  process.exitCode = report()
} finally {
  await screen?.stop()
  await world.stop()
  if (process.env.KEEP) console.log(`kept: ${home}`)
  else rmSync(home, { recursive: true, force: true })
}
