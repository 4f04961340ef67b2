"""Owns the registry of source kinds: how each sender is verified and brought to normal form.

A kind is pure: it gets bytes, headers, secrets and the time, and touches neither database nor network.
"""

from app.sources.kinds import adobe_io, bigcommerce, cloudevents, elasticpath, hmac, shopify, squarespace, standard
from app.sources.kinds.kind import Kind, Request

_FILES = (elasticpath, adobe_io, shopify, squarespace, bigcommerce, standard, cloudevents, hmac)
KINDS: dict[str, Kind] = {file.KIND.name: file.KIND for file in _FILES}

__all__ = ["KINDS", "Kind", "Request"]
