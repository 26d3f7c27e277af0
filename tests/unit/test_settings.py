import re
from pathlib import Path

import pytest

from app.settings import Settings, SettingsError, read_settings
from tests.conftest import ROOT


def test_a_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARQUEE_WORKERS", "3")
    assert read_settings().workers == 3


def test_a_setting_is_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "hidden").write_text("up+2009\nalien+1979\n")
    monkeypatch.setenv("MARQUEE_HIDDEN_MOVIES_FILE", str(tmp_path / "hidden"))
    assert read_settings().hidden_movie_ids == {"up+2009", "alien+1979"}


def test_nothing_of_a_user_is_kept_without_end_by_default() -> None:
    settings = read_settings()
    assert 0 < settings.provenance_retention_days <= 365
    assert 0 < settings.store_retention_days <= 10 * 365
    page = (ROOT / "docs" / "personal-data.md").read_text()
    for days in (settings.provenance_retention_days, settings.store_retention_days):
        assert re.search(rf"\b{days}( days)? unless set", page), days


def test_a_missing_file_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARQUEE_SLOT_FILE", "/no/such/file")
    with pytest.raises(SettingsError, match="MARQUEE_SLOT_FILE: cannot read /no/such/file"):
        read_settings()


def test_a_setting_given_both_ways_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "slot").write_text("a")
    monkeypatch.setenv("MARQUEE_SLOT_FILE", str(tmp_path / "slot"))
    monkeypatch.setenv("MARQUEE_SLOT", "b")
    with pytest.raises(SettingsError, match="both set"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "0"),
        ("WORKERS", "many"),
        ("SLOT", "a b"),
        ("LIST_LENGTH", "51"),
        ("RETRAIN_INTERVAL_HOURS", "0"),
        ("LOG_LEVEL", "loud"),
        ("BIND", "0.0.0.0"),
        ("BIND", ""),
        ("BIND", "0.0.0.0:99999"),
        ("BIND", "::1:8082"),
        ("BIND", "127.0.0.1:8082,127.0.0.1:8083"),
        ("SHIPPER_BIND", "127.0.0.1:80x"),
        ("KAFKA_SERVERS", "a:9092,b"),
        ("KAFKA_SERVERS", "a:92000"),
        ("SMTP_HOST", "mail.example.org:70000"),
        ("SMTP_HOST", "a:25,b:25"),
        ("SERVICE_URLS", "stable-1:8082"),
        ("SERVICE_URLS", "http://a:8082,http://b:99999"),
        ("METADATA_API_URL", "http://"),
        ("METADATA_API_URL", "http://[::1:8080"),
        ("SLACK_WEBHOOK", "hooks.example.org/x"),
        ("SLACK_WEBHOOK", "https://hooks.example.org:x/y"),
        ("DATABASE", "mysql+mysqlconnector://user@host:99999/name"),
        ("MODEL_DIR", ""),
        ("SPOOL_DIR", ""),
        ("MAIL_FROM", "marquee"),
        ("MAIL_FROM", "a@example.org,b@example.org"),
        ("MAIL_TO", "a@example.org,b"),
        ("GIT_REMOTE", "--upload-pack=x"),
        ("DVC_REMOTE", "-x"),
        ("GIT_BRANCH", "a..b"),
        ("GIT_BRANCH", "versions/"),
        ("GIT_BRANCH", "main.lock"),
        ("KAFKA_TOPIC", ".."),
        ("RATING_MAX", "inf"),
        ("RATING_MIN", "nan"),
        ("RETRAIN_INTERVAL_HOURS", "inf"),
        ("RETRAIN_RETRY_MINUTES", "nan"),
        ("STAGE_TIMEOUT_HOURS", "0"),
        ("COLLECTOR_COMMIT_INTERVAL_SECONDS", "nan"),
        ("METADATA_API_MAX_REQUESTS_PER_SECOND", "-1"),
        ("HIDDEN_MOVIES", "caf\udce9+1999"),
        ("STREAM_TIME_ZONE", "Mars/Olympus"),
        ("STREAM_TIME_ZONE", "../etc/passwd"),
        ("MIN_EVENT_YEAR", "0"),
    ],
)
def test_an_invalid_value_is_reported(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"MARQUEE_{name}", value)
    with pytest.raises(SettingsError, match=f"MARQUEE_{name}: "):
        read_settings()


def test_an_empty_rating_range_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARQUEE_RATING_MIN", "5")
    with pytest.raises(SettingsError, match="rating_min must be below rating_max"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BIND", "[::]:8082"),
        ("COLLECTOR_BIND", "localhost:0"),
        ("KAFKA_SERVERS", ""),
        ("KAFKA_SERVERS", "kafka-1.example.org:9092,[2001:db8::1]:9092"),
        ("SMTP_HOST", "mail:25"),
        ("SERVICE_URLS", "http://stable-1:8082,https://[::1]:8443/base"),
        ("SERVICE_URLS", ""),
        ("DATABASE", "mysql+mysqlconnector://marquee@mysql:3306/marquee"),
        ("DATABASE", "sqlite:////tmp/a:b.db"),
        ("MAIL_TO", "a@example.org,b@localhost"),
        ("GIT_REMOTE", "git@git.example:us/marquee.git"),
        ("GIT_BRANCH", "versions/2026.1"),
        ("KAFKA_TOPIC", "movielog7"),
        ("KAFKA_TOPIC", "_.a"),
        ("KAFKA_TOPIC", "a"),
        ("DVC_REMOTE", "s3://bucket/marquee"),
    ],
)
def test_valid_values_are_accepted(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"MARQUEE_{name}", value)
    assert getattr(read_settings(), name.lower()) == value


def test_git_ignores_what_the_commands_write_by_default() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    directories = {name: path for name, path in defaults.items() if name.endswith("_dir")}
    assert "recent_dir" in directories
    for name in ("docs_dir", "release_dir", "orders_dir"):  # with a file that git tracks, or all
        del directories[name]
    for name, path in directories.items():
        ancestors = [path, *path.parents]
        assert any(f"/{ancestor}/" in ignored for ancestor in ancestors), name
