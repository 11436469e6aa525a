"""amzn-sp-api, Amazon's own SDK for Python.

Its LWA call (requests) honours HTTPS_PROXY and REQUESTS_CA_BUNDLE, its SP-API calls (urllib3) neither: they trust
certifi's file and go straight out. So it runs through the transparent listener, with the CA added to certifi's file.
It cannot send a restricted data token at all: only the sidecar can. The download is left to the app, here requests.
"""

import requests
from spapi import SPAPIClient, SPAPIConfig
from spapi.api.orders_v0.orders_v0_api import OrdersV0Api
from spapi.api.reports_v2021_06_30.reports_api import ReportsApi
from spapi.api.sellers_v1.sellers_api import SellersApi
from spapi.models.reports_v2021_06_30.create_report_specification import CreateReportSpecification

import steps

tally = steps.Steps("amzn-sp-api")
config = SPAPIConfig(
    client_id=steps.PLACEHOLDER, client_secret=steps.PLACEHOLDER, refresh_token=steps.REFRESH_TOKEN, region="NA"
)
api = tally.take("exchange", lambda: SPAPIClient(config).api_client, lambda _: "at construction")
sellers, orders, reports = SellersApi(api), OrdersV0Api(api), ReportsApi(api)


def plain(model):
    """The JSON that a model of the SDK was made from."""
    return api.sanitize_for_serialization(model)


def payload(model):
    return plain(model)["payload"]


def download(details):
    answer = requests.get(details["url"], timeout=30)
    return steps.unpack(steps.Answer(answer.status_code, answer.content), details)


tally.take(
    "getMarketplaceParticipations", lambda: payload(sellers.get_marketplace_participations()), steps.participations
)
found = tally.take(
    "getOrders",
    lambda: payload(orders.get_orders([steps.MARKETPLACE], created_after=steps.CREATED_AFTER)),
    steps.orders,
)
order_id = steps.order_id(found)
tally.take("getOrder", lambda: payload(orders.get_order(order_id)), steps.order)
tally.take("getOrderAddress", lambda: payload(orders.get_order_address(order_id)), steps.address)

wanted = CreateReportSpecification(report_type=steps.REPORT_TYPE, marketplace_ids=[steps.MARKETPLACE])
report = tally.take("createReport", lambda: plain(reports.create_report(wanted)), steps.created)
report = tally.take(
    "getReport",
    lambda: steps.until_done(
        lambda: plain(reports.get_report(report["reportId"])), lambda answer: answer["processingStatus"]
    ),
    steps.done,
)
details = tally.take(
    "getReportDocument", lambda: plain(reports.get_report_document(report["reportDocumentId"])), steps.document
)
tally.take("download", lambda: download(details), steps.text)
tally.close()
