"""Variables of the environment that keep connections from being made."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


def broken_connection_variable(environment: Mapping[str, str]) -> str | None:
    """Return which variable of certificates or proxies is broken and what to do, or None."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        place = environment.get(name)
        if place and not Path(place).exists():
            return f"{name} is {place}, which does not exist. Fix it, or unset it."
    for name in (*_PROXIES, *map(str.lower, _PROXIES)):
        address = environment.get(name)
        if address and not _is_proxy(address):
            return f"{name} is no address of a proxy. Set scheme://host:port, or unset it."
    return None


def _is_proxy(address: str) -> bool:
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        return parts.scheme in _PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False  # a port that is no number
