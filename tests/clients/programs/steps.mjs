// The steps that every JavaScript program here takes, and what each must bring back: steps.py in JavaScript.
// The result is one JSON line: {"client", "http", "calls": [{"name", "ok", "note"}], "ok"}; exit code 1 when a step failed.

import { setTimeout as pause } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'

export const SP_API = 'https://sellingpartnerapi-na.amazon.com'
export const TOKEN_URL = 'https://api.amazon.com/auth/o2/token'
export const PLACEHOLDER = 'spx-placeholder'
export const REFRESH_TOKEN = process.env.APP_REFRESH_TOKEN ?? PLACEHOLDER
export const MARKETPLACE = 'ATVPDKIKX0DER'
export const REPORT = { reportType: 'GET_MERCHANT_LISTINGS_ALL_DATA', marketplaceIds: [MARKETPLACE] }
export const CREATED_AFTER = '2026-01-01T00:00:00Z'
export const ORDER_DATA_ELEMENTS = ['buyerInfo', 'shippingAddress']
const POLLS = 20 // a report is asked after for at most five seconds
const POLL_PAUSE = 250

/** The tally of one program. */
export class Steps {
  constructor (client) {
    this.client = client
    this.http = ''
    this.calls = []
  }

  /** Runs one step; `note` turns its answer into a few words, or throws because something is missing. */
  async take (name, call, note) {
    try {
      const answer = await call()
      this.calls.push({ name, ok: true, note: note(answer) })
      return answer
    } catch (error) {
      const cause = error?.cause ? ` (${error.cause.message})` : ''
      const body = error?.response?.text ?? (error?.response?.data ? JSON.stringify(error.response.data) : '')
      this.calls.push({ name, ok: false, note: `${error}${cause} ${body}`.slice(0, 600) })
      this.close()
    }
  }

  /** Prints the line and ends the program. */
  close () {
    const ok = this.calls.length > 0 && this.calls.every(call => call.ok)
    console.log(JSON.stringify({ client: this.client, http: this.http, calls: this.calls, ok }))
    process.exit(ok ? 0 : 1)
  }
}

export function need (value, what) {
  if (!value || value.length === 0) throw new Error(`${what} is missing`)
  return value
}

// What each step must bring back; every function takes plain JSON.

export const participations = payload => `${need(payload, 'the list of participations').length} marketplaces`
export const orders = payload => `${need(payload.Orders, 'Orders').length} orders`
export const orderId = payload => payload.Orders[0].AmazonOrderId
export const created = answer => `report ${need(answer.reportId, 'reportId')}`
export const text = words => `${need(words.trim(), 'the text of the document').length} characters`

export function order (payload) {
  need(payload.AmazonOrderId, 'AmazonOrderId')
  need(payload.BuyerInfo?.BuyerName, 'BuyerInfo.BuyerName')
  return address(payload)
}

export function address (payload) {
  need(payload.ShippingAddress?.Name, 'ShippingAddress.Name')
  need(payload.ShippingAddress?.AddressLine1, 'ShippingAddress.AddressLine1')
  return "with the buyer's address"
}

export function done (answer) {
  need(answer.reportDocumentId, 'reportDocumentId')
  return answer.processingStatus
}

export function document (answer) {
  need(answer.reportDocumentId, 'reportDocumentId')
  return `at ${new URL(need(answer.url, 'url')).hostname}`
}

/** Asks after a report until it is done. */
export async function untilDone (getReport) {
  for (let poll = 0; poll < POLLS; poll++) {
    const report = await getReport()
    if (report.processingStatus === 'DONE') return report
    if (!['IN_QUEUE', 'IN_PROGRESS'].includes(report.processingStatus)) break
    await pause(POLL_PAUSE)
  }
  throw new Error('the report is not done')
}

/** The text of a downloaded document. */
export function unpack (bytes, details) {
  return (details.compressionAlgorithm === 'GZIP' ? gunzipSync(bytes) : Buffer.from(bytes)).toString('utf8')
}

export function restrictedResource (path) {
  return { restrictedResources: [{ method: 'GET', path, dataElements: ORDER_DATA_ELEMENTS }] }
}

/** Downloads with `node:https`, whose default agent is what global-agent replaces; neither knows HTTPS_PROXY otherwise. */
export async function httpsDownload (details) {
  const { get } = await import('node:https')
  const chunks = []
  await new Promise((resolve, reject) => {
    get(details.url, answer => {
      if (answer.statusCode !== 200) reject(new Error(`status ${answer.statusCode}`))
      answer.on('data', chunk => chunks.push(chunk)).on('end', resolve).on('error', reject)
    }).on('error', reject)
  })
  return unpack(Buffer.concat(chunks), details)
}
