"""Owns who speaks: the address that a request's failures are counted under. Pure.

Only what a trusted proxy wrote counts: X-Forwarded-For is read from its end, as far as the addresses in it are our own
proxies'; the first other one is the client. Whatever a client itself writes stands before that and is never read.
"""

import zlib
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Network = IPv4Network | IPv6Network
_HOPS = 16
_SLOTS = 4096
_HOST_BITS = 64
"""Of IPv6: one subscriber has at least a /64 (RFC 6177)."""


def networks(text: str) -> tuple[Network, ...]:
    """Return the networks in a comma-separated list of addresses and CIDR blocks.

    Raises:
        ValueError: one of them isn't any.
    """
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def client(environ: Mapping[str, Any], proxies: Sequence[Network]) -> str:
    """Return the address of whoever speaks: IPv4 in full, of IPv6 its /64."""
    found = _address(str(environ.get("REMOTE_ADDR", "")))
    if found is None:
        return "unknown"
    hops = str(environ.get("HTTP_X_FORWARDED_FOR", "")).rsplit(",", _HOPS)[::-1][:_HOPS]
    for hop in hops:
        before = _address(hop)
        if before is None or not _is_in(found, proxies):
            break
        found = before
    if isinstance(found, IPv6Address):
        return str(IPv6Address(int(found) >> _HOST_BITS << _HOST_BITS))
    return str(found)


def slot(address: str) -> int:
    """Return the one of 4,096 slots that an address shares: so neither our memory nor Redis's can be filled."""
    return zlib.crc32(address.encode()) % _SLOTS


def _is_in(address: IPv4Address | IPv6Address, found: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in found)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found
