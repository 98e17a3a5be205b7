"""Who can reach a server of ours: this machine alone, or others, who then need a token. Pure."""

from ipaddress import ip_address

TOKEN = "LION_SERVER_TOKEN"  # noqa: S105 - the name of a variable of the environment
"""The variable that holds what clients have to send where a server is not on loopback."""


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`; a name other than localhost is not known."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
