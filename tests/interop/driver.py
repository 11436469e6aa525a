"""Many programs at once, over connections that they keep: GETs and POSTs at random pauses, over HTTP/1.1 and HTTP/2.

    driver.py PROXY CA_FILE HTTP_VERSION CALLS SEED IDLE_SECONDS

Most rounds begin about when the origin closes what has been idle for IDLE_SECONDS. Each call has a number of its own, as the
query `n`. Prints one JSON line: {"answered": {"GET": [n, …], "POST": […]}, "failed": [[method, n, words], …]}.
"""

import asyncio
import itertools
import json
import random
import ssl
import sys
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events

HOST = "sellingpartnerapi-na.amazon.com"
GET, POST = "/orders/v0/orders", "/reports/2021-06-30/reports"
BODY = b'{"reportType":"GET_MERCHANT_LISTINGS_ALL_DATA","marketplaceIds":["ATVPDKIKX0DER"]}'
PROGRAMS, STREAMS = 16, 4  # those of HTTP/2 share a connection by fours
POSTS = 0.25
WITHIN = 30  # seconds, for one call


async def tunnel(proxy, ca_file, protocol):
    """A TLS connection to HOST through the sidecar, verified against `ca_file`."""
    trust = ssl.create_default_context(cafile=ca_file)
    trust.set_alpn_protocols([protocol])
    reader, writer = await asyncio.open_connection(proxy.hostname, proxy.port)
    writer.write(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise ConnectionError(f"CONNECT was answered {head!r}")
    await writer.start_tls(trust, server_hostname=HOST)
    spoken = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    if spoken != protocol:
        raise ConnectionError(f"{spoken} is spoken, not {protocol}")
    return reader, writer


class Http1:
    """One connection; one call at a time."""

    async def open(self, *way):
        self.way, self.closing = way, False
        self.reader, self.writer = await tunnel(*way, "http/1.1")
        return self

    async def ask(self, method, target):
        if self.closing:
            self.writer.close()
            await self.open(*self.way)
        body = BODY if method == "POST" else b""
        fields = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
        self.writer.write(f"{method} {target} HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n".encode() + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
        self.closing = fields.get("connection") == "close"
        return int(lines[0].split()[1]), fields, await self.body(fields)

    async def body(self, fields):
        if "chunked" not in fields.get("transfer-encoding", ""):
            return await self.reader.readexactly(int(fields["content-length"]))
        body = b""
        while length := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(length)
            await self.reader.readline()
        await self.reader.readline()
        return body


class Http2:
    """One connection; calls side by side."""

    async def open(self, proxy, ca_file):
        self.reader, self.writer = await tunnel(proxy, ca_file, "h2")
        self.wire = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.wire.initiate_connection()
        self.flush()
        self.calls, self.ended = {}, None
        self.task = asyncio.create_task(self.read())
        return self

    def flush(self):
        self.writer.write(self.wire.data_to_send())

    async def ask(self, method, target):
        if self.ended:
            raise self.ended
        stream = self.wire.get_next_available_stream_id()
        body = BODY if method == "POST" else b""
        fields = [(":method", method), (":scheme", "https"), (":authority", HOST), (":path", target)]
        fields += [("content-type", "application/json"), ("content-length", str(len(body)))] if body else []
        self.wire.send_headers(stream, fields, end_stream=not body)
        if body:
            self.wire.send_data(stream, body, end_stream=True)
        self.flush()
        done = asyncio.get_running_loop().create_future()
        self.calls[stream] = [{}, b"", done]
        try:
            await done
        finally:
            fields, body, _ = self.calls.pop(stream)
        return int(fields[":status"]), fields, body

    async def read(self):
        try:
            while data := await self.reader.read(65536):
                for event in self.wire.receive_data(data):
                    self.take(event)
                self.flush()
            self.ended = ConnectionError("the sidecar closed the connection")
        except Exception as error:  # whatever it is, each call that waits has to hear of it
            self.ended = error
        for _, _, done in list(self.calls.values()):
            if not done.done():
                done.set_exception(self.ended)

    def take(self, event):
        call = self.calls.get(getattr(event, "stream_id", None))
        if call is None or call[2].done():
            return
        if isinstance(event, h2.events.ResponseReceived):
            call[0] = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            call[1] += event.data
            self.wire.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            call[2].set_result(None)
        elif isinstance(event, h2.events.StreamReset):
            call[2].set_exception(ConnectionError(f"the sidecar reset the stream ({event.error_code})"))


class Drive:
    """Rounds of calls. Before most, everything is left alone for about as long as the origin keeps an idle connection."""

    def __init__(self, calls, seed, idle):
        self.draw, self.idle, self.left, self.numbers = random.Random(seed), idle, calls, itertools.count()
        self.answered, self.failed = {"GET": [], "POST": []}, []

    async def rounds(self, programs):
        while self.left > 0:
            await asyncio.sleep(self.pause())
            some = self.draw.sample(programs, self.draw.randint(1, len(programs)))
            async with asyncio.TaskGroup() as group:
                for program in some:
                    group.create_task(self.burst(program))

    def pause(self):
        kind = self.draw.random()
        if kind < 0.2:
            return 0
        if kind < 0.4:
            return self.draw.uniform(0, self.idle)
        return self.draw.gauss(self.idle, self.idle / 20)

    async def burst(self, connection):
        for _ in range(self.draw.randint(1, 3)):
            await asyncio.sleep(self.draw.choice([0, self.draw.uniform(0, self.idle / 10)]))
            if self.left <= 0:
                return
            self.left -= 1
            n = next(self.numbers)
            method = "POST" if self.draw.random() < POSTS else "GET"
            target = f"{POST}?n={n}" if method == "POST" else f"{GET}?MarketplaceIds=ATVPDKIKX0DER&n={n}"
            why = await self.call(connection, method, target)
            if why is None:
                self.answered[method].append(n)
            else:
                self.failed.append([method, n, why])

    async def call(self, connection, method, target):
        """Why it failed, or None."""
        try:
            async with asyncio.timeout(WITHIN):
                status, fields, body = await connection.ask(method, target)
            if status == 200 and json.loads(body) == {"payload": []}:
                return None
            return f"{status} {fields.get('x-spapi-sidecar-error', '')} {body[:300].decode(errors='replace')}"
        except Exception as error:  # a call that got no answer failed, whatever the reason
            return f"{type(error).__name__}: {error}"


async def main(proxy, ca_file, version, calls, seed, idle):
    drive = Drive(int(calls), int(seed), float(idle))
    kind, connections, streams = (Http2, PROGRAMS // STREAMS, STREAMS) if version == "2" else (Http1, PROGRAMS, 1)
    opened = [await kind().open(urlsplit(proxy), ca_file) for _ in range(connections)]
    await drive.rounds(opened * streams)
    print(json.dumps({"answered": drive.answered, "failed": drive.failed}), flush=True)


asyncio.run(main(*sys.argv[1:]))
