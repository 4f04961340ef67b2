"""Owns every setting: the only module that reads the environment.

A setting comes from the process environment, else from ``$TIERCEL_HOME/env`` (written by ``make up`` for its private
services, so that ``tiercel`` in a second terminal finds them), else from the default here.
"""

import os
from enum import StrEnum
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class QueueType(StrEnum):
    """RabbitMQ queue types that can carry message priorities."""

    CLASSIC = "classic"
    """With ``x-max-priority``: strict on every RabbitMQ."""
    QUORUM = "quorum"
    """Replicated; strict priorities from RabbitMQ 4.3 on."""


class Sampler(StrEnum):
    """The samplers that OpenTelemetry's standard names (https://opentelemetry.io/docs/specs/otel/configuration/)."""

    ALWAYS_ON = "always_on"
    ALWAYS_OFF = "always_off"
    TRACEIDRATIO = "traceidratio"
    PARENTBASED_ALWAYS_ON = "parentbased_always_on"
    PARENTBASED_ALWAYS_OFF = "parentbased_always_off"
    PARENTBASED_TRACEIDRATIO = "parentbased_traceidratio"


_Url = Annotated[str, Field(repr=False)]
"""A URL may hold a password, so no repr shows one."""


def tiercel_home() -> Path:
    """Return the folder of the private services, their data and first-start secrets."""
    return Path(os.environ.get("TIERCEL_HOME", ".tiercel")).absolute()


class Settings(BaseSettings):
    """One deployment's settings; docs/configuration.md lists each with its unit and reason."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    database_url: _Url = "postgresql+psycopg2://127.0.0.1:5432/tiercel"
    broker_url: _Url = "amqp://guest:guest@127.0.0.1:5672//"
    broker_management_url: _Url = ""
    redis_url: _Url = "redis://127.0.0.1:6379/0"
    broker_queue_type: QueueType = QueueType.CLASSIC
    consumer_priority: Annotated[int, Field(ge=0, le=255)] = 10

    secret_keys: Annotated[SecretStr, Field(alias="TIERCEL_SECRET_KEYS")] = SecretStr("")
    key_pepper: Annotated[SecretStr, Field(alias="TIERCEL_KEY_PEPPER")] = SecretStr("")
    flower_user: str = "tiercel"
    flower_password: SecretStr = SecretStr("")

    bind: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    flower_port: Annotated[int, Field(ge=1, le=65535)] = 5555
    web_processes: Annotated[int, Field(ge=1, le=256)] = 2
    web_threads: Annotated[int, Field(ge=1, le=1024)] = 32
    max_body_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 2 * 1024 * 1024
    store_timeout_s: Annotated[float, Field(gt=0, le=30)] = 0.9
    adobe_keys_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+$")] = "https://static.adobeioevents.com"

    source_events_per_s: Annotated[float, Field(ge=0.01, le=1_000_000)] = 5000.0
    source_burst: Annotated[int, Field(ge=1, le=10_000_000)] = 20_000
    address_failures_per_s: Annotated[float, Field(ge=0.01, le=1_000_000)] = 50.0
    address_failures_burst: Annotated[int, Field(ge=1, le=10_000_000)] = 2000
    failures_per_s: Annotated[float, Field(ge=1, le=1_000_000)] = 200.0
    trusted_proxies: str = ""
    pressure_commit_s: Annotated[float, Field(gt=0)] = 0.25
    pressure_memory: Annotated[float, Field(gt=0, lt=1)] = 0.92
    pressure_age_high_s: Annotated[float, Field(gt=0)] = 60.0
    pressure_age_medium_s: Annotated[float, Field(gt=0)] = 600.0
    pressure_age_low_s: Annotated[float, Field(gt=0)] = 3600.0

    version_skew_s: Annotated[float, Field(gt=0)] = 300.0
    window_pointers: Annotated[int, Field(ge=1, le=100_000)] = 2000
    window_s: Annotated[float, Field(gt=0)] = 0.25
    redispatch_after_s: Annotated[float, Field(gt=0)] = 5.0
    deadline_near_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    dispatch_interval_s: Annotated[float, Field(gt=0, le=10)] = 0.25
    worker_memory_mb: Annotated[int, Field(ge=128)] = 1024
    lease_s: Annotated[float, Field(gt=0)] = 10.0
    lock_wait_s: Annotated[float, Field(ge=0, le=1)] = 0.02
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 8
    retry_base_s: Annotated[float, Field(gt=0)] = 1.0
    retry_cap_s: Annotated[float, Field(gt=0)] = 600.0
    retention_days: Annotated[int, Field(ge=1)] = 30
    dead_days: Annotated[int, Field(ge=1)] = 45
    sender_retry_days: Annotated[int, Field(ge=0)] = 7
    tombstone_days: Annotated[int, Field(ge=1)] = 60
    dedup_days: Annotated[int, Field(ge=1)] = 90
    request_grace_hours: Annotated[int, Field(ge=0, le=720)] = 72

    log_level: Annotated[str, Field(pattern="^(?i:debug|info|warning|error|critical)$")] = "INFO"
    log_format: Annotated[str, Field(pattern="^(json|text|auto)$")] = "auto"

    metrics: bool = True
    otel_exporter_otlp_endpoint: _Url = ""
    otel_exporter_otlp_traces_endpoint: _Url = ""
    otel_exporter_otlp_headers: SecretStr = SecretStr("")
    otel_traces_sampler: Sampler = Sampler.PARENTBASED_TRACEIDRATIO
    otel_traces_sampler_arg: Annotated[float, Field(ge=0, le=1)] = 0.1
    otel_bsp_schedule_delay: Annotated[int, Field(ge=10, le=60_000)] = 5_000

    def traces_url(self) -> str:
        """Return where traces go; empty: nowhere."""
        given = self.otel_exporter_otlp_endpoint.rstrip("/")
        return self.otel_exporter_otlp_traces_endpoint or (given and f"{given}/v1/traces")

    @field_validator("trusted_proxies")
    @classmethod
    def _be_networks(cls, text: str) -> str:
        for part in filter(None, (part.strip() for part in text.split(","))):
            ip_network(part)
        return text

    @field_validator("database_url")
    @classmethod
    def _name_the_driver(cls, url: str) -> str:
        # A bare postgresql:// means whichever driver SQLAlchemy's release prefers; ours is psycopg2.
        for bare in ("postgresql://", "postgres://"):
            if url.startswith(bare):
                return "postgresql+psycopg2://" + url.removeprefix(bare)
        return url

    @model_validator(mode="after")
    def _a_deletion_outlives_what_could_undo_it(self) -> Self:
        # An older save can come from its sender, who still tries, or from a replay of what is kept here.
        horizon = max(self.retention_days, self.dead_days)
        if self.tombstone_days <= self.sender_retry_days + horizon:
            raise ValueError(
                f"TOMBSTONE_DAYS ({self.tombstone_days}) must be more than SENDER_RETRY_DAYS "
                f"({self.sender_retry_days}) + the longer of RETENTION_DAYS and DEAD_DAYS ({horizon}): "
                f"else a replay could undo a deletion"
            )
        if self.dedup_days < self.tombstone_days:
            raise ValueError(
                f"DEDUP_DAYS ({self.dedup_days}) must be at least TOMBSTONE_DAYS ({self.tombstone_days}): else a late "
                f"copy of what was deleted would be a new event"
            )
        return self


class SettingsInvalid(ValueError):  # noqa: N818  # named for the fact, like every error here
    """A setting in the environment can't be used."""


def load_settings() -> Settings:
    """Read the settings anew.

    Raises:
        SettingsInvalid: names each setting that can't be used, and never shows its value.
    """
    env_file = tiercel_home() / "env"
    try:
        return Settings(_env_file=env_file if env_file.is_file() else None)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}".removeprefix(": ") for e in error.errors()
        )
        raise SettingsInvalid(wrong) from None


@cache
def settings() -> Settings:
    """Return this process's settings, read once."""
    return load_settings()
