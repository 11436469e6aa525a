// What an operator can do: with the admin token, a reason and a name, seen at once, and without a trace of the token.
import { join } from 'node:path'
import { check, comes, equal, until } from './tell.mjs'
import { nothingWrong, root } from './screen.mjs'
import { MARKUP } from './world.mjs'

const WRONG = 'not-the-admin-token-at-all'

export async function actions (world, screen) {
  const page = await screen.open(world.admin)
  const sent = () => page.seen.requests.filter(request => request.method() === 'POST')
  await nothingIsSentUntilAllIsThere(page, sent)
  await aWrongTokenIsSaid(page, world)
  await everyAction(page, world)
  await theTokenLeavesNoTrace(page, world, sent)
  await whatIsGoneGivesTheFocusOn(page, world)
  await forgetting(page)
  // the wrong token's 401 is the one failure that was meant
  const meant = text => text.includes('401')
  equal('exactly one request was refused', page.seen.failed.filter(meant).length, 1)
  page.seen.failed = page.seen.failed.filter(text => !meant(text))
  page.seen.complaints = page.seen.complaints.filter(text => !meant(text))
  nothingWrong(page, 'after every action', world.admin)
  await page.context().close()
}

const error = page => page.locator('#ask-error')

async function fill (page, fields) {
  for (const [field, text] of Object.entries(fields)) await page.locator(`#ask-${field}`).fill(text)
}

async function nothingIsSentUntilAllIsThere (page, sent) {
  await page.locator('#quarantine-vandelay').click()
  for (const [fields, complaint] of [
    [{}, 'Say why'], [{ reason: 'odd calls' }, 'Say who you are'], [{ by: 'Alex' }, 'Enter the admin token']
  ]) {
    await fill(page, fields)
    await page.locator('#ask-yes').click()
    check(`the dialog says: ${complaint}`, (await error(page).innerText()).startsWith(complaint), await error(page).innerText())
  }
  equal('nothing was sent for it', sent().length, 0)
  equal('the complaint is an alert to a screen reader', await error(page).getAttribute('role'), 'alert')
}

async function aWrongTokenIsSaid (page, world) {
  await fill(page, { token: WRONG })
  await page.locator('#ask-yes').click()
  await comes('a wrong token is said to be wrong', async () => (await error(page).innerText()).includes('This is not the admin token.'), () => error(page).innerText())
  check('the token is asked for again, where one is', await page.locator('#ask-token').evaluate(one => one.checkVisibility() && one.value === '' && document.activeElement === one))
  equal('and nothing was done', await world.stateOf('vandelay'), 'active')
}

/** Clicks an action, fills in what it asks, and waits for the dialog to be gone. */
async function act (page, id, fields) {
  await page.locator(`#${id}`).click()
  await fill(page, fields)
  await page.locator('#ask-yes').click()
  const gone = await until(async () => !await page.locator('#ask').isVisible())
  check(`${id} is done`, gone, gone ? '' : await error(page).innerText())
  if (!gone) await page.keyboard.press('Escape')
}

async function everyAction (page, world) {
  const shows = async (tenant, text) => (await page.locator(`#card-${tenant}`).innerText()).replace(/\s+/g, ' ').includes(text)
  await fill(page, { token: world.adminToken })
  await page.keyboard.press('Enter')
  await comes('with the token, a reason and a name a tenant is quarantined', async () => await world.stateOf('vandelay') === 'quarantined', () => error(page).innerText())
  await comes('the page shows it, with the reason and the name', () => shows('vandelay', 'by Alex: odd calls'))
  await page.screenshot({ path: join(root, 'target/console/1280-light-unlocked.png') })
  equal('and who is told so is told once', await page.locator('#done').innerText(), 'Done: quarantine vandelay.')
  check('what was done and what forgets the token are in sight, however far down one is', await page.evaluate(() => [document.getElementById('done'), document.getElementById('forget')].every(one => one.getBoundingClientRect().top >= 0 && one.getBoundingClientRect().bottom < 200)))
  equal('/api/v1/status has the reason and the name', await standing(world, 'vandelay'), { state: 'quarantined', reason: 'odd calls', by: 'Alex' })
  await act(page, 'resume-vandelay', { reason: 'false alarm' })
  await comes('resume is seen in the page and in the status', async () => await world.stateOf('vandelay') === 'active' && !await shows('vandelay', 'quarantined'))
  await act(page, 'kill-vandelay', { reason: `keys leaked ${MARKUP}` })
  await comes('kill is seen in the page and in the status', async () => await world.stateOf('vandelay') === 'killed' && await shows('vandelay', 'no usable token'))
  check('markup in a reason that was typed here stays text', await shows('vandelay', MARKUP) && await page.locator('main img').count() === 0)
  equal('what is killed is refused', await world.calls('vandelay', 'orders'), ['403'])
  await act(page, 'resume-vandelay', { reason: 'rotated' })
  await comes('and served again', async () => (await world.calls('vandelay', 'orders'))[0] === '200')
  const exchanges = async () => (await world.sandboxed('GET', 'received')).filter(row => row.target === '/auth/o2/token').length
  const before = await exchanges()
  await act(page, 'refresh-wonka', {})
  equal('refresh makes one exchange', await exchanges() - before, 1)
  await page.locator('#break-glass-wonka').click()
  await fill(page, { allow: 'GET /feeds/2021-06-30/feeds', for: '10m', reason: 'stuck feed', by: 'Alex' })
  await page.locator('#ask-yes').click()
  const glass = page.locator('#glasses li').filter({ hasText: 'wonka' })
  await comes('a break-glass is seen in the page', async () => (await glass.count()) > 0, () => error(page).innerText())
  equal('and in the status', (await world.status()).fleet.break_glass.filter(one => one.tenant === 'wonka').map(one => [one.allow, one.reason, one.by]), [[['GET /feeds/2021-06-30/feeds'], 'stuck feed', 'Alex']])
  equal('and it opens the route', await world.calls('wonka', 'feeds'), ['200'])
  const button = await glass.getByRole('button', { name: 'Revoke the break-glass of wonka' }).getAttribute('id')
  await act(page, button, {})
  await comes('revoked, it is gone from the page and from the status', async () => (await glass.count()) === 0 && !(await world.status()).fleet.break_glass.some(one => one.tenant === 'wonka'))
}

async function standing (world, tenant) {
  const { state, reason, by } = (await world.status()).fleet.states[tenant]
  return { state, reason, by }
}

async function theTokenLeavesNoTrace (page, world, sent) {
  const token = world.adminToken
  check('the token went out in a header of actions alone', sent().length >= 6 && sent().every(request => request.url().startsWith(`${world.admin}/api/v1/`)) &&
    page.seen.requests.every(request => request.method() === 'POST' || !JSON.stringify(request.headers()).includes(token)))
  check('it is in no address and in no body', page.seen.requests.every(request => !request.url().includes(token) && !(request.postData() ?? '').includes(token)) && !page.url().includes(token))
  const kept = await page.evaluate(async () => JSON.stringify([
    document.documentElement.outerHTML, [...document.querySelectorAll('input, textarea')].map(one => one.value), { ...localStorage }, { ...sessionStorage },
    document.cookie, history.state, window.name, await indexedDB.databases(), await caches.keys(), performance.getEntries().map(one => one.name)
  ]))
  check('it is in no storage, and not in the document', !kept.includes(token))
  const state = await page.context().storageState({ indexedDB: true })
  equal('no cookie and no storage is used at all', state, { cookies: [], origins: [] })
}

async function whatIsGoneGivesTheFocusOn (page) {
  await page.locator('#quarantine-vandelay').focus()
  await page.keyboard.press('Enter')
  await page.keyboard.type('by keyboard')
  await page.keyboard.press('Enter')
  await comes('an action needs no mouse, and when its button is gone the focus is on its tenant, in sight', () => page.evaluate(() => {
    const one = document.activeElement
    const box = one.getBoundingClientRect()
    return one.id === 'tenant-vandelay' && !document.querySelector('dialog').open && one.contains(document.elementFromPoint(box.left + 5, box.top + box.height / 2))
  }), () => error(page).innerText())
  await act(page, 'resume-vandelay', { reason: 'done' })
}

async function forgetting (page) {
  await page.locator('#forget').click()
  await page.locator('#kill-acme').click()
  check('once forgotten, the token is asked for again', await page.locator('#ask-token').isVisible())
  await page.keyboard.press('Escape')
  check('and the button that forgets it is gone', !await page.locator('#held').isVisible())
}
