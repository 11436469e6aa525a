// The page follows what happens, and survives a sidecar that goes away.
import { join } from 'node:path'
import { check, comes, equal } from './tell.mjs'
import { card, trouble } from './look.mjs'
import { nothingWrong, root } from './screen.mjs'

export async function live (world, screen) {
  const page = await screen.open(world.admin, { eventsOnly: true })
  await page.evaluate(() => { window.neverLoadedAgain = true })
  await aFaultIsSeen(page, world)
  await quietPage(page)
  nothingWrong(page, 'a page that lives on', world.admin)
  await theSidecarRestarts(page, world)
  await page.context().close()
}

async function aFaultIsSeen (page, world) {
  check('before the fault acme is well', (await card(page, 'acme')).includes('acme ✓ ok'))
  const stream = page.seen.requests.filter(request => request.url().endsWith('/api/v1/events'))
  equal('one stream of events is open', [stream.length, (await stream[0].response()).headers()['content-type']], [1, 'text/event-stream'])
  const { ids } = await world.sandboxed('POST', 'faults', { revoke_grant: 'acme' })
  await world.calls('acme', 'orders', 3)
  await comes('a grant is revoked: the row of its tenant changes by itself', async () => (await card(page, 'acme')).includes('✕ failing'), () => card(page, 'acme'))
  await comes('with the cause and what to do', async () => /grant revoked.*spapi-sidecar authorize acme/.test(await card(page, 'acme')), () => card(page, 'acme'))
  await comes('the summary, where it joins the other one of that cause, and the tab follow', async () => /acme, stark: grant revoked engineering$/.test(await trouble(page, 'acme').innerText()) && await page.title() === '(9) spapi-sidecar', () => page.title())
  check('without a reload', await page.evaluate(() => window.neverLoadedAgain === true))
  for (const id of ids) await world.sandboxed('DELETE', `faults/${id}`)
}

async function quietPage (page) {
  const text = await page.locator('#live').innerText()
  equal('the status line says that it is live', text, 'live')
  equal('it is a status to a screen reader', await page.getByRole('status').filter({ hasText: 'live' }).count(), 1)
}

async function theSidecarRestarts (page, world) {
  equal('the sidecar ends in order while a page listens', await world.stopSidecar(), 0)
  await comes('the page says that it is not live, and as of when it is', async () => /^not live: the sidecar does not answer; what is shown is as of 20\d\d-/.test(await page.locator('#live').innerText()), () => page.locator('#live').innerText())
  await page.screenshot({ path: join(root, 'target/console/1280-light-not-live.png') })
  check('what it shows stays', (await card(page, 'umbrella')).includes('charge method'))
  await world.startSidecar()
  await comes('the sidecar is back, and so is the page', async () => await page.locator('#live').innerText() === 'live', () => page.locator('#live').innerText())
  const before = page.seen.requests.length
  await world.calls('wonka', 'orders')
  await comes('events arrive again', async () => page.seen.requests.length > before && /Taken by Amazon: [1-9]/.test(await card(page, 'wonka')), () => card(page, 'wonka'))
  check('still without a reload', await page.evaluate(() => window.neverLoadedAgain === true))
  const strange = page.seen.complaints.filter(text => !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE/.test(text))
  equal('the browser complained of nothing but the connection', strange, [])
}
