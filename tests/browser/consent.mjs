// A selling partner's consent, from the link that `authorize` prints to the refresh token in the store.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { check, equal } from './tell.mjs'
import { accessible } from './screen.mjs'
import { World, freePort } from './world.mjs'

const APPLICATION = 'amzn1.sellerapps.app.00000000-0000-0000-0000-000000000000'

export async function consent (world, screen) {
  const place = await office(world)
  await confirmed(place, screen)
  await cancelled(place, screen)
  await ofAnotherAttempt(place, screen)
}

/** A configuration and a store of their own, with the app and without a grant. */
async function office (world) {
  const place = new World(world.binary, join(world.home, 'consent'))
  mkdirSync(place.home)
  Object.assign(place, { sandbox: world.sandbox, central: world.central, config: join(place.home, 'proxy.yaml') })
  place.secrets['the client secret'] = `amzn1.oa2-cs.v1.${'5ec7e7'.repeat(8)}`
  writeFileSync(join(place.home, 'store.key'), `${'ab'.repeat(32)}\n`, { mode: 0o600 })
  writeFileSync(place.config, place.yaml(await freePort(), await freePort()))
  await place.command(['app', 'put', 'erp'], `amzn1.application-oa2-client.consent\n${place.secrets['the client secret']}\n`)
  return place
}

/** Starts `authorize`, and reads up to its link. */
async function asks (place, tenant) {
  const child = place.spawn('authorize', ['authorize', tenant, '--application-id', APPLICATION, '--central', place.central, '--listen', '127.0.0.1:0', '--config', place.config], { stdio: ['pipe', 'pipe', 'pipe'] })
  const asking = { child, said: '' }
  child.stderr.on('data', part => { asking.said += part })
  const lines = createInterface(child.stdout)
  asking.link = await new Promise((resolve, reject) => {
    lines.on('line', line => {
      asking.said += `${line}\n`
      if (line.startsWith('https://')) resolve(line.trim())
    })
    lines.on('close', () => reject(new Error(`no link was printed: ${asking.said}`)))
  })
  return asking
}

// the sandbox's certificate is nobody's that a browser knows
const open = (screen, url) => screen.open(url, { ignoreHTTPSErrors: true })

async function holdsGrant (place, tenant) {
  const listed = JSON.parse(await place.command(['tenant', 'list', '--json']))
  const tenants = Array.isArray(listed) ? listed : listed.tenants
  return tenants.find(one => one.id === tenant).grant
}

function nothingSecret (place, what, asking, code) {
  const sealed = readFileSync(join(place.home, 'store.sealed'), 'latin1')
  const secrets = { 'the code': code, 'a refresh token': 'Atzr', 'an access token': 'Atza', 'the client secret': place.secrets['the client secret'] }
  for (const [name, secret] of Object.entries(secrets)) check(`${what}: ${name} is neither printed nor in the clear in the store`, !asking.said.includes(secret) && !sealed.includes(secret), asking.said)
}

async function confirmed (place, screen) {
  const asking = await asks(place, 'acme')
  check('`authorize` says what it asks for and why, before the link', ['inventory-and-order-tracking', 'import of new orders', 'integrations@example.com'].every(text => asking.said.includes(text)), asking.said)
  equal('before the consent there is no grant', await holdsGrant(place, 'acme'), false)
  const page = await open(screen, asking.link)
  check('the consent page names the application', (await page.innerText('main')).includes(APPLICATION))
  await page.getByRole('button', { name: 'Confirm' }).click()
  await page.getByRole('heading', { name: 'Thank you' }).waitFor()
  const back = new URL(page.url())
  equal('the browser came back to the listener of the command', [back.hostname, back.pathname], ['127.0.0.1', '/callback'])
  const code = back.searchParams.get('spapi_oauth_code')
  check('the page that says so does not show the code', code.length > 10 && !(await page.content()).includes(code))
  await accessible(page, 'the page that says thank you')
  equal('the command ends with 0', await asking.child.exited, 0)
  check('it names the selling partner and the next step', asking.said.includes(`acme is authorized by selling partner ${back.searchParams.get('selling_partner_id')}`) && asking.said.includes('spapi-sidecar preflight acme'), asking.said)
  equal('the refresh token is in the store', await holdsGrant(place, 'acme'), true)
  nothingSecret(place, 'a consent', asking, code)
  equal('the pages broke nothing in the browser', [page.seen.complaints, page.seen.violations], [[], []])
  await page.context().close()
}

async function cancelled (place, screen) {
  const asking = await asks(place, 'globex')
  const page = await open(screen, asking.link)
  await page.getByRole('button', { name: 'Cancel' }).click()
  await page.getByRole('heading', { name: 'This was not taken' }).waitFor()
  check('a denied consent is explained in the browser', (await page.innerText('main')).includes('access_denied: the selling partner said no'), await page.innerText('main'))
  equal('the command ends with 1', await asking.child.exited, 1)
  check('and explains it too', asking.said.includes('the selling partner said no, or closed the page: ask, then open the link again'), asking.said)
  equal('the store holds no grant', await holdsGrant(place, 'globex'), false)
  await page.context().close()
}

async function ofAnotherAttempt (place, screen) {
  const asking = await asks(place, 'hooli')
  const foreign = new URL(asking.link)
  foreign.searchParams.set('state', '0'.repeat(32))
  const page = await open(screen, foreign.href)
  await page.getByRole('button', { name: 'Confirm' }).click()
  await page.getByRole('heading', { name: 'This was not taken' }).waitFor()
  check('an answer with another state is explained', (await page.innerText('main')).includes('belongs to another attempt (its state differs)'), await page.innerText('main'))
  const stolen = new URL(page.url()).searchParams.get('spapi_oauth_code')
  equal('and not taken', await holdsGrant(place, 'hooli'), false)
  await page.goto(asking.link)
  await page.getByRole('button', { name: 'Confirm' }).click()
  await page.getByRole('heading', { name: 'Thank you' }).waitFor()
  equal('the right one is still taken, and the command ends with 0', await asking.child.exited, 0)
  check('the terminal was told of the other one', asking.said.includes('belongs to another attempt'), asking.said)
  nothingSecret(place, 'after another attempt', asking, stolen)
  await page.context().close()
}
