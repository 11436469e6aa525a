// @sp-api-sdk (axios): HTTPS_PROXY and NODE_EXTRA_CA_CERTS. It takes a restricted data token by hand. It has no package
// for the Sellers API here, so its own axios factory makes that call; the download is left to the app, here axios.

import { SellingPartnerApiAuth } from '@sp-api-sdk/auth'
import { createAxiosInstance } from '@sp-api-sdk/common'
import { OrdersApiClient } from '@sp-api-sdk/orders-api-v0'
import { ReportsApiClient } from '@sp-api-sdk/reports-api-2021-06-30'
import { TokensApiClient } from '@sp-api-sdk/tokens-api-2021-03-01'
import axios from 'axios'
import * as steps from './steps.mjs'

const tally = new steps.Steps('@sp-api-sdk')
const account = {
  region: 'na',
  auth: new SellingPartnerApiAuth({
    clientId: steps.PLACEHOLDER, clientSecret: steps.PLACEHOLDER, refreshToken: steps.REFRESH_TOKEN
  })
}
const orders = new OrdersApiClient(account)
const reports = new ReportsApiClient(account)
const { axios: plain, endpoint } = createAxiosInstance(account, [])

await tally.take('getMarketplaceParticipations', async () =>
  (await plain.get(`${endpoint}/sellers/v1/marketplaceParticipations`)).data.payload, steps.participations)
const found = await tally.take('getOrders', async () => (await orders.getOrders({
  marketplaceIds: [steps.MARKETPLACE], createdAfter: steps.CREATED_AFTER
})).data.payload, steps.orders)
const orderId = steps.orderId(found)
const { restrictedDataToken } = await tally.take('createRestrictedDataToken', async () =>
  (await new TokensApiClient(account).createRestrictedDataToken({
    body: steps.restrictedResource(`/orders/v0/orders/${orderId}`)
  })).data, answer => `for ${answer.expiresIn} s`)
await tally.take('getOrder', async () =>
  (await new OrdersApiClient({ ...account, restrictedDataToken }).getOrder({ orderId })).data.payload, steps.order)
await tally.take('getOrderAddress', async () => (await orders.getOrderAddress({ orderId })).data.payload, steps.address)

let report = await tally.take('createReport', async () =>
  (await reports.createReport({ body: steps.REPORT })).data, steps.created)
const ask = async () => (await reports.getReport({ reportId: report.reportId })).data
report = await tally.take('getReport', () => steps.untilDone(ask), steps.done)
const details = await tally.take('getReportDocument', async () =>
  (await reports.getReportDocument({ reportDocumentId: report.reportDocumentId })).data, steps.document)
await tally.take('download', async () =>
  steps.unpack((await axios.get(details.url, { responseType: 'arraybuffer' })).data, details), steps.text)
tally.close()
