"""The world that the clients live in: the sandbox in Amazon's place, and one sidecar with one tenant.

Every secret is made up afresh for each run, so that finding one in a log can only mean that it leaked.
"""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

TENANT, APP = "acme", "erp"
DOCUMENT_SUFFIXES = (".s3.amazonaws.com", ".cloudfront.net")
READY_WITHIN = 30  # seconds, for the sandbox and for the sidecar
STOPS_WITHIN = 20

PROXY_YAML = """\
version: 1
listen:
  proxy: ["127.0.0.1:{proxy_port}"]
  transparent: ["{transparent}"]
  admin: "127.0.0.1:{admin_port}"
  admin_token_file: {home}/admin.token
  drain_timeout: 5s
interception:
  ca: {{ mode: ephemeral, cert_path: {home}/ca.pem, bundle_path: {home}/ca-bundle.pem }}
upstream:
  trust: {{ ca_file: {sandbox_ca} }}
  connect_to: {connect_to}
store:
  file: {{ path: {home}/store.sealed, key_file: {home}/store.key }}
egress:
  - {{ host: sellingpartnerapi-na.amazon.com, mode: inject }}
  - {{ host: api.amazon.com, mode: lwa }}
  - {{ host: "*.s3.amazonaws.com", mode: document }}
  - {{ host: "*.cloudfront.net", mode: document }}
apps:
  - id: erp
    charge_method: {{ status: valid, expires: 2099-12, owner: finance@example.com }}
tenants:
  - id: acme
    app: erp
    account: seller
    region: na
    marketplaces: [ATVPDKIKX0DER]
    scopes: [selling-partner-insights, inventory-and-order-tracking, direct-to-consumer-shipping, product-listing]
default_tenant: acme
policy: enforce
routes:
  - allow: GET /sellers/v1/marketplaceParticipations
    scope: selling-partner-insights
    reason: which marketplaces the account sells in
    owner: integrations@example.com
  - allow: GET /orders/v0/orders
    scope: inventory-and-order-tracking
    reason: import of new orders
    owner: integrations@example.com
  - allow: GET /orders/v0/orders/{{orderId}}
    scope: direct-to-consumer-shipping
    rdt: {{ data_elements: [buyerInfo, shippingAddress] }}
    reason: one order with its buyer
    owner: warehouse@example.com
  - allow: GET /orders/v0/orders/{{orderId}}/address
    scope: direct-to-consumer-shipping
    rdt: {{ data_elements: [] }}
    reason: shipping labels
    owner: warehouse@example.com
  - allow: POST /reports/2021-06-30/reports
    scope: product-listing
    reason: listings report
    owner: integrations@example.com
  - allow:
      - GET /reports/2021-06-30/reports/{{reportId}}
      - GET /reports/2021-06-30/documents/{{reportDocumentId}}
    scope: product-listing
    reason: listings report
    owner: integrations@example.com
throttle: {{ mode: pass }}
telemetry:
  log: {{ format: json, level: info }}
audit:
  path: {home}/audit.jsonl
"""


def clean_environment(home):
    """The environment of everything started here: nothing of the caller's proxies or trust stores."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class World:
    """Starts on `with`, stops at its end, whatever happened."""

    # where raw TLS is taken, and who the sidecar is (None: whoever runs this)
    transparent, user = "127.0.0.1:443", None
    # The most talkative level: nothing secret may be written at any.
    level = "trace"

    def __init__(self, binary, home):
        self.binary, self.home = str(binary), Path(home)
        self.config = self.home / "proxy.yaml"
        self.environment = clean_environment(self.home)
        self.started = []
        self.client_id = "amzn1.application-oa2-client." + secrets.token_hex(16)
        self.client_secret = "amzn1.oa2-cs.v1." + secrets.token_hex(32)
        self.refresh_token = "Atzr|" + secrets.token_hex(64)

    def __enter__(self):
        try:
            self.sandbox = self.start_sandbox()
            self.hosts = sorted({name.rpartition(":")[0] for name in self.sandbox["connect_to"]})
            self.write_configuration()
            self.command("app", "put", APP, input=f"{self.client_id}\n{self.client_secret}\n")
            self.command("tenant", "put-token", TENANT, input=f"{self.refresh_token}\n")
            self.start_sidecar()
            self.phantom = self.phantom_token()
            return self
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    # --- starting

    def start(self, name, *arguments, **more):
        """A process of its own group; its two streams go to files in `home`, stdout unless `more` says otherwise."""
        streams = {"stdout": open(self.home / f"{name}.stdout", "wb"), "stderr": open(self.home / f"{name}.stderr", "wb")}
        environment = self.environment | more.pop("environment", {})
        process = subprocess.Popen(
            [self.binary, *arguments], env=environment, cwd=self.home, stdin=subprocess.DEVNULL,
            start_new_session=True, user=self.user, group=self.user, extra_groups=self.user and [], **(streams | more),
        )
        self.started.append(process)
        return process

    def start_sandbox(self):
        arguments = ["sandbox", "--listen", "127.0.0.1:0", "--dir", str(self.home / "sandbox"), "--json"]
        process = self.start("sandbox", *arguments, stdout=subprocess.PIPE)
        line = first_line(process.stdout)
        if line is None:
            raise RuntimeError("the sandbox printed no line: " + self.tail("sandbox"))
        try:
            return json.loads(line)
        except ValueError as error:
            raise RuntimeError(f"the sandbox's first line is not JSON ({error}): {line!r}") from error

    def write_configuration(self):
        key = self.home / "store.key"
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32) + "\n")
        if self.user:
            os.chown(key, self.user, self.user)
        if not any(host.endswith(DOCUMENT_SUFFIXES) and "*" not in host for host in self.hosts):
            raise RuntimeError(f"the sandbox names no document host: {self.hosts}")
        port = free_port()
        self.proxy = f"http://127.0.0.1:{port}"
        self.config.write_text(
            PROXY_YAML.format(
                home=self.home, proxy_port=port, transparent=self.transparent, admin_port=free_port(),
                sandbox_ca=self.sandbox["ca_file"], connect_to=json.dumps(self.sandbox["connect_to"]),
            )
        )
        self.command("check")

    def start_sidecar(self):
        sidecar = self.start("sidecar", "run", "--config", str(self.config), environment={"RUST_LOG": self.level})
        until = time.monotonic() + READY_WITHIN
        while time.monotonic() < until:
            if sidecar.poll() is not None:
                raise RuntimeError(f"the sidecar ended with {sidecar.returncode}: " + self.tail("sidecar"))
            if self.try_command("health").returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"the sidecar is not ready after {READY_WITHIN} s: " + self.tail("sidecar"))

    def phantom_token(self):
        printed = self.command("tenant", "phantom", TENANT)
        found = re.search(r"\bspx-r-[A-Za-z0-9-]+", printed)
        if not found:
            raise RuntimeError(f"`tenant phantom` printed no phantom refresh token: {printed!r}")
        return found.group()

    # --- the command line

    def try_command(self, *words, input=""):
        command = [self.binary, *words, "--config", str(self.config)]
        return subprocess.run(
            command, input=input, capture_output=True, text=True, env=self.environment, cwd=self.home, timeout=60,
            user=self.user, group=self.user, extra_groups=self.user and [],
        )

    def command(self, *words, input=""):
        """Runs a command of the sidecar and returns what it printed."""
        ran = self.try_command(*words, input=input)
        with open(self.home / "commands.log", "a") as log:
            log.write(ran.stdout + ran.stderr)
        if ran.returncode != 0:
            raise RuntimeError(f"`{' '.join(words)}` ended with {ran.returncode}: {ran.stdout}{ran.stderr}")
        return ran.stdout

    def executed(self, command):
        """`command` as `exec` starts it, with proxy and trust set."""
        return [self.binary, "exec", "--config", str(self.config), "--", *command]

    # --- stopping

    def tail(self, name, lines=40):
        """The last lines of what a process wrote, for a person to read."""
        texts = [self.home / f"{name}.{stream}" for stream in ("stdout", "stderr")]
        written = [text.read_text(errors="replace").splitlines()[-lines:] for text in texts if text.exists()]
        return "\n" + "\n".join(line[:600] for part in written for line in part)

    def stop(self):
        """SIGTERM to all, then SIGKILL to what stays; returns the exit codes, the sidecar's first."""
        codes = [stopped(process) for process in reversed(self.started)]
        self.started.clear()
        return codes


def stopped(process):
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def first_line(stream):
    """The first line of a stream within READY_WITHIN, or None; the rest is read and dropped so that no writer blocks."""
    lines, arrived = [], threading.Event()

    def read():
        for line in stream:
            lines.append(line)
            arrived.set()
        arrived.set()

    threading.Thread(target=read, daemon=True).start()
    arrived.wait(READY_WITHIN)
    return lines[0] if lines else None
