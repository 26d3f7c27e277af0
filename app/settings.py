"""All settings, read from environment variables or files.

The setting `name` is read from the variable `MARQUEE_NAME` or, for secrets and long lists, from the
file whose path is in `MARQUEE_NAME_FILE`. `docs/settings.md` is generated from the descriptions.
"""

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.addresses import parse_address
from app.cli_errors import MarqueeError
from app.recent_events import KEPT_MOVIES, OLDER_MOVIES
from app.text_files import TextError, decode_text

PREFIX = "MARQUEE_"

#: A mail address in a configuration file, within quotes.
_MAIL_ADDRESS = re.compile(r"[^'\"\\\s@,]+@[^'\"\\\s@,]+")
#: So that a token cannot be guessed.
_MIN_TOKEN_LENGTH = 16
#: What git refuses among the characters that the pattern of `git_branch` allows.
_NO_BRANCH = re.compile(r"\.\.|//|/\.|\.lock(/|$)|[/.]$")


class SettingsError(MarqueeError):
    """A setting is not valid or its file cannot be read; the message names it."""


def _validate_addresses(text: str) -> str:
    for address in text.split(",") if text else []:
        parse_address(address)
    return text


def _validate_zone(text: str) -> str:
    try:
        ZoneInfo(text or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {text!r}; a name such as Europe/Berlin or UTC") from error
    return text


def _validate_urls(text: str) -> str:
    for url in text.split(",") if text else []:
        parts = urlsplit(url)  # which fails for an invalid IPv6 address
        # The port is parsed when it is read, and then fails above 65535.
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("not a URL such as http://host:8082")
    return text


def _validate_secret_url(secret: SecretStr) -> SecretStr:
    if "," in secret.get_secret_value():
        raise ValueError("not a URL such as https://host/path")
    _validate_urls(secret.get_secret_value())
    return secret


def _validate_token(secret: SecretStr) -> SecretStr:
    if 0 < len(secret.get_secret_value()) < _MIN_TOKEN_LENGTH:
        raise ValueError(f"shorter than {_MIN_TOKEN_LENGTH} characters")
    return secret


def _validate_database(text: str) -> str:
    if text.startswith("mysql") and not (urlsplit(text).hostname and urlsplit(text).port != 0):
        raise ValueError("not a URL such as mysql+mysqlconnector://user@host:3306/name")
    return text


def _validate_mail_addresses(text: str) -> str:
    for address in text.split(",") if text else []:
        if not _MAIL_ADDRESS.fullmatch(address):
            raise ValueError(f"not a mail address: {address[:80]!r}")
    return text


def _validate_branch(text: str) -> str:
    if _NO_BRANCH.search(text):
        raise ValueError("not a name that git accepts for a branch")
    return text


def _refuse_empty(value: Any) -> Any:
    if value == "":
        raise ValueError("the path is empty")
    return value


#: `host:port`; an IPv6 address stands in brackets.
Address = Annotated[
    str, Field(min_length=1, pattern="^[^,]*$"), AfterValidator(_validate_addresses)
]
#: Mail addresses separated by commas; may be empty.
MailAddresses = Annotated[str, AfterValidator(_validate_mail_addresses)]
#: HTTP URLs separated by commas; may be empty.
Urls = Annotated[str, Field(pattern=r"^[^'\"\s]*$"), AfterValidator(_validate_urls)]
#: A path; an empty one would be the current directory.
NonEmptyPath = Annotated[Path, BeforeValidator(_refuse_empty)]
#: Addresses separated by commas; may be empty.
Addresses = Annotated[str, AfterValidator(_validate_addresses)]


class ServiceSettings(BaseModel):
    """Service."""

    bind: Address = Field("0.0.0.0:8082", description="Address and port of the service.")
    workers: int = Field(2, ge=1, le=64, description="Number of worker processes.")
    slot: str = Field(
        "local",
        pattern=r"^[A-Za-z0-9_.-]{1,40}$",
        description="Name of this instance in headers, logs and provenance records.",
    )
    model_dir: NonEmptyPath = Field(Path("model"), description="Directory of the model to serve.")
    list_length: int = Field(
        20, ge=1, le=50, description="Number of movies in a recommendation; clients expect 20."
    )
    hidden_movies: str = Field(
        "",
        description="Movie ids that are never recommended, separated by commas or white space.",
    )
    unprofiled_users: str = Field(
        "",
        pattern=r"^(\s*[0-9]{1,18}\s*(,|\s|$))*$",
        description="Ids of users who always get the popular movies of all users, separated by "
        "commas or white space.",
    )
    build_id: str = Field(
        "unknown",
        pattern=r"^[A-Za-z0-9_.:@-]{1,60}$",
        description="Id of the running build, set when a container is created.",
    )
    commit: str = Field(
        "unknown", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Git commit of the build."
    )
    image_digest: str = Field(
        "unknown", pattern=r"^[A-Za-z0-9:]{1,80}$", description="Digest of the build's image."
    )

    @cached_property
    def hidden_movie_ids(self) -> frozenset[str]:
        """`hidden_movies` as a set of movie ids."""
        return frozenset(self.hidden_movies.replace(",", " ").split())

    @cached_property
    def unprofiled_user_ids(self) -> frozenset[int]:
        """`unprofiled_users` as a set of user ids."""
        return frozenset(map(int, self.unprofiled_users.replace(",", " ").split()))


class ProvenanceSettings(BaseModel):
    """Provenance of responses."""

    provenance_enabled: bool = Field(True, description="Whether every response is recorded.")
    spool_dir: NonEmptyPath = Field(
        Path("data/spool"),
        description="Directory of the spool, where records wait for the shipper; shared by all "
        "slots and the shipper.",
    )
    spool_max_mb: int = Field(
        1024,
        ge=16,
        description="Maximum size of the spool in MiB; beyond it the oldest records are dropped.",
    )
    database: Annotated[str, AfterValidator(_validate_database)] = Field(
        "sqlite:///data/provenance.db",
        pattern=r"^(sqlite:///|mysql\+mysqlconnector://)[^'\"\s]+$",
        description="SQLAlchemy URL of the database, without a password.",
    )
    database_password: SecretStr = Field(
        SecretStr(""), description="Password of the database user; preferably a file."
    )
    database_ca: str = Field(
        "",
        description="Certificates (PEM) of the authorities that signed the certificate of a MySQL "
        "server; preferably a file. With them, TLS is required, and the server's certificate and "
        "name are verified; empty: neither.",
    )
    provenance_retention_days: int = Field(
        90, ge=1, le=3650, description="Days for which responses are kept in the database."
    )
    export_dir: NonEmptyPath = Field(
        Path("data/exports"),
        description="Directory of the daily exports of responses, which `marquee query` reads.",
    )
    shipper_bind: Address = Field(
        "127.0.0.1:8083",
        description="Address and port of the shipper: `/trace/<request_id>`, `/metrics`, "
        "`/health`.",
    )
    shipper_volumes: str = Field(
        "",
        pattern=r"^([a-z-]+=[^=,'\"]+(,[a-z-]+=[^=,'\"]+)*)?$",
        description="Volumes of programs without such a metric, whose free space the shipper "
        "exports: `name=directory`, separated by commas.",
    )

    @cached_property
    def shipper_volume_paths(self) -> dict[str, Path]:
        """`shipper_volumes` as directories by name."""
        pairs = (pair.split("=") for pair in self.shipper_volumes.split(",") if pair)
        return {name: Path(directory) for name, directory in pairs}


class IngestSettings(BaseModel):
    """Event store and Kafka collector."""

    store_dir: NonEmptyPath = Field(Path("data/store"), description="Directory of the event store.")
    store_retention_days: int = Field(
        3650,
        ge=0,
        le=36500,
        description="Days before the newest event for which events are kept; 0: no limit.",
    )
    rating_min: float = Field(1.0, allow_inf_nan=False, description="Lowest valid rating.")
    rating_max: float = Field(5.0, allow_inf_nan=False, description="Highest valid rating.")
    min_event_year: int = Field(
        1990,
        ge=1,
        le=2100,
        description="Events from before this year have a wrong time and are rejected.",
    )
    stream_time_zone: Annotated[str, AfterValidator(_validate_zone)] = Field(
        "",
        description="Time zone of the log's times, such as `America/New_York`: lines more than 10 "
        "minutes later than the clock are rejected. Empty: not known; the limit is a day.",
    )
    kafka_servers: Addresses = Field(
        "",
        description="Kafka bootstrap servers as `host:port`, separated by commas; empty: Kafka is "
        "not read.",
    )
    kafka_topic: str = Field(
        "movielog",
        pattern=r"^([A-Za-z0-9_-]|\.{1,2}[A-Za-z0-9_-]|\.{3})[A-Za-z0-9._-]{0,246}$",
        description="Kafka topic of the event log.",
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to connect to Kafka: `SSL` is TLS, `SASL` with a password."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism."
    )
    kafka_user: str = Field("", description="SASL user.")
    kafka_password: SecretStr = Field(
        SecretStr(""), description="Password of the SASL user; preferably a file."
    )
    kafka_ca: str = Field(
        "",
        description="Certificates (PEM) of the authorities that signed the brokers' certificates; "
        "preferably a file; empty: those of the system.",
    )
    kafka_certificate: str = Field(
        "", description="Client certificate (PEM) for TLS; preferably a file; empty: none."
    )
    kafka_key: SecretStr = Field(
        SecretStr(""),
        description="Unencrypted key (PEM) of the client certificate; preferably a file.",
    )
    collector_bind: Address = Field(
        "127.0.0.1:8084",
        description="Address and port of the collector's `/metrics` and `/health`.",
    )
    collector_commit_interval_seconds: float = Field(
        10.0, gt=0, le=600, description="Maximum seconds between two commits to the store."
    )

    @model_validator(mode="after")
    def _validate_rating_range(self) -> "IngestSettings":
        if not self.rating_min < self.rating_max:
            raise ValueError("rating_min must be below rating_max")
        return self

    @model_validator(mode="after")
    def _validate_kafka_security(self) -> "IngestSettings":
        """Refuse credentials that are missing, and those that would silently not be used."""
        protocol = self.kafka_security_protocol
        has_password = bool(self.kafka_password.get_secret_value())
        if protocol.startswith("SASL") and not (self.kafka_user and has_password):
            raise ValueError(f"{protocol} needs kafka_user and kafka_password")
        if not protocol.startswith("SASL") and (self.kafka_user or has_password):
            raise ValueError(f"kafka_user and kafka_password are not used with {protocol}")
        has_key = bool(self.kafka_key.get_secret_value())
        if has_key != bool(self.kafka_certificate):
            raise ValueError("kafka_certificate and kafka_key need each other")
        if not protocol.endswith("SSL") and (self.kafka_ca or self.kafka_certificate):
            raise ValueError(f"kafka_ca and kafka_certificate are not used with {protocol}")
        return self


class EngineSettings(BaseModel):
    """Engine of preparation and training."""

    engine: Literal["local", "spark"] = Field(
        "local",
        description="What `prepare` and `train` run on: this machine, or a Spark cluster.",
    )
    spark_master: str = Field(
        "",
        pattern=r"^(spark://[^'\"\s]+|k8s://[^'\"\s]+|yarn|local(\[[0-9*,]+\])?)?$",
        description="URL of the Spark cluster, such as `spark://host:7077`.",
    )
    spark_scratch: str = Field(
        "",
        pattern=r"^[^'\"]*$",
        description="Directory for intermediate files of training on Spark, which all workers "
        "reach by the same path; empty: next to the model.",
    )


class RecentActivitySettings(BaseModel):
    """Recent activity of users."""

    recent_enabled: bool = Field(
        True,
        description="Let recommendations depend on recent activity, where there is a file of it.",
    )
    recent_dir: NonEmptyPath = Field(
        Path("data/recent"),
        description="Directory of the file with each user's last movies.",
    )
    recent_movies: int = Field(
        KEPT_MOVIES,
        ge=1,
        le=16,
        description="Number of a user's last movies that are kept and affect the list.",
    )
    recent_older_movies: int = Field(
        OLDER_MOVIES,
        ge=0,
        le=34,
        description="Number of a user's movies before them that are not recommended again either, "
        "and have no other effect.",
    )
    recent_days: int = Field(
        7,
        ge=1,
        le=365,
        description="Days before the newest event for which recent activity is kept.",
    )
    recent_max_users: int = Field(
        1_000_000,
        ge=1,
        le=100_000_000,
        description="Number of users that the file has places for; then those without events for "
        "the longest time are removed.",
    )
    recent_commit_interval_seconds: float = Field(
        0.5, gt=0, le=1, description="Maximum seconds between two commits to the file."
    )
    follower_bind: Address = Field(
        "127.0.0.1:8087",
        description="Address and port of `/metrics` and `/health` of `marquee follow`.",
    )


class MetadataApiSettings(BaseModel):
    """Metadata API of users and movies."""

    metadata_api_url: Annotated[Urls, Field(pattern="^[^,]*$")] = Field(
        "",
        description="Base URL of the metadata API; empty: metadata is not fetched.",
    )
    metadata_api_max_requests_per_second: float = Field(
        5.0, gt=0, le=1000, description="Maximum number of requests per second."
    )
    metadata_api_max_user_id: int = Field(
        0,
        ge=0,
        le=100_000_000,
        description="Also fetch the users 1 to this id without any event; 0: only users with "
        "events.",
    )


class NotificationSettings(BaseModel):
    """Notifications by mail and Slack."""

    smtp_host: Annotated[Addresses, Field(pattern="^[^,]*$")] = Field(
        "",
        description="SMTP server as `host:port`; empty: no mail is sent.",
    )
    smtp_tls: bool = Field(True, description="Whether STARTTLS is required.")
    smtp_user: str = Field(
        "", pattern=r"^[^'\s]*$", description="SMTP user (see `secrets/README.md`)."
    )
    smtp_password: SecretStr = Field(
        SecretStr(""), description="Password of the SMTP user; preferably a file."
    )
    mail_from: Annotated[MailAddresses, Field(pattern="^[^,]*$")] = Field(
        "", description="Sender address."
    )
    mail_to: MailAddresses = Field("", description="Recipients, separated by commas.")
    slack_webhook: Annotated[SecretStr, AfterValidator(_validate_secret_url)] = Field(
        SecretStr(""),
        description="URL of a Slack incoming webhook, preferably a file; empty: Slack is not used.",
    )
    outbox_dir: NonEmptyPath = Field(
        Path("data/outbox"),
        description="Directory of the messages that are not delivered yet.",
    )


class RetrainingSettings(BaseModel):
    """Retraining and publishing of versions."""

    git_remote: str = Field(
        "",
        pattern=r"^([^'\"\s-][^'\"\s]*)?$",
        description="Git repository to push new versions to; empty: retraining is disabled.",
    )
    git_branch: Annotated[str, AfterValidator(_validate_branch)] = Field(
        "main",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$",
        description="Branch of the repository.",
    )
    git_author: str = Field(
        "Marquee <marquee@localhost>",
        pattern=r"^[^<>\n]+ <[^<>\s]+>$",
        description="Author of the commits.",
    )
    dvc_remote: str = Field(
        "",
        pattern=r"^([^'\"\s-][^'\"\s]*)?$",
        description="DVC remote of data and models; empty: the one in `.dvc/config`.",
    )
    workspace_dir: NonEmptyPath = Field(
        Path("data/workspace"),
        description="Directory of the clone in which versions are built.",
    )
    keep_versions: int = Field(
        3,
        ge=1,
        le=1000,
        description="Number of versions kept in the workspace; the remote keeps all.",
    )
    train_block_pairs: int = Field(
        2_000_000,
        ge=1000,
        le=1_000_000_000,
        description="Pairs of user and movie that training computes at a time: fewer take less "
        "memory and more time. The model is the same.",
    )
    service_urls: Urls = Field(
        "http://127.0.0.1:8082",
        description="Base URLs of the service, separated by commas; `/version` of the first that "
        "responds is the production version.",
    )
    retrain_interval_hours: float = Field(
        48, gt=0, le=87_600, description="Hours between retraining runs."
    )
    retrain_retry_minutes: float = Field(
        60,
        gt=0,
        le=525_600,
        description="Minutes before a run that failed for an external cause is retried.",
    )
    transfer_timeout_minutes: float = Field(
        60,
        gt=0,
        le=10_080,
        description="Minutes after which a command of git or DVC, such as a push, is stopped.",
    )
    stage_timeout_hours: float = Field(
        24,
        gt=0,
        le=720,
        description="Hours after which a stage of a retraining, such as training, is stopped.",
    )
    scheduler_bind: Address = Field(
        "127.0.0.1:8085",
        description="Address and port of the scheduler's `/metrics`, `/health` and `/state`.",
    )


class ConsoleSettings(BaseModel):
    """The console."""

    console_bind: Address = Field(
        "127.0.0.1:8090", description="Address and port of the console; it has no login."
    )
    console_hosts: str = Field(
        "localhost,127.0.0.1",
        pattern=r"^[A-Za-z0-9.-]+(,[A-Za-z0-9.-]+)*$",
        description="Names by which browsers reach the console, separated by commas; requests for "
        "others are refused.",
    )
    console_dir: NonEmptyPath = Field(
        Path("data/console"), description="Directory of the counts that the console keeps."
    )
    console_token: Annotated[SecretStr, AfterValidator(_validate_token)] = Field(
        SecretStr(""),
        description="Token of at least 16 characters with which the console accepts actions, "
        "preferably a file; empty: it has none.",
    )
    orders_dir: NonEmptyPath = Field(
        Path("data/orders/pending"),
        description="Directory in which the console writes orders and their audit, and where the "
        "scheduler and the shipper read them; releases read `data/orders/pending` of the clone.",
    )
    prometheus_url: Annotated[Urls, Field(min_length=1, pattern="^[^,]*$")] = Field(
        "http://127.0.0.1:9090", description="Base URL of Prometheus, which the console reads."
    )
    prometheus_link: Annotated[Urls, Field(pattern="^[^,]*$")] = Field(
        "",
        description="Base URL of Prometheus in the links of the console; empty: the same.",
    )
    scheduler_url: Annotated[Urls, Field(min_length=1, pattern="^[^,]*$")] = Field(
        "http://127.0.0.1:8085", description="Base URL of the scheduler, which the console reads."
    )
    release_dir: NonEmptyPath = Field(
        Path("data/release"), description="Directory with state and history of releases."
    )
    docs_dir: NonEmptyPath = Field(
        Path("docs"), description="Directory of `operations.md`, whose sections the console shows."
    )

    @cached_property
    def console_host_names(self) -> list[str]:
        """`console_hosts` as a list."""
        return self.console_hosts.split(",")


Port = Annotated[int, Field(ge=1, le=65535)]


class StackSettings(BaseModel):
    """The stack, read by Docker Compose and the scripts; each stack on a host needs its own."""

    compose_project_name: str = Field(
        "marquee", description="Name of the stack: of its containers, volumes and networks."
    )
    image: str = Field(
        "",
        description="Name of the images that are built; empty: the name of the stack.",
    )
    port: Port = Field(8082, description="Published port of NGINX, on every interface.")
    shipper_port: Port = Field(
        8083, description="Port of the loopback interface for `/trace/<request_id>`."
    )
    prometheus_port: Port = Field(
        9090, description="Port of the loopback interface for Prometheus."
    )
    alertmanager_port: Port = Field(
        9093, description="Port of the loopback interface for Alertmanager."
    )
    console_port: Port = Field(8090, description="Port of the loopback interface for the console.")
    grafana_port: Port = Field(
        3000, description="Port of the loopback interface for Grafana of the profile `grafana`."
    )
    kafka_port: Port = Field(
        9094, description="Port of the loopback interface for Kafka of the profile `demo`."
    )
    maildev_port: Port = Field(
        1080, description="Port of the loopback interface for the mail of the profile `demo`."
    )
    maildev_smtp_port: Port = Field(
        1025, description="Port of the loopback interface for SMTP of the profile `demo`."
    )
    git_sign: bool = Field(
        False, description="Whether the scheduler signs the commits of versions, with its SSH key."
    )
    database_owner: str = Field(
        "mysql+mysqlconnector://marquee_owner@mysql:3306/marquee",
        description="URL of the stack's database as the user who owns the tables, without a "
        "password; `MARQUEE_DATABASE` is that of the user who records.",
    )
    database_reader: str = Field(
        "mysql+mysqlconnector://marquee_reader@mysql:3306/marquee",
        description="URL of the stack's database as the user who only reads, for the console, "
        "without a password.",
    )
    database_internal: bool = Field(
        True,
        description="Whether the stack's database network has no route outside; false for a server "
        "elsewhere.",
    )
    kafka_internal: bool = Field(
        True,
        description="Whether the stack's Kafka network has no route outside; false for a broker "
        "elsewhere, so that recent activity follows it.",
    )
    backup_dir: str = Field(
        "data/backups", description="Directory of the backups that `scripts/backup.sh` writes."
    )
    backup_public_key: str = Field(
        "", description="File with the OpenPGP public key with which backups are encrypted."
    )
    backup_keep_days: int = Field(
        30, ge=1, le=9999, description="Days for which a backup is kept; the newest always is."
    )


class LogSettings(BaseModel):
    """Logging."""

    log_format: Literal["auto", "terminal", "json"] = Field(
        "auto", description="`auto`: `terminal` if standard error is a terminal, else `json`."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged."
    )


#: The groups, in the order of the documentation; the docstring of each is its title.
GROUPS: tuple[type[BaseModel], ...] = (
    ServiceSettings,
    ProvenanceSettings,
    IngestSettings,
    EngineSettings,
    RecentActivitySettings,
    MetadataApiSettings,
    NotificationSettings,
    RetrainingSettings,
    ConsoleSettings,
    LogSettings,
    StackSettings,
)


class _FileSource(PydanticBaseSettingsSource):
    """Reads the value of a setting from the file in `MARQUEE_NAME_FILE`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{PREFIX}{field_name.upper()}"
        path = os.environ.get(f"{variable}_FILE")
        if path is None:
            return None, field_name, False
        if variable in os.environ:
            raise SettingsError(f"{variable} and {variable}_FILE are both set; keep one")
        try:
            return decode_text(Path(path).read_bytes()).strip(), field_name, False
        except OSError as error:
            reason = error.strerror or error
            raise SettingsError(f"{variable}_FILE: cannot read {path}: {reason}") from error
        except TextError as error:
            raise SettingsError(f"{variable}_FILE: {path}: {error}") from error

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None:
                found[key] = value
        return found


class Settings(
    ServiceSettings,
    ProvenanceSettings,
    IngestSettings,
    EngineSettings,
    RecentActivitySettings,
    MetadataApiSettings,
    NotificationSettings,
    RetrainingSettings,
    ConsoleSettings,
    LogSettings,
    BaseSettings,
):
    """All settings."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Precedence: arguments (in tests), environment variables, files."""
        return init_settings, env_settings, _FileSource(settings_cls)


def read_settings(**overrides: Any) -> Settings:
    """Read all settings.

    Args:
        overrides: values that replace those of the environment, by name of the setting.

    Raises:
        SettingsError: a value is not valid or its file cannot be read.
    """
    for name in Settings.model_fields:
        variable = f"{PREFIX}{name.upper()}"
        try:
            os.environ.get(variable, "").encode()
        except UnicodeEncodeError as error:
            raise SettingsError(f"{variable}: not UTF-8") from error
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(item) for item in error.errors())) from error


def _describe(item: Any) -> str:
    name = PREFIX + "_".join(str(part) for part in item["loc"]).upper()
    return f"{name.rstrip('_')}: {item['msg']}"
