// The world that the console shows: the sandbox in Amazon's place, and a sidecar with tenants in every kind of trouble.
// Every secret is made up afresh for each run, so that finding one anywhere can only mean that it leaked.
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import { createWriteStream, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { until } from './tell.mjs'

const READY_WITHIN = 60000
const NORTH_AMERICA = 'sellingpartnerapi-na.amazon.com'

/** Who there is: the selling partner and app of each. */
export const TENANTS = {
  acme: 'erp', globex: 'erp', hooli: 'erp', initech: 'erp', stark: 'erp', tyrell: 'erp', umbrella: 'billing', vandelay: 'erp', wayne: 'erp', wonka: 'erp'
}

/** Who is not served before a preflight has passed. */
const WAITS = ['tyrell']

/** Text that would run, were it not escaped. */
export const MARKUP = '<img src=x onerror="document.title=1"><script>document.title=2</script>&amp;'

const CALLS = {
  orders: '/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER&CreatedAfter=2026-01-01T00%3A00%3A00Z',
  sellers: '/sellers/v1/marketplaceParticipations',
  inventory: '/fba/inventory/v1/summaries?marketplaceIds=ATVPDKIKX0DER&granularityType=Marketplace&granularityId=ATVPDKIKX0DER',
  catalog: '/catalog/2022-04-01/items/B00EXAMPLE?marketplaceIds=ATVPDKIKX0DER',
  feeds: '/feeds/2021-06-30/feeds',
  pricing: '/products/pricing/v0/price?MarketplaceId=A1PA6795UKMFR9',
  markup: '/%3Cscript%3Edocument.title%3D3%3C%2Fscript%3E/%3Cb%3Ebold%3C%2Fb%3E'
}

export class World {
  constructor (binary, home) {
    this.binary = binary
    this.home = home
    this.environment = { PATH: process.env.PATH, HOME: home, LANG: 'C.UTF-8' }
    this.children = []
    this.output = ''
    this.secrets = { 'the client secret': `amzn1.oa2-cs.v1.${hex(32)}` }
    this.proxyKeys = {}
  }

  async start () {
    await this.startSandbox()
    const [proxy, admin] = [await freePort(), await freePort()]
    this.proxy = `127.0.0.1:${proxy}`
    this.admin = `http://127.0.0.1:${admin}`
    this.adminPort = admin
    this.config = join(this.home, 'proxy.yaml')
    writeFileSync(join(this.home, 'store.key'), `${hex(32)}\n`, { mode: 0o600 })
    writeFileSync(this.config, this.yaml(proxy, admin))
    for (const app of ['erp', 'billing']) await this.command(['app', 'put', app], `amzn1.application-oa2-client.${hex(16)}\n${this.secrets['the client secret']}\n`)
    for (const tenant of Object.keys(TENANTS)) {
      const token = `Atzr|${hex(32)}`
      this.secrets[`the refresh token of ${tenant}`] = token.slice(5)
      await this.sandboxed('POST', 'grants', { refresh_token: token, selling_partner: tenant })
      await this.command(['tenant', 'put-token', tenant], `${token}\n`)
      this.proxyKeys[tenant] = (await this.command(['tenant', 'proxy-key', tenant])).trim().split(/\s+/).pop()
    }
    await this.sandboxed('POST', 'faults', [
      { revoke_grant: 'stark' },
      { lapse_charge_method: 401, path_prefix: '/sellers' },
      { status: 403, details: 'Access to requested resource is denied.', path_prefix: '/fba' },
      { status: 429, path_prefix: '/catalog' }
    ])
    await this.startSidecar()
    this.adminToken = readFileSync(join(this.home, 'admin.token'), 'utf8').trim()
    this.secrets['the admin token'] = this.adminToken
  }

  // --- processes

  spawn (name, words, more = {}) {
    const child = spawn(this.binary, words, { env: this.environment, cwd: this.home, stdio: ['ignore', 'pipe', 'pipe'], ...more })
    const log = createWriteStream(join(this.home, `${name}.log`), { flags: 'a' })
    child.stderr.pipe(log)
    child.exited = new Promise(resolve => child.on('exit', code => resolve(code)))
    this.children.push(child)
    return child
  }

  async startSandbox () {
    const child = this.spawn('sandbox', ['sandbox', '--listen', '127.0.0.1:0', '--dir', join(this.home, 'sandbox'), '--json'])
    for await (const line of createInterface(child.stdout)) {
      this.sandbox = JSON.parse(line)
      break
    }
    child.stdout.resume()
    this.sandboxCa = readFileSync(this.sandbox.ca_file)
    this.central = `https://${this.sandbox.address}`
  }

  async startSidecar () {
    this.sidecar = this.spawn('sidecar', ['run', '--config', this.config])
    this.sidecar.stdout.pipe(createWriteStream(join(this.home, 'sidecar.log'), { flags: 'a' }))
    const ready = await until(async () => (await this.get('/health/ready'))?.status === 200, READY_WITHIN)
    if (!ready) throw new Error(`the sidecar is not ready: ${readFileSync(join(this.home, 'sidecar.log'), 'utf8').slice(-3000)}`)
  }

  async stopSidecar () {
    this.sidecar.kill('SIGTERM')
    return await this.sidecar.exited
  }

  async stop () {
    for (const child of this.children) child.kill('SIGTERM')
    const hard = setTimeout(() => this.children.forEach(child => child.kill('SIGKILL')), 10000)
    await Promise.all(this.children.map(child => child.exited))
    clearTimeout(hard)
  }

  // --- commands and calls

  /** Runs a command of the sidecar; what it printed. */
  command (words, input = '') {
    return new Promise((resolve, reject) => {
      const child = execFile(this.binary, [...words, '--config', this.config], { env: this.environment, cwd: this.home }, (error, stdout, stderr) => {
        if (error) reject(new Error(`${words.join(' ')}: ${stdout}${stderr}`))
        else resolve(stdout)
      })
      child.stdin.end(input)
    })
  }

  async get (path) {
    try {
      return await fetch(this.admin + path)
    } catch {
      return null
    }
  }

  async status () {
    return await (await this.get('/api/v1/status')).json()
  }

  async authz () {
    return await (await this.get('/health/authz')).json()
  }

  async stateOf (tenant) {
    return (await this.status()).tenants.find(one => one.id === tenant).state
  }

  async act (path, body) {
    const answer = await fetch(`${this.admin}/api/v1/${path}`, { method: 'POST', headers: { authorization: `Bearer ${this.adminToken}` }, body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  }

  /** What the sandbox's own switches take. */
  sandboxed (method, what, body) {
    return new Promise((resolve, reject) => {
      const [host, port] = this.sandbox.address.split(':')
      const asked = request({ host, port, method, path: `/_sandbox/${what}`, ca: this.sandboxCa, agent: false }, answer => {
        let text = ''
        answer.on('data', part => { text += part })
        answer.on('end', () => answer.statusCode < 300 ? resolve(JSON.parse(text)) : reject(new Error(text)))
      })
      asked.on('error', reject)
      asked.end(body && JSON.stringify(body))
    })
  }

  /** A program of a tenant's that makes calls through the sidecar; their statuses. */
  calls (tenant, name, times = 1) {
    const one = `url = "https://${NORTH_AMERICA}${CALLS[name]}"\noutput = /dev/null\n`
    const options = `silent\nproxy = "http://${this.proxy}"\nproxy-user = "${tenant}:${this.proxyKeys[tenant]}"\ncacert = "${this.home}/ca.pem"\nwrite-out = "%{http_code}\\n"\n`
    return new Promise((resolve, reject) => {
      const child = execFile('curl', ['--config', '-'], { env: this.environment }, (error, stdout, stderr) => error ? reject(new Error(`curl: ${error.message} ${stderr}`)) : resolve(stdout.trim().split('\n')))
      child.stdin.end(options + one.repeat(times))
    })
  }

  /** Traffic, states and a break-glass, so that there is something of everything to see. */
  async bringTrouble () {
    await this.act('tenants/globex/quarantine', { reason: `feed loop ${MARKUP}`, by: 'Robin (on call)' })
    await this.act('tenants/initech/kill', { reason: 'its laptop was stolen', by: 'Sam' })
    await this.act('break-glass', { tenant: 'acme', allow: ['GET /feeds/2021-06-30/feeds/{feedId}'], for: '30m', reason: `stuck feed ${MARKUP}`, by: '<b>Kim</b>' })
    const traffic = [
      ['acme', 'orders', 24], ['wonka', 'orders', 9], ['vandelay', 'orders', 3], ['umbrella', 'sellers', 14], ['hooli', 'orders', 6], ['hooli', 'inventory', 12],
      ['wayne', 'catalog', 20], ['wayne', 'orders', 4], ['acme', 'feeds', 3], ['acme', 'markup', 1], ['wonka', 'pricing', 2], ['globex', 'orders', 2]
    ]
    await Promise.all(traffic.map(words => this.calls(...words)))
    // what takes a second try, or a verdict, is said a little later
    const wanted = [
      'auth_errors umbrella', 'auth_errors hooli', 'refresh_failing stark', 'tenant_quarantined stark', 'tenant_quarantined globex',
      'charge_method_due billing', 'client_secret_due erp', 'profile_review_due erp',
      'charge_method_lapsed umbrella', 'grant_revoked stark', 'role_missing hooli', 'throttled wayne', 'scope_not_granted wonka',
      'tenant_quarantined globex', 'tenant_killed initech', 'preflight_pending tyrell'
    ]
    let missing
    const settled = await until(async () => {
      const [{ alerts }, { tenants }] = [await this.status(), await this.authz()]
      const seen = [...alerts.map(one => `${one.alert} ${one.subject}`), ...tenants.map(one => `${one.probable_cause} ${one.id}`)]
      missing = wanted.filter(one => !seen.includes(one))
      return missing.length === 0
    })
    if (!settled) throw new Error(`this does not come: ${missing.join(', ')}`)
  }

  yaml (proxy, admin) {
    const day = days => new Date(Date.now() + days * 86400e3).toISOString().slice(0, 10)
    const tenants = Object.entries(TENANTS).map(([id, app]) => `  - { id: ${id}, app: ${app},${WAITS.includes(id) ? ' preflight: required,' : ''} account: seller, region: na, marketplaces: [ATVPDKIKX0DER], scopes: [selling-partner-insights, inventory-and-order-tracking, amazon-fulfillment, product-listing] }`)
    return `version: 1
listen:
  proxy: ["127.0.0.1:${proxy}"]
  admin: "127.0.0.1:${admin}"
  admin_token_file: ${this.home}/admin.token
  drain_timeout: 2s
interception:
  ca: { mode: ephemeral, cert_path: ${this.home}/ca.pem, bundle_path: ${this.home}/ca-bundle.pem }
upstream:
  trust: { ca_file: ${this.sandbox.ca_file} }
  connect_to: ${JSON.stringify(this.sandbox.connect_to)}
store:
  file: { path: ${this.home}/store.sealed, key_file: ${this.home}/store.key }
egress:
  - { host: ${NORTH_AMERICA}, mode: inject }
  - { host: api.amazon.com, mode: lwa }
apps:
  - id: erp
    charge_method: { status: valid, expires: "${day(400).slice(0, 7)}", owner: finance@example.com }
    client_secret_rotated: ${day(-157)}
    developer_profile_review: ${day(5)}
  - id: billing
    charge_method: { status: declined, expires: "${day(-40).slice(0, 7)}", owner: "finance <b>EU</b>" }
tenants:
${tenants.join('\n')}
policy: enforce
routes:
  - { allow: GET /orders/v0/orders, scope: inventory-and-order-tracking, reason: import of new orders, owner: integrations@example.com }
  - { allow: GET /sellers/v1/marketplaceParticipations, scope: selling-partner-insights, reason: where the account sells, owner: integrations@example.com }
  - { allow: GET /fba/inventory/v1/summaries, scope: amazon-fulfillment, reason: stock, owner: warehouse@example.com }
  - { allow: "GET /catalog/2022-04-01/items/{asin}", scope: product-listing, reason: listings, owner: listings@example.com }
  - { allow: GET /products/pricing/v0/price, scope: pricing, reason: repricing, owner: listings@example.com }
throttle: { mode: pass }
alerts: { quarantine_on: [grant_revoked] }
telemetry:
  release: "2026.11.3 <i>canary</i>"
audit:
  path: ${this.home}/audit.jsonl
`
  }
}

export function freshFolder (path) {
  rmSync(path, { recursive: true, force: true })
  mkdirSync(path, { recursive: true })
  return path
}

const hex = bytes => randomBytes(bytes).toString('hex')

export function freePort () {
  return new Promise((resolve, reject) => {
    const listener = createServer()
    listener.on('error', reject)
    listener.listen(0, '127.0.0.1', () => {
      const { port } = listener.address()
      listener.close(() => resolve(port))
    })
  })
}
