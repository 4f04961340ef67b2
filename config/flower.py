"""Owns how Flower is shown: behind a password, read-only, on loopback unless BIND says otherwise.

Flower reads this file as its --conf; names are Flower's options. ``/healthcheck`` and ``/metrics`` need no password
in Flower, so bind it where only friends can reach it.
"""

from config.settings import settings, tiercel_home
from config.share import share_by_niceness

share_by_niceness()

_settings = settings()
_password = _settings.flower_password.get_secret_value()
if not _password:
    raise SystemExit("flower: FLOWER_PASSWORD is empty; Flower doesn't start without one")

address = _settings.bind
port = _settings.flower_port
basic_auth = [f"{_settings.flower_user}:{_password}"]
read_only = True
broker_api = _settings.broker_management_url or None
max_tasks = 10_000
purge_offline_workers = 300
inspect_timeout = 3000.0

persistent = True
db = str(tiercel_home() / "flower")
state_save_interval = 60_000  # milliseconds; kept so that a restart shows what was there
tiercel_home().mkdir(parents=True, exist_ok=True)
