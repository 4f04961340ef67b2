"""Settings: from the environment, else the file of `make up`, else the default; wrong ones are named."""

from pathlib import Path

import pytest

from config.settings import SettingsInvalid, load_settings


def test_a_bare_postgresql_url_names_our_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    for bare in ("postgresql://u@h/d", "postgres://u@h/d"):
        monkeypatch.setenv("DATABASE_URL", bare)
        assert load_settings().database_url == "postgresql+psycopg2://u@h/d"


def test_the_environment_wins_over_the_file_of_make_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("REDIS_URL='redis://file/0'\nPORT='8001'\n")
    monkeypatch.setenv("TIERCEL_HOME", str(tmp_path))
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("PORT", "8002")
    assert (load_settings().redis_url, load_settings().port) == ("redis://file/0", 8002)


def test_a_wrong_setting_is_named_and_its_value_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "hunter2")
    with pytest.raises(SettingsInvalid, match="PORT") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_secrets_are_never_shown_by_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERCEL_KEY_PEPPER", "hunter2")
    assert "hunter2" not in repr(load_settings())


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"TOMBSTONE_DAYS": "52"}, "TOMBSTONE_DAYS"),
        ({"RETENTION_DAYS": "53"}, "TOMBSTONE_DAYS"),
        ({"SENDER_RETRY_DAYS": "15"}, "TOMBSTONE_DAYS"),
        ({"DEDUP_DAYS": "59"}, "DEDUP_DAYS"),
    ],
)
def test_a_deletion_that_a_replay_could_outlive_is_refused(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], named: str
) -> None:
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=named):
        load_settings()
    monkeypatch.setenv("TOMBSTONE_DAYS", "90")
    monkeypatch.setenv("DEDUP_DAYS", "90")
    assert load_settings().tombstone_days == 90
