"""python-amazon-sp-api, 2.x (httpx: HTTPS_PROXY and SSL_CERT_FILE) and 1.x (requests: HTTPS_PROXY and REQUESTS_CA_BUNDLE). getOrder takes its own restricted data token."""

from sp_api.api import Orders, Reports, Sellers
from sp_api.base import Marketplaces

import steps

tally = steps.Steps("python-amazon-sp-api")
account = {
    "marketplace": Marketplaces.US,
    "credentials": {
        "refresh_token": steps.REFRESH_TOKEN,
        "lwa_app_id": steps.PLACEHOLDER,
        "lwa_client_secret": steps.PLACEHOLDER,
    },
}

sellers, orders, reports = Sellers(**account), Orders(**account), Reports(**account)
tally.take(
    "getMarketplaceParticipations", lambda: sellers.get_marketplace_participation().payload, steps.participations
)
found = tally.take("getOrders", lambda: orders.get_orders(CreatedAfter=steps.CREATED_AFTER).payload, steps.orders)
order_id = steps.order_id(found)
tally.take(
    "getOrder",
    lambda: orders.get_order(order_id, RestrictedResources=steps.ORDER_DATA_ELEMENTS).payload,
    steps.order,
)
tally.take("getOrderAddress", lambda: orders.get_order_address(order_id).payload, steps.address)

report = tally.take(
    "createReport", lambda: reports.create_report(reportType=steps.REPORT_TYPE).payload, steps.created
)
report = tally.take(
    "getReport",
    lambda: steps.until_done(
        lambda: reports.get_report(report["reportId"]).payload, lambda answer: answer["processingStatus"]
    ),
    steps.done,
)
document_id = report["reportDocumentId"]
details = tally.take("getReportDocument", lambda: reports.get_report_document(document_id).payload, steps.document)
tally.take(
    "download",
    lambda: reports.get_report_document(document_id, download=True).payload["document"],
    steps.text,
)
tally.close()
