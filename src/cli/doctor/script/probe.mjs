// Asks the sidecar for one call by each HTTP stack and SP-API library that this Node has. One line of JSON each.
import { createRequire } from 'node:module'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import https from 'node:https'

const url = process.argv[2]
const here = createRequire(join(process.argv[3] ?? process.cwd(), 'any.js'))
const mark = 'x-spapi-sidecar-request-id'
const code = 'x-spapi-sidecar-error'
const bound = 8000
const untrusted = /SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|CERT_|certificate/i

const say = (name, version, { outcome, detail }) =>
  console.log(JSON.stringify({ name, version, outcome, detail: String(detail ?? '').slice(0, 300) }))

function answered (field) {
  if (!field(mark)) return { outcome: 'direct', detail: '' }
  return { outcome: field(code) === 'plaintext_denied' ? 'plaintext' : 'sidecar', detail: field(code) ?? '' }
}

function failed (error) {
  let text = ''
  for (let link = error; link; link = link.cause) text += ` ${link.code ?? ''} ${link.message ?? link}`
  const outcome = / 407/.test(text) ? 'login' : untrusted.test(text) ? 'untrusted' : 'unreachable'
  return { outcome, detail: text.trim() }
}

const tried = ask => ask().catch(failed)

const withHttps = () => new Promise((resolve, reject) => {
  const request = https.get(url, { timeout: bound }, response => {
    response.resume()
    resolve(answered(name => response.headers[name]))
  })
  request.on('timeout', () => request.destroy(new Error('no answer')))
  request.on('error', reject)
})

const withFetch = async () => {
  const response = await fetch(url, { signal: AbortSignal.timeout(bound) })
  return answered(name => response.headers.get(name))
}

const withAxios = from => async () => {
  const module = createRequire(from)('axios')
  const response = await (module.default ?? module).get(url, { timeout: bound, validateStatus: () => true })
  return answered(name => response.headers[name])
}

// the folder of a package, where the program's folder finds it: `exports` may hide its package.json from require
function folder (name) {
  for (const base of here.resolve.paths(name) ?? []) {
    const found = join(base, name)
    if (existsSync(join(found, 'package.json'))) return found
  }
}

const version = at => JSON.parse(readFileSync(join(at, 'package.json'), 'utf8')).version

say('node', process.versions.node, await tried(withHttps))
if (globalThis.fetch) say('fetch (undici)', process.versions.undici ?? '', await tried(withFetch))
for (const name of ['amazon-sp-api', '@amazon-sp-api-release/amazon-sp-api-sdk-js']) {
  // node:https underneath, directly and by superagent
  const at = folder(name)
  if (at) say(name, version(at), await tried(withHttps))
}
const sdk = folder('@sp-api-sdk/auth')
if (sdk) {
  const from = join(sdk, 'package.json')
  const axios = dirname(createRequire(from).resolve('axios/package.json'))
  const result = await tried(withAxios(from))
  result.detail = `axios ${version(axios)} ${result.detail}`.trim()
  say('@sp-api-sdk', version(sdk), result)
}
