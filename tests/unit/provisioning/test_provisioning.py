import os
from pathlib import Path

import pytest

from app.provisioning.alertmanager import provision_alertmanager
from app.provisioning.database import provision_database
from app.provisioning.secrets import (
    ProvisioningError,
    get_or_generate_secret,
    provision_collector,
    provision_console,
    provision_scheduler,
    read_operator_secret,
)
from app.settings import Settings
from tests.conftest import ROOT

TEMPLATE = ROOT / "monitoring" / "alertmanager" / "alertmanager.yml"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changing the owner of files needs root")


@pytest.fixture
def operator(tmp_path: Path) -> Path:
    path = tmp_path / "operator"
    path.mkdir()
    return path


def test_a_random_secret_is_generated_once(tmp_path: Path) -> None:
    first = get_or_generate_secret(tmp_path / "s", None)
    assert len(first) > 40
    assert get_or_generate_secret(tmp_path / "s", None) == first
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o400


def test_an_operators_secret_replaces_a_generated_one(tmp_path: Path, operator: Path) -> None:
    get_or_generate_secret(tmp_path / "s", None)
    (operator / "s").write_text("chosen-by-hand\n")
    assert (
        get_or_generate_secret(tmp_path / "s", read_operator_secret(operator, "s"))
        == "chosen-by-hand"
    )


@pytest.mark.parametrize("secret", ["", "\n", "it's", 'a"b', "a\\b", "a\nb"])
def test_a_secret_with_forbidden_characters_is_an_error(operator: Path, secret: str) -> None:
    (operator / "s").write_text(secret)
    with pytest.raises(ProvisioningError, match="secrets/s"):
        read_operator_secret(operator, "s")


@needs_root
def test_the_database_users_have_the_operators_or_generated_passwords(
    tmp_path: Path, operator: Path
) -> None:
    (operator / "database_password").write_text("of-the-operator")
    generated, shipper, owner, reader = (
        tmp_path / n for n in ("generated", "shipper", "owner", "reader")
    )
    for directory in (generated, shipper, owner, reader):
        directory.mkdir()
    provision_database(generated, operator, tmp_path, shipper, owner, reader)
    sql = (tmp_path / "init.sql").read_text()
    assert "ALTER USER 'marquee'@'%' IDENTIFIED BY 'of-the-operator';" in sql
    assert (generated / "database_owner_password").read_text() in sql
    reader_password = (reader / "database_reader_password").read_text()
    assert f"ALTER USER 'marquee_reader'@'%' IDENTIFIED BY '{reader_password}';" in sql
    assert sql.count("TO 'marquee_reader'@'%'") == 1
    assert "GRANT SELECT ON marquee.* TO 'marquee_reader'@'%';" in sql
    assert (tmp_path / "init.sql").stat().st_uid == 999
    assert (shipper / "database_password").read_text() == "of-the-operator"
    assert {p.name for p in owner.iterdir()} == {"database_owner_password", "database_ca"}
    assert (owner / "database_ca").read_text() == (shipper / "database_ca").read_text() == ""
    assert (owner / "database_owner_password").stat().st_uid == 10001
    (operator / "database_ca").write_text("-----BEGIN CERTIFICATE-----\n")
    provision_database(generated, operator, tmp_path, shipper, owner, reader)
    assert (tmp_path / "init.sql").read_text() == sql
    assert (shipper / "database_ca").read_text() == "-----BEGIN CERTIFICATE-----\n"


@needs_root
def test_without_channels_the_configuration_is_the_template(tmp_path: Path, operator: Path) -> None:
    assert provision_alertmanager(TEMPLATE, tmp_path, operator, Settings()) == []
    assert (tmp_path / "alertmanager.yml").read_text() == TEMPLATE.read_text()


@needs_root
def test_configured_channels_are_appended(tmp_path: Path, operator: Path) -> None:
    (operator / "smtp_password").write_text("pass-phrase")
    (operator / "slack_webhook").write_text("https://hooks.example/x")
    settings = Settings(
        smtp_host="mail:587", mail_from="a@example", mail_to="b@example", smtp_user="a"
    )
    assert provision_alertmanager(TEMPLATE, tmp_path, operator, settings) == ["mail", "slack"]
    content = (tmp_path / "alertmanager.yml").read_text()
    assert "smarthost: 'mail:587'" in content
    assert "pass-phrase" not in content
    assert "hooks.example" not in content
    assert (tmp_path / "smtp_password").read_text() == "pass-phrase"


def test_mail_without_a_sender_is_an_error(tmp_path: Path, operator: Path) -> None:
    with pytest.raises(ProvisioningError, match="MARQUEE_MAIL_FROM and MARQUEE_MAIL_TO"):
        provision_alertmanager(TEMPLATE, tmp_path, operator, Settings(smtp_host="m:25"))


@needs_root
def test_the_scheduler_gets_the_operators_secrets_and_otherwise_empty_files(
    tmp_path: Path, operator: Path
) -> None:
    (operator / "git_key").write_text("-----BEGIN KEY-----\nabc\n-----END KEY-----\n")
    (operator / "slack_webhook").write_text("https://hooks.example/x\n")
    (tmp_path / "scheduler").mkdir()
    provision_scheduler(operator, tmp_path / "scheduler")
    contents = {path.name: path.read_text() for path in (tmp_path / "scheduler").iterdir()}
    assert contents == {
        "git_key": "-----BEGIN KEY-----\nabc\n-----END KEY-----\n",
        "git_known_hosts": "",
        "smtp_password": "",
        "slack_webhook": "https://hooks.example/x",
    }
    assert all(p.stat().st_uid == 10001 for p in (tmp_path / "scheduler").iterdir())


@needs_root
def test_the_collector_gets_the_secrets_of_the_broker(tmp_path: Path, operator: Path) -> None:
    (operator / "kafka_password").write_text("pass-phrase\n")
    (operator / "kafka_ca").write_text("-----BEGIN CERTIFICATE-----\nabc\n")
    (tmp_path / "collector").mkdir()
    provision_collector(operator, tmp_path / "collector")
    contents = {path.name: path.read_text() for path in (tmp_path / "collector").iterdir()}
    assert contents == {
        "kafka_password": "pass-phrase",
        "kafka_ca": "-----BEGIN CERTIFICATE-----\nabc\n",
        "kafka_certificate": "",
        "kafka_key": "",
    }
    assert all(p.stat().st_mode & 0o777 == 0o400 for p in (tmp_path / "collector").iterdir())


@needs_root
def test_the_console_may_write_orders_only_with_a_token(tmp_path: Path, operator: Path) -> None:
    target, orders = tmp_path / "console", tmp_path / "orders"
    target.mkdir()
    orders.mkdir()
    provision_console(operator, target, orders)
    assert (target / "console_token").read_text() == ""
    assert list(orders.iterdir()) == []
    (operator / "console_token").write_text("a token of sufficient length\n")
    for _ in range(2):
        provision_console(operator, target, orders)
    assert (target / "console_token").read_text() == "a token of sufficient length"
    pending = (orders / "pending").stat()
    assert (pending.st_uid, pending.st_mode & 0o777) == (10001, 0o755)
    assert orders.stat().st_uid == os.getuid()
