"""requests: HTTPS_PROXY and REQUESTS_CA_BUNDLE. Through the transparent listener the same program runs unchanged."""

import requests

import steps

session = requests.Session()


def send(method, url, headers, body):
    answer = session.request(method, url, headers=headers, data=body, timeout=30)
    return steps.Answer(answer.status_code, answer.content, {10: "1.0", 11: "1.1"}.get(answer.raw.version, ""))


steps.walk("requests", send)
