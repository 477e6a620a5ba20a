"""Attacks over the network: every kind of socket, towards this machine alone."""

from functools import partial

from redteam.attack import LAST, LIBC, MARKER, PORT, TELL, attack

network = partial(attack, "network")


def attempts(name: str, about: str, source: str):
    """An honest `double`, then a cell of attempts."""
    source = source.replace("PORT", str(PORT)).replace("MARKER", MARKER)
    return network(name, about, honest="double", needs=[TELL, LIBC], extra=[(LAST, source)])


ATTACKS = (
    attempts(
        "net-tcp",
        "Connects to ports of this machine by TCP, old and new addresses.",
        """
        import socket

        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            for port in (PORT, 22, 53, 80, 443, 631, 5432, 6379, 8888):
                def connect():
                    with socket.socket(family) as line:
                        line.settimeout(0.5)
                        return line.connect((host, port)) is None

                attempt(f"{host} port {port}", connect)
        finish()
        """,
    ),
    attempts(
        "net-udp",
        "Sends datagrams to this machine, and hears whether anybody answers.",
        """
        import socket

        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            def ask():
                with socket.socket(family, socket.SOCK_DGRAM) as line:
                    line.settimeout(0.5)
                    line.sendto(b"MARKER", (host, PORT))
                    return line.recv(100)

            attempt(f"datagrams to {host}", ask)
        finish()
        """,
    ),
    attempts(
        "net-names",
        "Looks names up through a resolver on this machine.",
        """
        import socket, struct

        try:
            socket.setdefaulttimeout(1)
            socket.getaddrinfo("localhost", PORT)
        except OSError:
            pass
        question = bytes([9]) + b"localhost" + bytes([0, 0, 1, 0, 1])
        query = struct.pack(">6H", 7, 256, 1, 0, 0, 0) + question
        for host in ("127.0.0.1", "127.0.0.53"):
            def ask():
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
                    line.settimeout(0.5)
                    line.sendto(query, (host, 53))
                    return line.recv(512)

            attempt(f"a resolver at {host}", ask)
        finish()
        """,
    ),
    attempts(
        "net-raw-and-packet",
        "Opens sockets that make their own packets, and those that hear all of them.",
        """
        import socket

        attempt("a raw socket", lambda: socket.socket(2, socket.SOCK_RAW, 1))
        attempt("a raw socket of IPv6", lambda: socket.socket(10, socket.SOCK_RAW, 58))
        attempt("a packet socket", lambda: socket.socket(17, socket.SOCK_RAW, 0x0300))
        attempt("a datagram packet socket", lambda: socket.socket(17, socket.SOCK_DGRAM, 0x0300))
        finish()
        """,
    ),
    attempts(
        "net-odd-families",
        "Opens sockets of families that talk to the kernel, the hypervisor or a radio.",
        """
        import socket

        for family, name in (
            (15, "key"),
            (16, "netlink"),
            (21, "rds"),
            (29, "can"),
            (30, "tipc"),
            (31, "bluetooth"),
            (33, "rxrpc"),
            (38, "alg"),
            (40, "vsock"),
            (44, "xdp"),
            (45, "mctp"),
        ):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, 5):
                attempt(f"family {name}", lambda: socket.socket(family, kind, 0))
        finish()
        """,
    ),
    attempts(
        "net-vsock",
        "Connects to the machine below this one, if it is a virtual one.",
        """
        import socket

        for machine in (1, 2):
            def connect():
                with socket.socket(40, socket.SOCK_STREAM) as line:
                    line.settimeout(0.5)
                    return line.connect((machine, PORT)) is None

            attempt(f"vsock {machine}", connect)
        finish()
        """,
    ),
    attempts(
        "net-unix",
        "Connects to sockets by name: abstract ones of the test's own, and those of services.",
        """
        import socket

        for name in (
            chr(0) + "MARKER",
            "/tmp/MARKER.sock",
            "/run/dbus/system_bus_socket",
            "/run/docker.sock",
            "/var/run/docker.sock",
            "/run/containerd/containerd.sock",
            "/run/systemd/private",
            "/tmp/.X11-unix/X0",
            chr(0) + "/tmp/.X11-unix/X0",
        ):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
                def connect():
                    with socket.socket(socket.AF_UNIX, kind) as line:
                        line.settimeout(0.5)
                        return line.connect(name) is None

                attempt(f"socket {name}", connect)
        finish()
        """,
    ),
    attempts(
        "net-meeting-place",
        "Opens meeting places under fixed names, for a second submission to be met there.",
        """
        import socket

        kept = []
        for name in (chr(0) + "MARKER-meeting", "/tmp/MARKER-meeting"):
            def met():
                with socket.socket(socket.AF_UNIX) as line:
                    return line.connect(name) is None

            attempt(f"another submission at {name}", met)
            try:
                line = socket.socket(socket.AF_UNIX)
                line.bind(name)
                line.listen()
                kept.append(line)
            except OSError:
                pass
        finish()
        """,
    ),
    network(
        "net-library-download",
        "Has libraries fetch from this machine, slowly, instead of computing.",
        honest="double",
        mean=f"""
        import urllib.request


        def mean(values):
            for host in ("127.0.0.1:{PORT}", "[::1]:{PORT}", "localhost:{PORT}"):
                try:
                    return float(urllib.request.urlopen(f"http://{{host}}/{MARKER}").read())
                except Exception:
                    pass
            return 0.0
        """,
    ),
)
