// What the console shows, how it looks, and what it is made of.
import { join } from 'node:path'
import { check, comes, equal } from './tell.mjs'
import { accessible, fits, nothingWrong, root } from './screen.mjs'
import { MARKUP, TENANTS } from './world.mjs'

export async function look (world, screen) {
  const page = await screen.open(world.admin)
  await policy(page)
  await glance(page)
  await charts(page)
  await beside(page)
  await markup(page, world)
  await runbooks(page, world)
  nothingWrong(page, 'the console', world.admin)
  await anInlineScriptIsBlocked(page)
  await page.context().close()
  await withoutScript(world, screen)
  await pictures(world, screen)
}

async function policy (page) {
  const fields = page.answer.headers()
  const directives = Object.fromEntries((fields['content-security-policy'] ?? '').split(';').map(one => {
    const [name, ...sources] = one.trim().split(' ')
    return [name, sources.join(' ')]
  }))
  equal('the Content-Security-Policy is strict', directives, {
    'default-src': "'none'", 'script-src': "'self'", 'style-src': "'self'", 'connect-src': "'self'", 'img-src': "'self'",
    'form-action': "'none'", 'frame-ancestors': "'none'", 'base-uri': "'none'"
  })
  equal('no cache keeps the page, no referrer leaves it, no type is guessed', [fields['cache-control'], fields['referrer-policy'], fields['x-content-type-options']], ['no-store', 'no-referrer', 'nosniff'])
}

async function anInlineScriptIsBlocked (page) {
  await page.evaluate(() => {
    const script = document.createElement('script')
    script.textContent = 'window.ran = true'
    document.body.append(script)
  })
  await comes('a script that is slipped into the page does not run, and the browser says so', async () => page.seen.violations.length > 0 && !await page.evaluate(() => window.ran))
}

/** A card's text, with white space as one reads it. */
export async function card (page, tenant) {
  const text = await page.locator(`#card-${tenant}`).innerText()
  return text.replace(/\s+/g, ' ')
}

/** The line of the summary that names a tenant. */
export function trouble (page, tenant) {
  return page.locator('#verdict .troubles li').filter({ has: page.locator(`a[href="#tenant-${tenant}"]`) })
}

async function glance (page) {
  const summary = (await page.locator('#verdict').innerText()).replace(/\s+/g, ' ')
  check('the first line counts who is in trouble', /^2 failing, 6 degraded, 2 well 9 alerts/.test(summary), summary)
  for (const [tenant, cause, whose] of [
    ['umbrella', 'charge method lapsed', 'finance'], ['stark', 'grant revoked', 'engineering'], ['hooli', 'role missing', 'engineering'],
    ['wayne', 'throttled', 'engineering'], ['globex', 'tenant quarantined', 'engineering'], ['initech', 'tenant killed', 'engineering'],
    ['tyrell', 'preflight pending', 'engineering']
  ]) {
    const text = (await trouble(page, tenant).innerText()).replace(/\s+/g, ' ')
    check(`the summary says of ${tenant}: ${cause}, ${whose}`, text.endsWith(`${tenant}: ${cause} ${whose}`), text)
  }
  equal('those who are well are not in the summary', [await trouble(page, 'acme').count(), await trouble(page, 'vandelay').count()], [0, 0])
  const order = await page.locator('.tenants > li').evaluateAll(all => all.map(one => one.id.slice(5)))
  equal('every tenant has a card, the worst first and those set aside after their equals', [order.length, order.slice(0, 2), order.slice(6, 8), order.slice(8)], [Object.keys(TENANTS).length, ['umbrella', 'stark'], ['globex', 'initech'], ['acme', 'vandelay']])
  equal('the tab says how many are in trouble', await page.title(), '(8) spapi-sidecar')
  check('so does its icon', (await page.locator('#icon').getAttribute('href')).includes('trouble'))
  for (const [tenant, ...words] of [
    ['umbrella', 'failing', 'finance (finance <b>EU</b>): renew the charge method of app billing', 'Charge method: declined, '],
    ['stark', 'no usable token', 'spapi-sidecar authorize stark', 'quarantined since', 'by automatic: grant_revoked'],
    ['globex', 'quarantined since', 'by Robin (on call): feed loop', 'spapi-sidecar tenant resume globex'],
    ['tyrell', 'degraded preflight pending', 'engineering: run spapi-sidecar preflight tyrell and mend what it names'],
    ['initech', 'killed since', 'by Sam: its laptop was stolen', 'no usable token'],
    ['acme', 'ok', ' min left', 'Charge method: valid, ', 'Authorization 365 days left', 'App erp, na']
  ]) {
    const text = await card(page, tenant)
    check(`the card of ${tenant} says ${words.join(' | ')}`, words.every(word => text.includes(word)), text)
  }
  for (const [tenant, offers] of [['initech', ['resume']], ['globex', ['refresh', 'resume', 'kill']], ['acme', ['refresh', 'break-glass', 'quarantine', 'kill']]]) {
    const buttons = page.locator(`#card-${tenant} [data-action]`)
    equal(`${tenant} is offered what can be done alone`, await buttons.evaluateAll(all => all.map(one => one.dataset.action)), offers)
  }
  await page.locator('#evidence-umbrella summary').click()
  const evidence = await page.locator('#evidence-umbrella').innerText()
  check('evidence is a click away and tells what it rests on', /401/.test(evidence) && /charge method/.test(evidence), evidence)
  for (const [name, text] of [['Ready', 'yes'], ['Store', 'answers'], ['Policy', 'enforce'], ['Fleet', '1 sidecar'], ['Release', '2026.11.3 <i>canary</i>']]) {
    equal(`${name} is ${text}`, (await page.locator('#verdict .facts div').filter({ hasText: name }).locator('dd').innerText()).trim(), text)
  }
}

async function charts (page) {
  for (const [tenant, words] of [
    ['umbrella', /Last hour of umbrella: 1[45] 401, 0 403, 0 429, 0 good; start of 2026\.11\.3 <i>canary<\/i> (just now|\d minutes? ago)/],
    ['hooli', /Last hour of hooli: 0 401, 12 403, 0 429, 6 good/],
    ['wayne', /Last hour of wayne: 0 401, 0 403, 20 429, 4 good/]
  ]) {
    const chart = page.getByRole('img', { name: words })
    equal(`a screen reader hears the chart of ${tenant}`, await chart.count(), 1)
    const drawn = await chart.evaluate(one => [one.querySelectorAll('rect').length, one.querySelectorAll('.mark').length, Math.max(...[...one.querySelectorAll('rect')].map(bar => bar.getBoundingClientRect().height)) > 8])
    check(`the chart of ${tenant} has bars and a release mark`, drawn[0] > 0 && drawn[1] === 3 && drawn[2], drawn)
    const figure = page.locator('figure').filter({ has: chart })
    check(`the charge method stands with the chart of ${tenant}`, (await figure.innerText()).includes('Charge method: '))
  }
  const bar = page.getByRole('meter', { name: /^Access token of acme: 5\d min left$/ })
  equal('a token\'s life is a meter with a name', await bar.count(), 1)
  check('it is nearly full', await bar.evaluate(one => one.value / one.max > 0.9 && one.getBoundingClientRect().width > 50))
  equal('where there is no token there is no meter', await page.getByRole('meter', { name: /initech/ }).count(), 0)
}

async function beside (page) {
  const alerts = (await page.locator('#alerts').innerText()).replace(/\s+/g, ' ')
  for (const text of ['auth_errors', 'umbrella since', 'charge method of app billing', 'refresh_failing', 'charge_method_due', 'client_secret_due', 'profile_review_due', 'tenant_quarantined']) {
    check(`the alerts say ${text}`, alerts.includes(text), alerts)
  }
  check('first calls of endpoints are folded away', /new_endpoint \d+$/.test(alerts), alerts)
  const refused = (await page.locator('#refused').innerText()).replace(/\s+/g, ' ')
  for (const text of [
    'acme GET /feeds/2021-06-30/feeds route_denied, 3 times', 'To allow it: - { allow: "GET /feeds/2021-06-30/feeds", scope: amazon-fulfillment } under routes',
    'wonka GET /products/pricing/v0/price scope_denied, 2 times', 'among scopes of tenant wonka', 'path_ambiguous, once',
    'globex any call tenant_quarantined, 2 times', 'To allow it: spapi-sidecar tenant resume globex, once the reason is gone'
  ]) check(`the refusals say ${text}`, refused.includes(text), refused)
  const glasses = (await page.locator('#glasses').innerText()).replace(/\s+/g, ' ')
  check('the break-glass in force is there with its route, reason and name', ['acme until', 'GET /feeds/2021-06-30/feeds/{feedId}', 'by <b>Kim</b>: stuck feed'].every(text => glasses.includes(text)), glasses)
  const dues = (await page.locator('#dues').innerText()).replace(/\s+/g, ' ')
  for (const text of [/\d+ days over charge method of billing, finance <b>EU<\/b>/, /5 days left profile review of erp/, /23 days left client secret of erp/, /(29|30) days left CA of this sidecar/]) {
    check(`what comes due says ${text.source}`, text.test(dues), dues)
  }
  await page.locator('#far-dues summary').click()
  check('what is far off is a click away', (await page.locator('#far-dues').innerText()).includes('authorization of acme'))
}

async function markup (page, world) {
  const text = await page.locator('main').innerText()
  check('markup in a reason is shown as text', text.replace(/\s+/g, ' ').split(MARKUP).length >= 3, text)
  equal('no element came of it', await page.locator('main img, main script, main i, header i, dialog i').count(), 0)
  check('no script of it ran', (await page.title()).startsWith('(8)'))
  const tag = '%3Cimg%20src%3Dx%3E'
  for (const path of [`/console/runbook/${tag}`, `/${tag}`, `/health/authz?tenant=${tag}`]) {
    const answer = await world.get(path)
    const [kind, said] = [answer.headers.get('content-type'), await answer.text()]
    check(`${path} is answered with 404, without markup and not as a page`, answer.status === 404 && !said.includes('<img') && !kind.includes('html'), `${answer.status} ${kind} ${said}`)
  }
}

async function runbooks (page, world) {
  const link = page.getByRole('link', { name: 'Runbook auth_errors.md' }).first()
  equal('an alert links its runbook', await link.getAttribute('href'), '/console/runbook/auth_errors.md')
  const context = page.context()
  const other = await context.newPage()
  const answer = await other.goto(world.admin + '/console/runbook/auth_errors.md')
  check('the runbook is in the program, under the same policy', (await other.innerText('main')).includes('First minutes') && answer.headers()['content-security-policy'].startsWith("default-src 'none'"))
  await accessible(other, 'a runbook')
  await other.setViewportSize({ width: 390, height: 800 })
  await fits(other, 'a runbook at 390 px')
  await other.getByRole('link', { name: 'charge_method_due' }).click()
  await other.waitForURL(/charge_method_due/)
  check('it leads to the next one', (await other.innerText('main')).includes('charge_method_due'))
  await other.close()
}

async function withoutScript (world, screen) {
  const page = await screen.open(world.admin, { javaScriptEnabled: false })
  const text = (await page.locator('body').innerText()).replace(/\s+/g, ' ')
  for (const words of ['2 failing, 6 degraded, 2 well 9 alerts', 'not live: this page stands still without script', 'Charge method: declined', ' min left', 'tenant_quarantined', 'To allow it: - { allow:', 'profile review of erp', 'Break-glass in force 1']) {
    check(`without script it says ${words}`, text.includes(words), text)
  }
  equal('without script no button pretends to work', await page.locator('[data-action]:visible, #held:visible, dialog:visible').count(), 0)
  nothingWrong(page, 'without script', world.admin)
  await page.context().close()
}

async function pictures (world, screen) {
  const folder = join(root, 'target/console')
  for (const width of [1280, 390]) {
    for (const colorScheme of ['light', 'dark']) {
      const name = `${width}-${colorScheme}`
      const page = await screen.open(world.admin, { viewport: { width, height: 900 }, colorScheme })
      await accessible(page, name)
      await fits(page, name)
      await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true })
      await page.locator('#kill-acme').click()
      await accessible(page, `${name}, asking`)
      await fits(page, `${name}, asking`)
      await page.screenshot({ path: join(folder, `${name}-kill.png`) })
      await page.locator('#ask-no').click()
      await page.locator('#break-glass-acme').click()
      await page.screenshot({ path: join(folder, `${name}-break-glass.png`) })
      await page.keyboard.press('Escape')
      nothingWrong(page, name, world.admin)
      await page.context().close()
    }
  }
}
