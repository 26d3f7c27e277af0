"""Every setting, read once, from the environment or from a file.

A setting ``name`` is read from ``MARQUEE_NAME`` or, so that secrets and long lists can live in
files, from the file that ``MARQUEE_NAME_FILE`` points to. What is not set has the default below.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "MARQUEE_"

_MAIL = r"^[^'\"\\\s]*$"


class SettingsError(Exception):
    """A setting that cannot be read or makes no sense."""


class _FileSource(PydanticBaseSettingsSource):
    """Reads ``MARQUEE_NAME_FILE``: the setting is what stands in that file."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{PREFIX}{field_name.upper()}"
        path = os.environ.get(f"{variable}_FILE")
        if path is None:
            return None, field_name, False
        if variable in os.environ:
            raise SettingsError(f"{variable} and {variable}_FILE are both set; keep one")
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{variable}_FILE: cannot read {path}: {error}") from error

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None:
                found[key] = value
        return found


class Settings(BaseSettings):
    """All settings. Their descriptions are the documentation (`docs/settings.md`)."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    bind: str = Field(
        "0.0.0.0:8082",
        description="Address and port the service listens on.",
    )
    workers: int = Field(2, ge=1, le=64, description="Worker processes of the service.")
    slot: str = Field(
        "local",
        pattern=r"^[A-Za-z0-9_.-]{1,40}$",
        description="Name of this instance of the service; goes into headers and logs.",
    )
    model_dir: Path = Field(Path("model"), description="The model directory that is served.")
    list_length: int = Field(
        20, ge=1, le=50, description="How many movies an answer holds (the contract says 20)."
    )
    hidden_movies: str = Field(
        "",
        description="Movie ids never to recommend, separated by commas or new lines.",
    )
    edge_try_seconds: float = Field(
        0.25,
        gt=0,
        lt=0.6,
        description="The edge's limit for one try; the latency histogram has a bucket there.",
    )
    provenance_enabled: bool = Field(
        True, description="Whether every answer is recorded, so that it can be traced."
    )
    spool_dir: Path = Field(
        Path("data/spool"),
        description="Where answers wait for the database; shared by all slots and the shipper.",
    )
    spool_max_mb: int = Field(
        1024, ge=16, description="Bound of the queue in MiB; beyond it the oldest records go."
    )
    database: str = Field(
        "sqlite:///data/provenance.db",
        pattern=r"^(sqlite:///|mysql\+mysqlconnector://)[^'\"\s]+$",
        description="Database of answers and versions, as SQLAlchemy's URL, without a password.",
    )
    database_password: SecretStr = Field(
        SecretStr(""), description="The database user's password; best given as a file."
    )
    provenance_retention_days: int = Field(
        90, ge=1, le=3650, description="How many days answers are kept in the database."
    )
    shipper_bind: str = Field(
        "127.0.0.1:8083",
        pattern=r"^[A-Za-z0-9.]+:\d{1,5}$",
        description="Where the shipper answers `/trace/<request_id>`, `/metrics` and `/health`.",
    )
    build_id: str = Field(
        "unknown",
        pattern=r"^[A-Za-z0-9_.:@-]{1,60}$",
        description="The build that runs here, given to the container when it is created.",
    )
    commit: str = Field(
        "unknown", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="The git commit of that build."
    )
    image_digest: str = Field(
        "unknown", pattern=r"^[A-Za-z0-9:]{1,80}$", description="The digest of that build's image."
    )
    edge_connect_seconds: float = Field(
        0.1, gt=0, lt=0.6, description="The edge's limit to connect; no second try begins before."
    )
    store_dir: Path = Field(Path("data/store"), description="Where collected events are kept.")
    kafka_servers: str = Field(
        "",
        pattern=r"^([A-Za-z0-9.-]+:\d{1,5}(,[A-Za-z0-9.-]+:\d{1,5})*)?$",
        description="Kafka brokers as `host:port`, separated by commas; empty: no stream.",
    )
    kafka_topic: str = Field(
        "movielog",
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="The topic that tells what is watched and rated.",
    )
    collector_bind: str = Field(
        "127.0.0.1:8084",
        pattern=r"^[A-Za-z0-9.]+:\d{1,5}$",
        description="Where `marquee collect` answers `/metrics` while it follows the stream.",
    )
    collector_commit_interval_seconds: float = Field(
        10.0, gt=0, le=600, description="What was collected is committed at least this often."
    )
    store_retention_days: int = Field(
        0,
        ge=0,
        le=36500,
        description="How many days before its newest events the store keeps; 0: all.",
    )
    metadata_api_url: str = Field(
        "",
        pattern=r"^(https?://[^\s'\"]+)?$",
        description="The information API on users and movies; empty: none is asked.",
    )
    metadata_api_max_requests_per_second: float = Field(
        5.0, gt=0, le=1000, description="Requests to the information API in a second, at most."
    )
    metadata_api_max_user_id: int = Field(
        0,
        ge=0,
        le=100_000_000,
        description="Users from 1 to this are asked for although they never watched; 0: none.",
    )
    rating_min: float = Field(1.0, description="Lowest rating of the scale.")
    rating_max: float = Field(5.0, description="Highest rating of the scale.")
    smtp_host: str = Field(
        "",
        pattern=r"^([A-Za-z0-9.-]+:\d{1,5})?$",
        description="Mail server as `host:port`; empty: no mail is sent.",
    )
    smtp_tls: bool = Field(True, description="Whether the mail server must speak STARTTLS.")
    mail_from: str = Field("", pattern=_MAIL, description="Sender of mail.")
    mail_to: str = Field("", pattern=_MAIL, description="Who gets mail, separated by commas.")
    smtp_user: str = Field(
        "", pattern=r"^[^'\s]*$", description="Mail server's user (see `secrets/README.md`)."
    )
    smtp_password: SecretStr = Field(
        SecretStr(""), description="That user's password; best given as a file."
    )
    slack_webhook: SecretStr = Field(
        SecretStr(""), description="Slack's incoming webhook, best given as a file; empty: none."
    )
    outbox_dir: Path = Field(
        Path("data/outbox"),
        description="Directory of the messages that no channel has accepted yet.",
    )
    git_remote: str = Field(
        "",
        pattern=r"^[^'\"\s]*$",
        description="Repository that new versions are pushed to; empty: none is made.",
    )
    git_branch: str = Field(
        "main", pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$", description="Its branch."
    )
    git_author: str = Field(
        "Marquee <marquee@localhost>",
        pattern=r"^[^<>\n]+ <[^<>\s]+>$",
        description="Who commits new versions.",
    )
    workspace_dir: Path = Field(
        Path("data/workspace"),
        description="Where versions are made, in a clone of its own; nobody else works there.",
    )
    keep_versions: int = Field(
        3, ge=1, le=1000, description="So many versions stay in the workspace; all in the remote."
    )
    service_urls: str = Field(
        "http://127.0.0.1:8082",
        pattern=r"^[^'\"\s]*$",
        description="Instances, separated by commas, to ask at `/version` what is in service.",
    )
    retrain_interval_hours: float = Field(
        48, gt=0, description="Hours from one retraining to the next."
    )
    retrain_retry_minutes: float = Field(
        60, gt=0, description="Minutes until one that failed for a fault outside is tried again."
    )
    scheduler_bind: str = Field(
        "127.0.0.1:8085",
        pattern=r"^[A-Za-z0-9.]+:\d{1,5}$",
        description="Where the scheduler answers `/metrics` and `/health`.",
    )
    dvc_remote: str = Field(
        "",
        pattern=r"^[^'\"\s]*$",
        description="Where data and models lie, in place of `.dvc/config`'s remote.",
    )
    log_format: Literal["auto", "terminal", "json"] = Field(
        "auto", description="`auto`: for people on a terminal, JSON elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )

    @model_validator(mode="after")
    def _scale_has_an_extent(self) -> "Settings":
        if not self.rating_min < self.rating_max:
            raise ValueError("rating_min must be below rating_max")
        return self

    @cached_property
    def hidden_movie_ids(self) -> frozenset[str]:
        """`hidden_movies` as a set of movie ids."""
        return frozenset(self.hidden_movies.replace(",", " ").split())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first (for tests), then the environment, then files."""
        return init_settings, env_settings, _FileSource(settings_cls)


def read_settings(**overrides: Any) -> Settings:
    """Read all settings.

    Raises:
        SettingsError: one is missing its file, or is not what it must be; the message names it.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(item) for item in error.errors())) from error


def _explain(item: Any) -> str:
    name = PREFIX + "_".join(str(part) for part in item["loc"]).upper()
    return f"{name.rstrip('_')}: {item['msg']}"
