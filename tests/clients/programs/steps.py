"""The steps that every Python program here takes, and what each must bring back.

A program that only has an HTTP client hands `walk` a function that sends a request; a program built on an SP-API
library takes the steps in the library's own way, between `Steps.take` calls. The result is one JSON line:
{"client", "http", "calls": [{"name", "ok", "note"}], "ok"}. Exit code 1 when a step failed, and none follows it.
"""

import gzip
import json
import os
import sys
import time
import urllib.parse
from dataclasses import dataclass

SP_API = "https://sellingpartnerapi-na.amazon.com"
TOKEN_URL = "https://api.amazon.com/auth/o2/token"
PLACEHOLDER = "spx-placeholder"
REFRESH_TOKEN = os.environ.get("APP_REFRESH_TOKEN", PLACEHOLDER)
MARKETPLACE = "ATVPDKIKX0DER"
REPORT_TYPE = "GET_MERCHANT_LISTINGS_ALL_DATA"
CREATED_AFTER = "2026-01-01T00:00:00Z"
ORDER_DATA_ELEMENTS = ["buyerInfo", "shippingAddress"]
POLLS, POLL_PAUSE = 20, 0.25  # a report is asked after for at most five seconds


class Unexpected(Exception):
    """An answer that is not what an app needs."""


@dataclass
class Answer:
    """What came back: `body` is bytes, `version` is "1.1" or "2"."""

    status: int
    body: bytes
    version: str = ""

    def json(self):
        if self.status not in (200, 201, 202):
            raise Unexpected(f"status {self.status}: {self.body[:300]!r}")
        return json.loads(self.body)


class Steps:
    """The tally of one program."""

    def __init__(self, client, http=""):
        self.client, self.http, self.calls = client, http, []

    def take(self, name, call, note):
        """Runs one step; `note` turns its answer into a few words, or raises because something is missing."""
        try:
            answer = call()
            self.calls.append({"name": name, "ok": True, "note": note(answer)})
            return answer
        except Exception as error:  # whatever a library throws is this step's result
            self.calls.append({"name": name, "ok": False, "note": f"{type(error).__name__}: {error}"[:600]})
            self.close()

    def close(self):
        """Prints the line and ends the program."""
        ok = bool(self.calls) and all(call["ok"] for call in self.calls)
        print(json.dumps({"client": self.client, "http": self.http, "calls": self.calls, "ok": ok}), flush=True)
        sys.exit(0 if ok else 1)


# What each step must bring back; every function takes plain JSON.


def need(value, what):
    if not value:
        raise Unexpected(f"{what} is missing")
    return value


def participations(payload):
    return f"{len(need(payload, 'the list of participations'))} marketplaces"


def orders(payload):
    return f"{len(need(payload.get('Orders'), 'Orders'))} orders"


def order_id(payload):
    return payload["Orders"][0]["AmazonOrderId"]


def order(payload):
    need(payload.get("AmazonOrderId"), "AmazonOrderId")
    need((payload.get("BuyerInfo") or {}).get("BuyerName"), "BuyerInfo.BuyerName")
    return address(payload)


def address(payload):
    shipping = need(payload.get("ShippingAddress"), "ShippingAddress")
    need(shipping.get("Name"), "ShippingAddress.Name")
    need(shipping.get("AddressLine1"), "ShippingAddress.AddressLine1")
    return "with the buyer's address"


def created(answer):
    return f"report {need(answer.get('reportId'), 'reportId')}"


def done(answer):
    need(answer.get("reportDocumentId"), "reportDocumentId")
    return answer["processingStatus"]


def document(answer):
    need(answer.get("reportDocumentId"), "reportDocumentId")
    return f"at {urllib.parse.urlsplit(need(answer.get('url'), 'url')).hostname}"


def text(words):
    return f"{len(need(words.strip(), 'the text of the document'))} characters"


def until_done(get_report, status):
    """Asks after a report until it is done; `status` reads the processing status out of the answer."""
    for _ in range(POLLS):
        report = get_report()
        if status(report) not in ("IN_QUEUE", "IN_PROGRESS"):
            break
        time.sleep(POLL_PAUSE)
    if status(report) != "DONE":
        raise Unexpected(f"the report is {status(report)}")
    return report


def unpack(answer, details):
    """The text of a downloaded document."""
    if answer.status != 200:
        raise Unexpected(f"status {answer.status}: {answer.body[:300]!r}")
    raw = gzip.decompress(answer.body) if details.get("compressionAlgorithm") == "GZIP" else answer.body
    return raw.decode("utf-8", "replace")


def restricted_resource(path):
    return {"restrictedResources": [{"method": "GET", "path": path, "dataElements": ORDER_DATA_ELEMENTS}]}


def walk(client, send, exchange=True, own_rdt=False):
    """All steps with a bare HTTP client: `send(method, url, headers, body) -> Answer`.

    `exchange`: asks for an access token first, as an SDK does; else the placeholder itself is sent as the token.
    `own_rdt`: asks for a restricted data token itself; else it calls plainly, and only the sidecar can add one.
    """
    steps, seen = Steps(client), {"token": PLACEHOLDER}

    def call(method, path, body=None, token=None):
        headers = {"x-amz-access-token": token or seen["token"], "user-agent": f"clients/1.0 (Language={client})"}
        if body is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(body).encode()
        answer = send(method, SP_API + path, headers, body)
        steps.http = answer.version or steps.http
        return answer.json()

    def payload(path, token=None):
        return call("GET", path, token=token)["payload"]

    def exchanged():
        form = {"grant_type": "refresh_token", "refresh_token": REFRESH_TOKEN}
        form |= {"client_id": PLACEHOLDER, "client_secret": PLACEHOLDER}
        headers = {"content-type": "application/x-www-form-urlencoded;charset=UTF-8"}
        answer = send("POST", TOKEN_URL, headers, urllib.parse.urlencode(form).encode()).json()
        seen["token"] = need(answer.get("access_token"), "access_token")
        return answer

    if exchange:
        steps.take("exchange", exchanged, lambda answer: f"for {answer['expires_in']} s")
    steps.take("getMarketplaceParticipations", lambda: payload("/sellers/v1/marketplaceParticipations"), participations)
    query = urllib.parse.urlencode({"MarketplaceIds": MARKETPLACE, "CreatedAfter": CREATED_AFTER})
    path = "/orders/v0/orders/" + order_id(steps.take("getOrders", lambda: payload("/orders/v0/orders?" + query), orders))

    rdt = None
    if own_rdt:
        ask = lambda: call("POST", "/tokens/2021-03-01/restrictedDataToken", restricted_resource(path))
        restricted = steps.take("createRestrictedDataToken", ask, lambda a: f"for {a['expiresIn']} s")
        rdt = restricted["restrictedDataToken"]
    steps.take("getOrder", lambda: payload(path, rdt), order)
    steps.take("getOrderAddress", lambda: payload(path + "/address"), address)

    wanted = {"reportType": REPORT_TYPE, "marketplaceIds": [MARKETPLACE]}
    report = steps.take("createReport", lambda: call("POST", "/reports/2021-06-30/reports", wanted), created)
    ask = lambda: call("GET", "/reports/2021-06-30/reports/" + report["reportId"])
    report = steps.take("getReport", lambda: until_done(ask, lambda r: r["processingStatus"]), done)
    path = "/reports/2021-06-30/documents/" + report["reportDocumentId"]
    details = steps.take("getReportDocument", lambda: call("GET", path), document)
    steps.take("download", lambda: unpack(send("GET", details["url"], {}, None), details), text)
    steps.close()
