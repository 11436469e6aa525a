// Amazon's own SDK for JavaScript (superagent): it never reads HTTPS_PROXY, so it comes by the transparent listener, or
// by global-agent. getOrder in its automatic mode asks the Tokens API itself; getOrderAddress is called plainly.

import { OrdersSpApi, ReportsSpApi, SellersSpApi } from '@amazon-sp-api-release/amazon-sp-api-sdk-js'
import * as steps from './steps.mjs'

const tally = new steps.Steps('amazon-sp-api-sdk-js')
const credentials = [steps.PLACEHOLDER, steps.PLACEHOLDER, steps.REFRESH_TOKEN]

function client (section) {
  const api = new section.ApiClient(steps.SP_API)
  api.enableAutoRetrievalAccessToken(...credentials, null)
  return api
}

const restricted = new OrdersSpApi.ApiClient(steps.SP_API)
restricted.enableAutoRetrievalRestrictedDataToken(...credentials, steps.ORDER_DATA_ELEMENTS)
const sellers = new SellersSpApi.SellersApi(client(SellersSpApi))
const orders = new OrdersSpApi.OrdersV0Api(client(OrdersSpApi))
const restrictedOrders = new OrdersSpApi.OrdersV0Api(restricted)
const reports = new ReportsSpApi.ReportsApi(client(ReportsSpApi))

// The SDK's models spell fields its own way; the steps want SP-API's spelling.
const address = from => ({ Name: from?.name, AddressLine1: from?.addressLine1 })
const order = from => ({
  AmazonOrderId: from.amazonOrderId,
  BuyerInfo: { BuyerName: from.buyerInfo?.buyerName },
  ShippingAddress: address(from.shippingAddress)
})

await tally.take('getMarketplaceParticipations', async () =>
  (await sellers.getMarketplaceParticipations()).payload, steps.participations)
const found = await tally.take('getOrders', async () => ({
  Orders: (await orders.getOrders([steps.MARKETPLACE], { createdAfter: steps.CREATED_AFTER })).payload.orders.map(order)
}), steps.orders)
const orderId = steps.orderId(found)
await tally.take('getOrder', async () => order((await restrictedOrders.getOrder(orderId)).payload), steps.order)
await tally.take('getOrderAddress', async () => order((await orders.getOrderAddress(orderId)).payload), steps.address)

let report = await tally.take('createReport', () => reports.createReport(steps.REPORT), steps.created)
report = await tally.take('getReport', () => steps.untilDone(() => reports.getReport(report.reportId)), steps.done)
const details = await tally.take('getReportDocument', () =>
  reports.getReportDocument(report.reportDocumentId), steps.document)
await tally.take('download', () => steps.httpsDownload(details), steps.text)
tally.close()
