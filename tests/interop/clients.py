"""Clients by their TLS library: each asks for one thing of SP-API through the sidecar, says what was agreed on, and refuses the
sidecar when it is told to trust another CA."""

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import namespace
from world import clean_environment

HERE = Path(__file__).resolve().parent
PYTHON = str(HERE.parent.parent / ".tools/interop/bin/python")
HOST = "sellingpartnerapi-na.amazon.com"
TARGET = "/sellers/v1/marketplaceParticipations"
URL = f"https://{HOST}{TARGET}"
REQUEST = f"GET {TARGET} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
WITHIN = 60  # seconds, for one client
# A hello of TLS 1.1 has no signature algorithms, which is what rustls sees first: the alert is handshake_failure, not protocol_version.
TOO_OLD = r"(alert handshake failure)"


@dataclass
class Row:
    """One case. `absent` says why it could not be tried, which is no pass."""

    client: str
    case: str
    note: str = ""
    faults: list = field(default_factory=list)
    absent: str = ""


@dataclass
class Ran:
    code: int
    out: str

    def answer(self):
        """The JSON that SP-API answers with, wherever it stands in what was printed."""
        found = re.search(r'\{\s*"payload"', self.out)
        return json.JSONDecoder().raw_decode(self.out, found.start())[0] if found else None

    def is_answered(self):
        answer = self.answer()
        return bool(answer and answer["payload"][0]["marketplace"]["id"])

    def tail(self):
        return f"exit code {self.code}: {self.out[-700:]!r}"


class Clients:
    def __init__(self, world):
        self.world, self.rows = world, []
        self.ca, self.other_ca = str(world.home / "ca.pem"), world.sandbox["ca_file"]
        hosts = world.home / "hosts"
        hosts.write_text("127.0.0.1 localhost\n" + "".join(f"127.0.0.1 {host}\n" for host in world.hosts))
        self.hosts = {hosts: "/etc/hosts"}

    def all(self, names):
        """Every library, or those that are named."""
        groups = (self.openssl, self.gnutls, self.nss, self.boringssl, self.java, self.curl)
        for group in groups:
            if not names or group.__name__ in names:
                group()
        return self.rows

    # --- running

    def run(self, command, environment=None, typed=None, transparent=False):
        """A program's exit code and all that it printed. `typed` is written to it, and its input stays open: it ends by itself."""
        if transparent:
            command = namespace.over_files(self.hosts, command)
        process = subprocess.Popen(
            command, env=clean_environment(self.world.home) | (environment or {}), cwd=self.world.home, start_new_session=True,
            stdin=subprocess.PIPE if typed else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        try:
            if typed:
                process.stdin.write(typed)
                process.stdin.flush()
                # `communicate` would close it, and some clients end with their input
                stdin, process.stdin = process.stdin, None
            out = process.communicate(timeout=WITHIN)[0]
            if typed:
                stdin.close()
        except (subprocess.TimeoutExpired, BrokenPipeError) as error:
            process.kill()
            return Ran(-1, f"{error!r} {process.communicate()[0].decode(errors='replace')}")
        return Ran(process.returncode, out.decode(errors="replace"))

    def good(self, client, case, ran, *wanted):
        """The call was answered, and what was printed says each of `wanted`."""
        row = Row(client, case)
        found = [re.search(want, ran.out) for want in wanted]
        row.note = ", ".join(match.group(match.lastindex or 0) for match in found if match)
        if not ran.is_answered():
            row.faults.append(f"no answer of SP-API; {ran.tail()}")
        row.faults += [f"it does not say {want!r}; {ran.tail()}" for want, match in zip(wanted, found) if not match]
        self.rows.append(row)

    def refused(self, client, case, ran, *wanted):
        """The program failed, without an answer, and says each of `wanted`."""
        row = Row(client, case)
        found = [re.search(want, ran.out) for want in wanted]
        row.note = ", ".join(match.group(match.lastindex or 0) for match in found if match)
        if ran.code == 0 or ran.is_answered():
            row.faults.append(f"it succeeded; {ran.tail()}")
        row.faults += [f"it does not say {want!r}; {ran.tail()}" for want, match in zip(wanted, found) if not match]
        self.rows.append(row)

    def absent(self, client, case, why):
        self.rows.append(Row(client, case, absent=why))

    # --- the libraries

    def openssl(self):
        proxy = self.world.proxy.removeprefix("http://")

        def ask(*words, ca=self.ca):
            command = ["openssl", "s_client", "-proxy", proxy, "-connect", f"{HOST}:443", "-servername", HOST, "-ign_eof"]
            command += ["-CAfile", ca, "-verify_hostname", HOST, "-verify_return_error", *words]
            return self.run(command, typed=REQUEST)

        verified = r"Verify return code: (0 \(ok\))"
        for suite in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"):
            self.good("OpenSSL", f"TLS 1.2, {suite}", ask("-tls1_2", "-cipher", suite), rf"New, (TLSv1.2), Cipher is {suite}", verified)
        for suite in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"):
            self.good("OpenSSL", f"TLS 1.3, {suite}", ask("-tls1_3", "-ciphersuites", suite), rf"New, (TLSv1.3), Cipher is {suite}", verified)
        for version in ("2", "3"):
            for curve, shown in (("X25519", "X25519"), ("P-256", "ECDH, (?:P-256|prime256v1)"), ("P-384", "ECDH, (?:P-384|secp384r1)")):
                # in TLS 1.2 the list is about the certificate too, which has a key on P-256: a client without it can have none
                if (version, curve) == ("2", "P-384"):
                    continue
                groups = "X25519:P-256" if (version, curve) == ("2", "X25519") else curve
                ran = ask(f"-tls1_{version}", "-groups", groups)
                self.good("OpenSSL", f"TLS 1.{version}, {curve}", ran, rf"Server Temp Key: ({shown})", verified)
            session = str(self.world.home / f"session-1.{version}")
            ask(f"-tls1_{version}", "-sess_out", session)
            ran = ask(f"-tls1_{version}", "-sess_in", session)
            self.good("OpenSSL", f"TLS 1.{version}, resumed", ran, rf"(Reused), TLSv1.{version}", verified)
        self.refused("OpenSSL", "TLS 1.1", ask("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"), TOO_OLD)
        self.refused("OpenSSL", "another CA", ask(ca=self.other_ca), r"verify error|certificate verify failed")

    def gnutls(self):
        def ask(priority, ca=self.ca):
            command = ["gnutls-cli", f"--x509cafile={ca}", f"--priority={priority}", "--port=443", HOST]
            return self.run(command, typed=REQUEST, transparent=True)

        for version in ("1.2", "1.3"):
            ran = ask(f"NORMAL:-VERS-ALL:+VERS-TLS{version}")
            self.good("GnuTLS", f"TLS {version}", ran, rf"Description: \((TLS{version}[^\n]*)\)", "certificate is trusted")
        self.refused("GnuTLS", "TLS 1.1", ask("NORMAL:-VERS-ALL:+VERS-TLS1.1"), r"(fatal alert has been received)")
        self.refused("GnuTLS", "another CA", ask("NORMAL", ca=self.other_ca), r"certificate is NOT trusted")

    def nss(self):
        def trusting(name, ca):
            home = self.world.home / name
            home.mkdir()
            for words in (["-N", "--empty-password"], ["-A", "-n", "ca", "-t", "C,,", "-i", ca]):
                subprocess.run(["certutil", *words, "-d", f"sql:{home}"], check=True, capture_output=True, stdin=subprocess.DEVNULL)
            return f"sql:{home}"

        def ask(version, trust):
            command = ["tstclnt", "-h", HOST, "-p", "443", "-d", trust, "-V", f"{version}:{version}", "-v", "-A", str(request)]
            return self.run(command, transparent=True)

        request = self.world.home / "request"
        request.write_bytes(REQUEST)
        ours, other = trusting("nss", self.ca), trusting("nss-other", self.other_ca)
        for version, shown in (("1.2", 3), ("1.3", 4)):
            self.good("NSS", f"TLS {version}", ask(f"tls{version}", ours), rf"(SSL version 3.{shown} using [^\n,]*)")
        self.refused("NSS", "TLS 1.1", ask("tls1.1", ours), r"(SSL_ERROR_(?:NO_CYPHER_OVERLAP|HANDSHAKE_FAILURE_ALERT))")
        self.refused("NSS", "another CA", ask("tls1.3", other), r"SEC_ERROR_UNKNOWN_ISSUER")

    def boringssl(self):
        def ask(newest, environment=None):
            command = self.world.executed([PYTHON, str(HERE / "chrome.py"), URL, newest])
            if environment:
                command = [PYTHON, str(HERE / "chrome.py"), URL, newest]
            return self.run(command, environment)

        for newest in ("1.2", "1.3"):
            self.good("BoringSSL (as Chrome)", f"up to TLS {newest}", ask(newest), rf"SSL connection using (TLSv{newest} / [^\n]*)", "BoringSSL")
        other = {"HTTPS_PROXY": self.world.proxy, "CURL_CA_BUNDLE": self.other_ca}
        self.refused("BoringSSL (as Chrome)", "another CA", ask("1.3", other), r"(?i)unable to get local issuer certificate")

    def java(self):
        program = [str(HERE / "Java8.java"), URL]
        only = ["-Dhttps.protocols=TLSv1.2", "-Djdk.tls.client.protocols=TLSv1.2"]
        ran = self.run(self.world.executed(["java", *only, *program]))
        self.good("Java, HttpsURLConnection", "TLS 1.2 only", ran, r"(TLS_ECDHE_ECDSA_WITH_\w+)")
        ran = self.run(self.world.executed(["java", *program]))
        self.good("Java, HttpsURLConnection", "TLS 1.3", ran, r"(?m)^(TLS_(?:AES|CHACHA20)_\w+)$")
        host, _, port = self.world.proxy.removeprefix("http://").partition(":")
        ran = self.run(["java", f"-Dhttps.proxyHost={host}", f"-Dhttps.proxyPort={port}", *only, *program])
        self.refused("Java, HttpsURLConnection", "another CA", ran, r"PKIX path building failed")

    def curl(self):
        facts = "\n%{http_code} %{http_version} %{ssl_verify_result}\n"

        def ask(*words, url=URL):
            return self.run(self.world.executed(["curl", "--silent", "--show-error", "--verbose", "--max-time", "30", "--write-out", facts, *words, url]))

        # it offers the protocol http/1.0 alone, which is none of the two that the sidecar speaks (RFC 7301 section 3.2)
        self.refused("curl", "--http1.0", ask("--http1.0"), r"(alert no application protocol)")
        self.good("curl", "--http1.0 --no-alpn", ask("--http1.0", "--no-alpn"), r"> GET \S+ HTTP/(1\.0)", r"\n(200) \S+ 0\n")
        for flag, spoken in (("--http1.1", "1.1"), ("--http2", "2"), ("--http2-prior-knowledge", "2"), ("--http0.9", r"2|1\.1")):
            self.good("curl", flag, ask(flag), rf"\n200 ({spoken}) 0\n")
        self.good("curl", "--tlsv1.2 --tls-max 1.2", ask("--tlsv1.2", "--tls-max", "1.2"), r"SSL connection using (TLSv1.2 / \S+)", r"\n(200) \S+ 0\n")
        self.good("curl", "--tlsv1.3", ask("--tlsv1.3"), r"SSL connection using (TLSv1.3 / \S+)", r"\n(200) \S+ 0\n")
        self.refused("curl", "--tls-max 1.1", ask("--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"), TOO_OLD)
        # an upgrade to HTTP/2 in plain text: `listen.plaintext: deny`
        self.plaintext(ask("--http2", "--proxy", self.world.proxy, url=URL.replace("https:", "http:")))
        self.http3(ask)
        ran = self.run(["curl", "--silent", "--show-error", "--proxy", self.world.proxy, "--cacert", self.other_ca, URL])
        self.refused("curl", "another CA", ran, r"SSL certificate problem")

    def plaintext(self, ran):
        row = Row("curl", "--http2, http://", note="403 plaintext_denied")
        if "plaintext_denied" not in ran.out or "\n403 1.1 0\n" not in ran.out or ran.is_answered():
            row.faults.append(f"it was not refused as plaintext_denied; {ran.tail()}")
        self.rows.append(row)

    def http3(self, ask):
        """Never round the sidecar: a curl that knows HTTP/3 has no way through a proxy, and must come back without an answer."""
        if "HTTP3" in self.run(["curl", "--version"]).out:
            self.refused("curl", "--http3-only", ask("--http3-only"), r"curl: \(\d+\)")
        else:
            self.absent("curl", "--http3", "not obtainable: this curl is built without HTTP/3")
