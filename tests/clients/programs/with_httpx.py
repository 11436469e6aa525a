"""httpx with HTTP/2 offered: HTTPS_PROXY and SSL_CERT_FILE. It asks for a restricted data token itself."""

import httpx

import steps

client = httpx.Client(http2=True, timeout=30)


def send(method, url, headers, body):
    answer = client.request(method, url, headers=headers, content=body)
    return steps.Answer(answer.status_code, answer.content, answer.http_version.removeprefix("HTTP/"))


steps.walk("httpx", send, own_rdt=True)
