// amazon-sp-api (node:https): on Node 20 it does not read HTTPS_PROXY, so it comes by the transparent listener, or by
// global-agent. It takes a restricted data token by hand.

import SellingPartner from 'amazon-sp-api'
import * as steps from './steps.mjs'

const tally = new steps.Steps('amazon-sp-api')
const client = new SellingPartner({
  region: 'na',
  refresh_token: steps.REFRESH_TOKEN,
  credentials: {
    SELLING_PARTNER_APP_CLIENT_ID: steps.PLACEHOLDER,
    SELLING_PARTNER_APP_CLIENT_SECRET: steps.PLACEHOLDER
  }
})
const call = request => client.callAPI(request)
const reports = (operation, more) => call({ operation, endpoint: 'reports', options: { version: '2021-06-30' }, ...more })

await tally.take('getMarketplaceParticipations', () => call({
  operation: 'getMarketplaceParticipations', endpoint: 'sellers'
}), steps.participations)
const found = await tally.take('getOrders', () => call({
  operation: 'getOrders',
  endpoint: 'orders',
  query: { MarketplaceIds: [steps.MARKETPLACE], CreatedAfter: steps.CREATED_AFTER }
}), steps.orders)
const orderId = steps.orderId(found)
const { restrictedDataToken } = await tally.take('createRestrictedDataToken', () => call({
  operation: 'createRestrictedDataToken',
  endpoint: 'tokens',
  body: steps.restrictedResource(`/orders/v0/orders/${orderId}`)
}), answer => `for ${answer.expiresIn} s`)
await tally.take('getOrder', () => call({
  operation: 'getOrder', endpoint: 'orders', path: { orderId }, restricted_data_token: restrictedDataToken
}), steps.order)
await tally.take('getOrderAddress', () => call({
  operation: 'getOrderAddress', endpoint: 'orders', path: { orderId }
}), steps.address)

let report = await tally.take('createReport', () => reports('createReport', { body: steps.REPORT }), steps.created)
const ask = () => reports('getReport', { path: { reportId: report.reportId } })
report = await tally.take('getReport', () => steps.untilDone(ask), steps.done)
const details = await tally.take('getReportDocument', () => reports('getReportDocument', {
  path: { reportDocumentId: report.reportDocumentId }
}), steps.document)
await tally.take('download', () => client.download(details), steps.text)
tally.close()
