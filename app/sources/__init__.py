"""Owns the registry of source kinds: how each sender is verified and brought to normal form.

A kind is pure: it gets bytes, headers, secrets and the time, and touches neither database nor network.
"""

from app.sources import elasticpath, hmac, standard
from app.sources.kind import Kind, Request

KINDS: dict[str, Kind] = {kind.name: kind for kind in (elasticpath.KIND, standard.KIND, hmac.KIND)}

__all__ = ["KINDS", "Kind", "Request"]
