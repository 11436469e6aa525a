"""curl, by its command line. Argument: --http1.1 or --http2. It reads HTTPS_PROXY and CURL_CA_BUNDLE by itself."""

import subprocess
import sys

import steps

VERSION_FLAG = sys.argv[1]


def send(method, url, headers, body):
    # The head of the answer goes to /dev/null and two facts follow the body, after a line end.
    command = ["curl", "--silent", "--show-error", "--max-time", "30", VERSION_FLAG, "--request", method]
    command += ["--write-out", "\n%{http_code} %{http_version}"]
    for name, value in headers.items():
        command += ["--header", f"{name}: {value}"]
    if body is not None:
        command += ["--data-binary", "@-"]
    ran = subprocess.run([*command, url], input=body, capture_output=True)
    if ran.returncode != 0:
        raise steps.Unexpected(f"curl ended with {ran.returncode}: {ran.stderr.decode().strip()}")
    content, _, facts = ran.stdout.rpartition(b"\n")
    status, version = facts.decode().split()
    return steps.Answer(int(status), content, version)


steps.walk(f"curl {VERSION_FLAG}", send, own_rdt=VERSION_FLAG == "--http1.1")
