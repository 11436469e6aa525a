"""What reached the sandbox in Amazon's place, and whether that was right.

The sandbox tells the kind of each token it was shown, never the token. Right means: the real token of the kind that
Amazon asks for on each call, no placeholder, and no token at all on a document.
"""

import http.client
import json
import re
import socket
import ssl

SP_API = "sellingpartnerapi-na.amazon.com"
LWA = "api.amazon.com"
TOKEN_HEADERS = {"authorization", "x-amz-access-token", "x-amz-security-token"}
ID = r"[^/?]+"
# operation, method, target, kind of token
CALLS = [
    ("getMarketplaceParticipations", "GET", r"/sellers/v1/marketplaceParticipations", "access"),
    ("getOrders", "GET", r"/orders/v0/orders", "access"),
    ("getOrder", "GET", rf"/orders/v0/orders/{ID}", "rdt"),
    ("getOrderAddress", "GET", rf"/orders/v0/orders/{ID}/address", "rdt"),
    ("createReport", "POST", r"/reports/2021-06-30/reports", "access"),
    ("getReport", "GET", rf"/reports/2021-06-30/reports/{ID}", "access"),
    ("getReportDocument", "GET", rf"/reports/2021-06-30/documents/{ID}", "access"),
]
# Made by the sidecar, when it has no restricted data token at hand.
TOKENS_CALL = ("createRestrictedDataToken", "POST", r"/tokens/2021-03-01/restrictedDataToken", "access")


class Sandbox:
    """The sandbox, asked directly."""

    def __init__(self, address, ca_file):
        host, _, port = address.rpartition(":")
        self.address = (host, int(port))
        self.trust = ssl.create_default_context(cafile=ca_file)

    def ask(self, method, target, host=SP_API, headers=None, body=None):
        """One request; the status and the JSON of the answer."""
        raw = socket.create_connection(self.address, timeout=10)
        connection = http.client.HTTPSConnection(host)
        connection.sock = self.trust.wrap_socket(raw, server_hostname=host)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def received(self, after):
        """The requests numbered above `after`."""
        status, answer = self.ask("GET", "/_sandbox/received")
        if status != 200:
            raise RuntimeError(f"/_sandbox/received answers {status}")
        rows = answer["received"] if isinstance(answer, dict) else answer
        return [row for row in rows if row["n"] > after and not row["target"].startswith("/_sandbox/")]


def kind(row):
    """The kind of the token in x-amz-access-token, by its shape."""
    return (row.get("token") or {}).get("kind", "none")


def is_call(row):
    """Whether a request is one that a client asked for and the sidecar gave a token to."""
    return row["host"] == SP_API and operation(row) in CALLS and kind(row) in ("access", "rdt")


def operation(row):
    """The entry of CALLS that a request to SP-API is, or None."""
    path = row["target"].partition("?")[0]
    fits = (call for call in [*CALLS, TOKENS_CALL] if call[1] == row["method"] and re.fullmatch(call[2], path))
    return next(fits, None)


def faults(rows, complete):
    """What is wrong with the requests that one client caused; `complete`: the client says that it made every call."""
    found, seen = [], set()
    for row in rows:
        path = row["target"].partition("?")[0]
        names = {name.lower() for name in row["header_names"]}
        if row["host"] == LWA:
            continue
        if any(name.startswith("proxy-") for name in names):
            found.append(f"{path}: a proxy field reached upstream")
        if row["host"] != SP_API:
            seen.add("download")
            if kind(row) != "none" or names & TOKEN_HEADERS or row.get("leak"):
                found.append(f"a document was fetched with a token ({kind(row)})")
            continue
        call = operation(row)
        if call is None:
            found.append(f"{row['method']} {path} was not asked for")
            continue
        seen.add(call[0])
        if kind(row) != call[3]:
            found.append(f"{call[0]} came with a token of kind {kind(row)}, not {call[3]}")
        if not (row.get("authorization") or {"same_token": True})["same_token"]:
            found.append(f"{call[0]} came with another token in Authorization")
        if row["method"] == "GET" and "content-length" in names:
            found.append(f"{call[0]} came with a Content-Length, which SP-API refuses on a GET")
    missing = ({call[0] for call in CALLS} | {"download"}) - seen if complete else set()
    return found + [f"{name} never reached the sandbox" for name in sorted(missing)]
