"""wget, by its command line. It reads https_proxy by itself but no variable for a CA, so it is told on its command line.

It sends the placeholder itself as the access token, without an exchange: the plainest app there is.
"""

import os
import subprocess

import steps


def send(method, url, headers, body):
    command = ["wget", "--quiet", "--tries=1", "--timeout=30", "--content-on-error", "--server-response"]
    command += [f"--ca-certificate={os.environ['SSL_CERT_FILE']}", f"--method={method}", "--output-document=-"]
    command += [f"--header={name}: {value}" for name, value in headers.items()]
    if body is not None:
        command.append(f"--body-data={body.decode()}")
    ran = subprocess.run([*command, url], capture_output=True)
    heads = [line.split() for line in ran.stderr.decode().splitlines() if line.strip().startswith("HTTP/")]
    if not heads:
        raise steps.Unexpected(f"wget ended with {ran.returncode}: {ran.stderr.decode().strip()[:300]}")
    return steps.Answer(int(heads[-1][1]), ran.stdout, heads[-1][0].removeprefix("HTTP/"))


steps.walk("wget", send, exchange=False)
