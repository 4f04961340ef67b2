"""Who speaks: only what a trusted proxy wrote counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.webhooks.limits.client_address import client, networks, slot
from config.settings import SettingsInvalid, load_settings

PROXIES = networks("10.0.0.0/8, 2001:db8:1::/48,192.0.2.1")
header = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200)


def speaks(peer: str, forwarded: str | None = None) -> str:
    environ = {"REMOTE_ADDR": peer} | ({} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded})
    return client(environ, PROXIES)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.1.2.3", None, "10.1.2.3"),
        ("10.1.2.3", "198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", "198.51.100.1:4711", "198.51.100.1"),
        ("10.1.2.3", "1.1.1.1, 198.51.100.1, 192.0.2.1", "198.51.100.1"),
        ("10.1.2.3", "198.51.100.1, nonsense", "10.1.2.3"),
        ("10.1.2.3", "1.1.1.1," + "10.0.0.1," * 30 + "10.0.0.2", "10.0.0.1"),
        ("2001:db8:9:8:7:6:5:4", None, "2001:db8:9:8::"),
        ("2001:db8:1::1", "[2001:db8:9:8::1]:443", "2001:db8:9:8::"),
        ("::ffff:203.0.113.9", None, "203.0.113.9"),
        ("::ffff:10.1.2.3", "198.51.100.1", "198.51.100.1"),
        ("", "198.51.100.1", "unknown"),
    ],
)
def test_the_address_is_the_last_one_that_a_trusted_proxy_names(
    peer: str, forwarded: str | None, expected: str
) -> None:
    assert speaks(peer, forwarded) == expected


@given(header)
def test_nothing_that_a_stranger_writes_changes_its_address(written: str) -> None:
    assert speaks("203.0.113.9", written) == "203.0.113.9"


@given(header)
def test_nothing_that_a_client_writes_before_a_proxys_word_changes_its_address(written: str) -> None:
    assert speaks("10.1.2.3", f"{written}, 203.0.113.9") == "203.0.113.9"


@given(st.ip_addresses(v=6))
def test_all_addresses_of_a_subscriber_share_a_slot(address: object) -> None:
    found = speaks(str(address))
    assert slot(found) == slot(speaks(found))
    assert 0 <= slot(found) < 4096


def test_proxies_that_are_no_networks_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.0/8, ,somewhere")
    with pytest.raises(SettingsInvalid, match="TRUSTED_PROXIES"):
        load_settings()
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.0/8,")
    assert load_settings().trusted_proxies == "10.0.0.0/8,"
