// Everything can be reached and done without a mouse, and one sees where one is.
import { check, comes, equal } from './tell.mjs'
import { nothingWrong } from './screen.mjs'

const MOST_STOPS = 200

export async function keyboard (world, screen) {
  const page = await screen.open(world.admin)
  await everyStop(page)
  await theDialog(page)
  await focusStays(page, world)
  nothingWrong(page, 'by keyboard', world.admin)
  await page.context().close()
}

/** What has the focus: its name, and whether one sees it. */
function focused () {
  const one = document.activeElement
  if (!one || one === document.body) return null
  const [style, box] = [getComputedStyle(one), one.getBoundingClientRect()]
  const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2
  const atop = document.elementFromPoint(Math.max(1, box.left + box.width / 2), Math.max(1, box.top + box.height / 2))
  return {
    key: one.id || one.getAttribute('href') || `${one.closest('[id]')?.id} ${one.tagName}`,
    seen: outlined && box.width > 0 && (one === atop || one.contains(atop) || one.offsetHeight > innerHeight / 2)
  }
}

async function everyStop (page) {
  const wanted = await page.evaluate(() => [...document.querySelectorAll('main a[href], main button, main summary')]
    .filter(one => one.checkVisibility())
    .map(one => one.id || one.getAttribute('href') || `${one.closest('[id]')?.id} ${one.tagName}`))
  const stops = []
  for (let n = 0; n < MOST_STOPS; n += 1) {
    await page.keyboard.press('Tab')
    const stop = await page.evaluate(focused)
    if (!stop) break
    stops.push(stop)
  }
  const reached = new Set(stops.map(stop => stop.key))
  equal('the first Tab offers to skip to the state', stops[0]?.key, '#state')
  equal('Tab reaches every link, button and fold', wanted.filter(key => !reached.has(key)), [])
  equal('at each stop one sees where one is', stops.filter(stop => !stop.seen).map(stop => stop.key), [])
  equal('each action names its tenant to a screen reader', await page.getByRole('button', { name: 'Kill acme', exact: true }).count(), 1)
}

async function theDialog (page) {
  await page.locator('#quarantine-acme').focus()
  await page.keyboard.press('Enter')
  const dialog = page.getByRole('dialog', { name: 'Quarantine acme?' })
  await dialog.waitFor()
  const within = () => page.evaluate(() => document.activeElement.id)
  equal('Enter on an action asks, and the focus is in the first field', await within(), 'ask-reason')
  equal('each field has a name', await dialog.getByRole('textbox').evaluateAll(all => all.map(one => one.labels[0]?.textContent)), ['Reason, for the audit', 'Your name', 'Admin token'])
  const stops = []
  for (let n = 0; n < 8; n += 1) {
    await page.keyboard.press('Tab')
    stops.push(await page.evaluate(() => document.activeElement === document.body || document.activeElement.closest('dialog') !== null))
  }
  check('Tab stays in the dialog', stops.every(Boolean), stops)
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'hidden' })
  equal('Escape closes it, and the focus is back on the action', await within(), 'quarantine-acme')
  await page.keyboard.press('Space')
  await dialog.waitFor()
  await page.locator('#ask-no').focus()
  await page.keyboard.press('Enter')
  await dialog.waitFor({ state: 'hidden' })
  equal('so it is after Cancel', await within(), 'quarantine-acme')
}

async function focusStays (page, world) {
  await page.evaluate(() => { document.activeElement.mine = true })
  await page.locator('#evidence-hooli').evaluate(one => { one.open = true })
  const before = await page.locator('#card-acme figcaption').innerText()
  await world.calls('acme', 'orders', 2)
  await comes('new traffic is shown within seconds', async () => await page.locator('#card-acme figcaption').innerText() !== before)
  check('the focus stays on the very element while the page around it changes', await page.evaluate(() => document.activeElement.id === 'quarantine-acme' && document.activeElement.mine === true))
  check('what was unfolded stays unfolded', await page.locator('#evidence-hooli').evaluate(one => one.open))
}
