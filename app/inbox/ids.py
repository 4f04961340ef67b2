"""Owns our event ids: UUIDv7 (RFC 9562, section 5.7), in order of time so that the index grows at its end."""

import os
import time
import uuid


def new_event_id() -> uuid.UUID:
    """Return a new id: 48 bits of milliseconds, 74 random ones."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (2**48 - 1)) << 80 | (random & (2**80 - 1))
    value = value & ~(0xF << 76) | 7 << 76
    return uuid.UUID(int=value & ~(0b11 << 62) | 0b10 << 62)
