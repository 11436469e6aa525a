"""Common servers in SP-API's place. Each closes what has been idle for a moment, or has carried a few requests, against the
sidecar's pool, and writes a line for each request that reached it: the method, the query, the port of the connection."""

import collections
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from world import READY_WITHIN, World, free_port, stopped

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent.parent / ".tools/interop/bin"
HOST = "sellingpartnerapi-na.amazon.com"
REQUESTS = 23  # that one connection carries
UNTAUGHT = 4  # POSTs in doubt besides, until the pools have learnt how long this server keeps connections
ANSWER = '{"payload":[]}'
# What is said of a POST that was written to a connection which then closed: it is not repeated, for it may have been carried out.
IN_DOUBT = re.compile(r"502 upstream_unreachable .*may have been carried out")


class Server:
    """One server, with a certificate for HOST; `idle` is how many seconds it keeps an unused connection."""

    idle = 0.06
    # Which share of the POSTs may be in doubt, by version: most rounds begin just when connections are closed. A server that
    # says goodbye over HTTP/2 as RFC 9113 asks leaves none in doubt.
    doubts = {"1.1": 0.005, "2": 0.0}

    def __init__(self, home, version):
        self.home, self.version = Path(home), version
        self.certificate, self.key, self.log = self.home / "server.pem", self.home / "server.key", self.home / "received"
        self.port, self.inner, self.started = free_port(), free_port(), []
        self.log.touch()
        self.log.chmod(0o666)

    def start(self, name, text, *command, environment=None):
        """Writes the file `name`, starts the command, waits for its port."""
        (self.home / name).write_text(text)
        output = open(self.home / f"{name}.log", "ab")
        process = subprocess.Popen(command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=environment)
        self.started.append(process)

    def listening(self, port):
        until = time.monotonic() + READY_WITHIN
        while time.monotonic() < until:
            if any(process.poll() is not None for process in self.started):
                break
            if f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text():
                return
            time.sleep(0.05)
        logs = "".join(log.read_text(errors="replace")[-2000:] for log in self.home.glob("*.log"))
        raise RuntimeError(f"{self.name} does not listen: {logs}")

    def stop(self):
        for process in reversed(self.started):
            stopped(process)

    def received(self):
        """(method, n, connection) of each request that reached it."""
        lines = self.log.read_text().splitlines()
        rows = [re.fullmatch(r"(GET|POST) \??(?:.*&)?n=(\d+)(?:&.*)? (\d+)", line) for line in lines]
        if not all(rows):
            raise RuntimeError(f"{self.name} wrote {lines[rows.index(None)]!r}")
        return [(row[1], int(row[2]), int(row[3])) for row in rows]


class Nginx(Server):
    name, protocols = "nginx", ("1.1", "2")

    def run(self):
        self.nginx(f"listen 127.0.0.1:{self.port} ssl http2; keepalive_timeout {round(self.idle * 1000)}ms; keepalive_requests {REQUESTS};", "$remote_port")
        self.listening(self.port)

    def nginx(self, listen, port):
        temp = self.home / "nginx-temp" # it becomes another user's
        self.start("nginx.conf", f"""\
            daemon off; master_process off; pid {self.home}/nginx.pid; error_log stderr;
            events {{ worker_connections 1024; }}
            http {{
                log_format received '$request_method $args {port}';
                access_log {self.log} received;
                client_body_temp_path {temp}; proxy_temp_path {temp}; fastcgi_temp_path {temp}; uwsgi_temp_path {temp}; scgi_temp_path {temp};
                server {{
                    {listen}
                    ssl_certificate {self.certificate}; ssl_certificate_key {self.key};
                    default_type application/json;
                    location / {{ return 200 '{ANSWER}'; }}
                }}
            }}
            """, "nginx", "-p", str(self.home), "-c", str(self.home / "nginx.conf"))


class Apache(Server):
    name, protocols, idle = "Apache", ("1.1", "2"), 0.1

    def run(self):
        modules = {"mpm_event": "mpm_event", "authz_core": "authz_core", "ssl": "ssl", "http2": "http2", "lua": "lua"}
        load = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{file}.so\n" for name, file in modules.items())
        (self.home / "answer.lua").write_text(
            f"function handle(r) r:requestbody(); r.content_type = 'application/json'; r:write('{ANSWER}'); return apache2.OK end\n")
        self.start("apache.conf", load + f"""\
            ServerRoot {self.home}
            DefaultRuntimeDir {self.home}
            PidFile {self.home}/apache.pid
            User www-data
            Group www-data
            ServerName {HOST}
            Listen 127.0.0.1:{self.port}
            ErrorLog /dev/stderr
            KeepAliveTimeout {round(self.idle * 1000)}ms
            MaxKeepAliveRequests {REQUESTS}
            Protocols h2 http/1.1
            SSLEngine on
            SSLCertificateFile {self.certificate}
            SSLCertificateKeyFile {self.key}
            LogFormat "%m %q %{{remote}}p" received
            CustomLog {self.log} received
            LuaMapHandler ".*" "{self.home}/answer.lua" handle
            """, "apache2", "-D", "FOREGROUND", "-f", str(self.home / "apache.conf"))
        self.listening(self.port)


class Haproxy(Nginx):
    """In front of an nginx without TLS, of which it asks a new connection each time."""

    name, protocols = "HAProxy", ("1.1", "2")

    def run(self):
        self.nginx(f"listen 127.0.0.1:{self.inner}; keepalive_timeout 0;", "$http_x_port")
        self.listening(self.inner)
        both = self.home / "both.pem"
        both.write_text(self.certificate.read_text() + self.key.read_text())
        self.start("haproxy.cfg", f"""\
            global
                ssl-default-bind-options ssl-min-ver TLSv1.2
            defaults
                mode http
                timeout connect 5s
                timeout server 30s
                timeout client 30s
                timeout http-request 10s
                timeout http-keep-alive {round(self.idle * 1000)}ms
                option http-server-close
            frontend outside
                bind 127.0.0.1:{self.port} ssl crt {both} alpn h2,http/1.1
                http-request set-header x-port %[src_port]
                http-after-response set-header connection close if {{ rand({REQUESTS}) eq 0 }}
                default_backend inside
            backend inside
                server nginx 127.0.0.1:{self.inner}
            """ "\n", "haproxy", "-db", "-f", str(self.home / "haproxy.cfg"))
        self.listening(self.port)


class Hypercorn(Server):
    name, protocols = "hypercorn", ("1.1", "2")
    doubts = {"1.1": 0.005, "2": 0.02}

    def run(self):
        shutil.copy(HERE / "app.py", self.home)
        # over HTTP/2 it ends a connection that has had enough in the middle of its answers, which nobody can mend
        requests = REQUESTS if self.version == "1.1" else 1_000_000
        self.start("hypercorn.toml", f"""\
bind = "127.0.0.1:{self.port}"
certfile = "{self.certificate}"
keyfile = "{self.key}"
keep_alive_timeout = {self.idle}
keep_alive_max_requests = {requests}
alpn_protocols = ["h2", "http/1.1"]
""", str(TOOLS / "hypercorn"), "--config", "hypercorn.toml", "app:app", environment=os.environ | {"RECEIVED": str(self.log)})
        self.listening(self.port)


SERVERS = [Nginx, Apache, Haproxy, Hypercorn]


class Behind(World):
    """A sidecar whose SP-API is `server`; tokens are the sandbox's."""

    level = "info"

    def __init__(self, binary, home, server):
        super().__init__(binary, home)
        self.server = server

    def start_sandbox(self):
        told = super().start_sandbox()
        both = self.home / "upstream-ca.pem"
        both.write_text(Path(told["ca_file"]).read_text() + (self.home / "server-ca.pem").read_text())
        to = {name: f"127.0.0.1:{self.server.port}" if name.startswith(HOST) else where for name, where in told["connect_to"].items()}
        return told | {"ca_file": str(both), "connect_to": to}


def certificates(home):
    """A CA, and a certificate of it for HOST."""
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=home, check=True, capture_output=True)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl("req", "-x509", *new, "-subj", "/CN=servers", "-keyout", "server-ca.key", "-out", "server-ca.pem",
            "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", "-x509", *new, "-subj", f"/CN={HOST}", "-keyout", "server.key", "-out", "server.pem", "-CA", "server-ca.pem", "-CAkey", "server-ca.key",
            "-addext", f"subjectAltName=DNS:{HOST}", "-addext", "basicConstraints=critical,CA:FALSE")


@dataclass
class Row:
    """One server over one version of HTTP."""

    client: str
    case: str
    calls: int = 0
    seconds: float = 0.0
    connections: int = 0
    gets_failed: int = 0
    posts: int = 0
    posts_failed: int = 0
    faults: list = field(default_factory=list)

    def cells(self):
        return (self.client, self.case, self.calls, f"{self.seconds:.0f}", self.connections, self.gets_failed, self.posts, self.posts_failed)

    def figure(self):
        return (f"{self.client} over HTTP/{self.case}: {self.calls} calls over {self.connections} connections, "
                f"{self.gets_failed} GETs and {self.posts_failed} of {self.posts} POSTs failed")


def play(binary, home, kind, version, calls, seed):
    """Starts a server and a sidecar before it, drives them, and judges what came of each call."""
    certificates(home)
    server = kind(home, version)
    row = Row(kind.name, version, calls)
    try:
        server.run()
        with Behind(binary, home, server) as world:
            began = time.monotonic()
            driven = drive(world, version, calls, seed)
            row.seconds = time.monotonic() - began
        judge(row, kind, driven, server.received())
    except RuntimeError as error:
        row.faults.append(str(error))
    finally:
        server.stop()
    return row


def drive(world, version, calls, seed):
    """The driver's result."""
    command = [str(TOOLS / "python"), str(HERE / "driver.py"), world.proxy, str(world.home / "ca.pem"), version, str(calls), str(seed), str(world.server.idle)]
    ran = subprocess.run(command, env=world.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"the driver ended with {ran.returncode}: {ran.stderr[-3000:]}")
    return json.loads(ran.stdout)


def judge(row, kind, driven, received):
    """No GET fails. No POST is carried out twice, and one that fails is told to be in doubt; few do."""
    times = collections.Counter((method, n) for method, n, _ in received)
    failed = {method: [(n, why) for one, n, why in driven["failed"] if one == method] for method in ("GET", "POST")}
    answered = driven["answered"]
    row.connections = len({port for _, _, port in received})
    row.gets_failed, row.posts_failed = len(failed["GET"]), len(failed["POST"])
    row.posts = len(answered["POST"]) + row.posts_failed

    row.faults += [f"GET {n} failed: {why}" for n, why in failed["GET"]][:5]
    row.faults += [f"POST {n} failed otherwise than in doubt: {why}" for n, why in failed["POST"] if not IN_DOUBT.match(why)][:5]
    share = kind.doubts[row.case]
    allowed = row.posts * share + (UNTAUGHT if share else 0)
    if row.posts_failed > allowed:
        row.faults.append(f"{row.posts_failed} of {row.posts} POSTs failed, more than {allowed:.0f}: {failed['POST'][0][1]}")
    twice = sorted(n for (method, n), count in times.items() if method == "POST" and count > 1)
    if twice:
        row.faults.append(f"POSTs were carried out twice: {twice[:10]}")
    untold = [(method, n) for method, numbers in answered.items() for n in numbers if not times[method, n]]
    if untold:
        row.faults.append(f"answered, though the server never got them: {untold[:10]}")
    done = sum(map(len, answered.values())) + len(driven["failed"])
    if done != row.calls:
        row.faults.append(f"{done} calls were made")
    # else nothing was closed at an awkward moment, and the row says nothing
    if row.connections < row.calls / 100:
        row.faults.append(f"only {row.connections} connections were made")
