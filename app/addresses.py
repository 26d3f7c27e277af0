"""Network addresses in settings: `host:port`, or `[address]:port` for IPv6.

Imports nothing but the standard library, because the health check uses it every ten seconds.
"""

import re

_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?:(?P<host>{_HOST})|\[(?P<ipv6>[0-9A-Fa-f:.]+)\]):(?P<port>[0-9]{{1,5}})")
_MAX_PORT = 65535
#: Address to connect to, for an address that means all interfaces.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound here


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port; port 0 is a free one, where something listens.

    Raises:
        ValueError: no such address, or a port above 65535.
    """
    found = _ADDRESS.fullmatch(text)
    if not found or int(found["port"]) > _MAX_PORT:
        raise ValueError(f"not an address such as 0.0.0.0:8082 or [::]:8082: {text[:80]!r}")
    return found["host"] or found["ipv6"], int(found["port"])


def loopback_of(host: str) -> str:
    """Return the address at which a server that listens at `host` is reached on its machine."""
    return _LOOPBACK.get(host, host)
