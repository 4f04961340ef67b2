"""Owns secrets at rest: sources' secrets sealed with MultiFernet, API keys kept as HMAC under a pepper."""

import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.errors import Permanent
from config.settings import Settings


class VaultUnusable(Permanent):
    """TIERCEL_SECRET_KEYS or TIERCEL_KEY_PEPPER is missing or can't be used; `make up` makes them at first start."""


class Vault:
    """Seals and opens secrets; the first key seals, every key opens, so that keys can be rotated."""

    def __init__(self, settings: Settings) -> None:
        keys = [key.strip() for key in settings.secret_keys.get_secret_value().split(",") if key.strip()]
        self._pepper = settings.key_pepper.get_secret_value().encode()
        try:
            fernets = [Fernet(key) for key in keys]
            self._fernet = MultiFernet(fernets)
        except ValueError:
            raise VaultUnusable from None
        if not self._pepper:
            raise VaultUnusable
        self._first = fernets[0]

    def seal(self, secret: str) -> str:
        """Return the secret encrypted and authenticated (Fernet: AES-128-CBC, HMAC-SHA256)."""
        return self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return a sealed secret in the clear.

        Raises:
            VaultUnusable: no key of this process opens it.
        """
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise VaultUnusable("a secret was sealed with a key that TIERCEL_SECRET_KEYS doesn't have") from None

    def is_newest(self, sealed: str) -> bool:
        """Tell whether the first key sealed a secret."""
        try:
            self._first.decrypt(sealed.encode())
        except InvalidToken:
            return False
        return True

    def key_digest(self, key: str) -> bytes:
        """Return what is stored of an API key."""
        return self.digest(key.encode())

    def digest(self, content: bytes) -> bytes:
        """Return what tells contents apart and says nothing of them to whoever hasn't the pepper."""
        return hmac.new(self._pepper, content, hashlib.sha256).digest()
