"""Where the clients run: a network of their own, and for some a hosts file of their own.

The whole play runs in a Linux network namespace that has nothing but loopback. So port 443 is free for the transparent
listener without touching the machine, and a call that goes round the sidecar fails at once instead of reaching Amazon.
A client of the transparent way gets a mount namespace besides, in which /etc/hosts points SP-API at that listener; the
sidecar, outside it, never sees that file. Root or unprivileged user namespaces are needed.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys

INSIDE = "CLIENTS_NAMESPACE"
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def enter():
    """Runs this program again inside a network namespace; returns once inside, with loopback up."""
    if os.environ.pop(INSIDE, None):
        loopback_up()
        return
    for options in ([], ["--user", "--map-root-user"]):
        command = ["unshare", *options, "--net", "--mount"]
        if subprocess.run([*command, "true"], stderr=subprocess.DEVNULL).returncode == 0:
            os.execvpe(command[0], [*command, sys.executable, *sys.argv], os.environ | {INSIDE: "1"})
    sys.exit(
        "tests/clients/run: no network namespace can be made; run it as root (CAP_SYS_ADMIN), "
        "or allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
    )


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, name))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def over_files(mounts, command):
    """`command` in a mount namespace of its own, where each of `mounts` (file to show -> path) lies over its path."""
    script = 'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 125; shift 2; done; shift; exec "$@"'
    pairs = [str(part) for pair in mounts.items() for part in pair]
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *pairs, "--", *command]
