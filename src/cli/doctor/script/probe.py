"""Asks the sidecar for one call by each HTTP stack and SP-API library that this Python has. One line of JSON each."""
import importlib.metadata
import json
import ssl
import sys
import urllib.error
import urllib.request

URL = sys.argv[1]
MARK = "x-spapi-sidecar-request-id"
CODE = "x-spapi-sidecar-error"
BOUND = 8


def say(name, version, outcome, detail=""):
    print(json.dumps({"name": name, "version": version, "outcome": outcome, "detail": detail[:300]}), flush=True)


def answered(fields):
    fields = {key.lower(): value for key, value in fields.items()}
    if MARK not in fields:
        return "direct", ""
    return ("plaintext" if fields.get(CODE) == "plaintext_denied" else "sidecar"), fields.get(CODE, "")


def failed(error):
    text, link = "", error
    seen = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, ssl.SSLCertVerificationError):
            return "untrusted", str(link)
        text += f" {type(link).__name__}: {link}"
        reason = getattr(link, "reason", None)
        link = reason if isinstance(reason, BaseException) else link.__cause__ or link.__context__
    untrusted = "certificate verify failed" in text.lower() or "certificate_verify_failed" in text.lower()
    if "407" in text:
        return "login", text.strip()
    return ("untrusted" if untrusted else "unreachable"), text.strip()


def tried(ask):
    try:
        return answered(ask())
    except Exception as error:  # whatever a stack throws is what is to be told
        return failed(error)


def with_urllib():
    try:
        return urllib.request.urlopen(URL, timeout=BOUND).headers
    except urllib.error.HTTPError as error:
        return error.headers


def with_requests():
    import requests

    return requests.get(URL, timeout=BOUND).headers


def with_httpx():
    import httpx

    return httpx.get(URL, timeout=BOUND).headers


def with_bare_urllib3():
    # as the official SDK's API calls go: no proxy of the environment, certifi's file alone
    import certifi
    import urllib3

    return urllib3.PoolManager(ca_certs=certifi.where()).request("GET", URL, timeout=BOUND, retries=False).headers


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


say("python", sys.version.split()[0], *tried(with_urllib))
for package, ask in (("requests", with_requests), ("httpx", with_httpx)):
    if version(package):
        say(package, version(package), *tried(ask))
found = version("python-amazon-sp-api")
if found:
    # httpx since 2.0
    old = int(found.split(".")[0]) < 2
    say("python-amazon-sp-api 1.x" if old else "python-amazon-sp-api", found, *tried(with_requests if old else with_httpx))
found = version("amzn-sp-api")
if found:
    outcome, detail = tried(with_bare_urllib3)
    login, why = tried(with_requests)
    if outcome == "sidecar" and login != "sidecar":
        outcome, detail = login, f"its token call (requests): {why}"
    say("amzn-sp-api", found, outcome, detail)
