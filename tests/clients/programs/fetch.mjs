// fetch with undici's ProxyAgent: Node 20's own fetch does not read HTTPS_PROXY. NODE_EXTRA_CA_CERTS gives the CA.

import { ProxyAgent, fetch } from 'undici'
import * as steps from './steps.mjs'

const dispatcher = new ProxyAgent(process.env.HTTPS_PROXY)
const tally = new steps.Steps('fetch (undici)')
let token

async function send (method, url, headers, body) {
  const answer = await fetch(url, { method, headers, body, dispatcher, signal: AbortSignal.timeout(30_000) })
  if (!answer.ok) throw new Error(`status ${answer.status}: ${(await answer.text()).slice(0, 300)}`)
  return answer
}

async function call (method, path, body) {
  const headers = { 'x-amz-access-token': token, 'user-agent': 'clients/1.0 (Language=JavaScript)' }
  if (body) headers['content-type'] = 'application/json'
  return (await send(method, steps.SP_API + path, headers, body && JSON.stringify(body))).json()
}

const payload = async path => (await call('GET', path)).payload

async function exchange () {
  const body = JSON.stringify({
    grant_type: 'refresh_token',
    refresh_token: steps.REFRESH_TOKEN,
    client_id: steps.PLACEHOLDER,
    client_secret: steps.PLACEHOLDER
  })
  const answer = await (await send('POST', steps.TOKEN_URL, { 'content-type': 'application/json' }, body)).json()
  token = steps.need(answer.access_token, 'access_token')
  return answer
}

await tally.take('exchange', exchange, answer => `for ${answer.expires_in} s`)
await tally.take('getMarketplaceParticipations', () => payload('/sellers/v1/marketplaceParticipations'), steps.participations)
const query = new URLSearchParams({ MarketplaceIds: steps.MARKETPLACE, CreatedAfter: steps.CREATED_AFTER })
const found = await tally.take('getOrders', () => payload(`/orders/v0/orders?${query}`), steps.orders)
const orderPath = `/orders/v0/orders/${steps.orderId(found)}`
await tally.take('getOrder', () => payload(orderPath), steps.order)
await tally.take('getOrderAddress', () => payload(`${orderPath}/address`), steps.address)

let report = await tally.take('createReport', () => call('POST', '/reports/2021-06-30/reports', steps.REPORT), steps.created)
const reportPath = `/reports/2021-06-30/reports/${report.reportId}`
report = await tally.take('getReport', () => steps.untilDone(() => call('GET', reportPath)), steps.done)
const documentPath = `/reports/2021-06-30/documents/${report.reportDocumentId}`
const details = await tally.take('getReportDocument', () => call('GET', documentPath), steps.document)
const download = async () => steps.unpack(await (await send('GET', details.url, {})).arrayBuffer(), details)
await tally.take('download', download, steps.text)
tally.close()
