"""Secrets at rest: sealed, rotated, never usable without the right key."""

import pytest
from cryptography.fernet import Fernet

from app.security.vault import Vault, VaultUnusable
from config.settings import Settings


def vault(*keys: str, pepper: str = "pepper") -> Vault:
    return Vault(Settings.model_validate({"TIERCEL_SECRET_KEYS": ",".join(keys), "TIERCEL_KEY_PEPPER": pepper}))


OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def test_a_sealed_secret_opens_again_and_shows_nothing() -> None:
    sealed = vault(NEW).seal("a secret")
    assert "secret" not in sealed
    assert vault(NEW).open(sealed) == "a secret"


def test_an_older_key_still_opens_while_the_newest_seals() -> None:
    sealed = vault(OLD).seal("a secret")
    assert vault(NEW, OLD).open(sealed) == "a secret"
    with pytest.raises(VaultUnusable, match="doesn't have"):
        vault(NEW).open(sealed)


@pytest.mark.parametrize("keys", [(), ("not a key",)])
def test_without_a_usable_key_there_is_no_vault(keys: tuple[str, ...]) -> None:
    with pytest.raises(VaultUnusable):
        vault(*keys)


def test_without_a_pepper_there_is_no_vault() -> None:
    with pytest.raises(VaultUnusable):
        vault(NEW, pepper="")


def test_a_keys_digest_depends_on_the_pepper() -> None:
    assert vault(NEW).key_digest("tk_1") != vault(NEW, pepper="another").key_digest("tk_1")
