"""What hypercorn serves in SP-API's place: a JSON answer, and a line for each request in the file that RECEIVED names."""

import os

ANSWER = b'{"payload":[]}'
RECEIVED = os.open(os.environ["RECEIVED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    os.write(RECEIVED, f"{scope['method']} {scope['query_string'].decode()} {scope['client'][1]}\n".encode())
    fields = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": ANSWER})
