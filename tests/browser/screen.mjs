// Debian's Chromium, and pages that remember everything that went wrong on them.
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { check, equal } from './tell.mjs'

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const tools = createRequire(join(root, '.tools/browser/package.json'))
const { chromium } = tools('playwright-core')
const axe = tools('axe-core')

// no traffic of the browser's own, so that what is seen is the page's
const QUIET = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
const PATIENCE = 60000

export class Screen {
  /** Playwright gives each start a new, empty user data directory. */
  static async start () {
    const screen = new Screen()
    const asRoot = process.getuid() === 0
    screen.browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, chromiumSandbox: !asRoot, args: QUIET })
    return screen
  }

  async stop () {
    await this.browser.close()
  }

  /** A page of the console in a context of its own, with `page.seen`. */
  async open (url, options = {}) {
    const { eventsOnly, ...more } = options
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 900 }, ...more })
    context.setDefaultTimeout(PATIENCE)
    const page = await context.newPage()
    page.seen = watch(page)
    await page.exposeFunction('seenViolation', text => page.seen.violations.push(text))
    await page.addInitScript(() => document.addEventListener('securitypolicyviolation', event => window.seenViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`)))
    // without its timer a page changes only when it is told that something has happened
    if (eventsOnly) await page.addInitScript(() => { window.setInterval = () => 0 })
    page.answer = await page.goto(url)
    if (options.javaScriptEnabled !== false && url.startsWith('http://')) await page.locator('#live.on').waitFor()
    return page
  }
}

function watch (page) {
  const seen = { complaints: [], failed: [], requests: [], violations: [] }
  page.on('console', message => ['error', 'warning'].includes(message.type()) && seen.complaints.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', error => seen.complaints.push(String(error)))
  page.on('request', request => seen.requests.push(request))
  // what the page itself ends when it is left is no failure
  page.on('requestfailed', request => request.failure()?.errorText !== 'net::ERR_ABORTED' && seen.failed.push(`${request.url()}: ${request.failure()?.errorText}`))
  page.on('response', answer => answer.status() >= 400 && seen.failed.push(`${answer.url()}: ${answer.status()}`))
  return seen
}

/** Nothing went wrong on a page, and it asked nobody but its own origin. */
export function nothingWrong (page, where, origin) {
  equal(`${where}: no error and no warning in the browser's console`, page.seen.complaints, [])
  equal(`${where}: no request failed`, page.seen.failed, [])
  equal(`${where}: nothing was asked of any other origin`, page.seen.requests.map(request => request.url()).filter(url => new URL(url).origin !== origin), [])
  equal(`${where}: nothing broke the Content-Security-Policy`, page.seen.violations, [])
}

/** axe-core finds nothing serious or critical. */
export async function accessible (page, where) {
  await page.evaluate(axe.source)
  const { violations, passes } = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }))
  const grave = violations.filter(one => ['serious', 'critical'].includes(one.impact))
  check(`${where}: axe-core has no serious or critical finding`, grave.length === 0 && passes.length > 10, grave.map(one => `${one.id} (${one.impact}): ${one.nodes.map(node => node.html + ' ' + node.failureSummary).join('\n')}`).join('\n'))
  const others = violations.filter(one => !grave.includes(one)).map(one => `${one.id} (${one.impact}): ${one.nodes[0].html}`)
  equal(`${where}: nor any lesser one`, others, [])
}

/** Nothing is wider than the screen. */
export async function fits (page, where) {
  const wide = await page.evaluate(() => {
    const width = document.documentElement.clientWidth
    const out = [...document.querySelectorAll('body *')].filter(one => {
      const box = one.getBoundingClientRect()
      return box.width > 0 && !one.closest('.hidden, .skip') && box.right > width + 1
    })
    return [document.scrollingElement.scrollWidth - width, ...out.map(one => one.outerHTML.slice(0, 120))]
  })
  equal(`${where}: nothing scrolls sideways, and nothing is cut off`, wide, [0])
}
