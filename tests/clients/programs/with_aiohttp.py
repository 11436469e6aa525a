"""aiohttp: HTTPS_PROXY with trust_env, SSL_CERT_FILE by way of OpenSSL."""

import asyncio

import aiohttp
from yarl import URL

import steps

loop = asyncio.new_event_loop()


async def opened():
    return aiohttp.ClientSession(trust_env=True, timeout=aiohttp.ClientTimeout(total=30))


session = loop.run_until_complete(opened())


async def exchange(method, url, headers, body):
    # A presigned URL must be sent as it was given, so aiohttp is kept from quoting it anew.
    async with session.request(method, URL(url, encoded=True), headers=headers, data=body) as answer:
        version = f"{answer.version.major}.{answer.version.minor}"
        return steps.Answer(answer.status, await answer.read(), version)


try:
    steps.walk("aiohttp", lambda *request: loop.run_until_complete(exchange(*request)))
finally:
    loop.run_until_complete(session.close())
    loop.close()
