"""The connection to a real MariaDB that has a certificate."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import CertificateAuthority
from tests.support.mariadb import Database, marquee, running_database, skip_reason

AUTHORITY = CertificateAuthority()


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if reason := skip_reason():
        pytest.skip(f"a real MariaDB: {reason}")
    config = tmp_path_factory.mktemp("mariadb")
    certificate, key = AUTHORITY.issue("mariadb")
    for name, text in (("server.pem", certificate), ("server-key.pem", key)):
        (config / name).write_text(text)
        (config / name).chmod(0o644)
    options = (
        "--ssl-cert=/run/marquee/server.pem",
        "--ssl-key=/run/marquee/server-key.pem",
        "--require-secure-transport=ON",
    )
    with running_database(config, *options) as database:
        yield database


@pytest.mark.parametrize(
    ("authority", "host", "error"),
    [
        (AUTHORITY, "127.0.0.1", None),
        (CertificateAuthority(), "127.0.0.1", "certificate verify failed"),
        (AUTHORITY, "localhost", "certificate verify failed"),  # the certificate is for 127.0.0.1
    ],
)
def test_the_servers_certificate_is_verified_when_a_ca_is_given(
    tls_server: Database,
    tmp_path: Path,
    authority: CertificateAuthority,
    host: str,
    error: str | None,
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(authority.pem)
    settings = tls_server.settings("marquee_owner")
    settings["MARQUEE_DATABASE"] = settings["MARQUEE_DATABASE"].replace("127.0.0.1", host)
    done = marquee("migrate", **settings, MARQUEE_DATABASE_CA_FILE=str(ca))
    if error is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert error in done.stderr


def test_a_ca_without_a_certificate_is_reported(tls_server: Database) -> None:
    settings = tls_server.settings("marquee_owner")
    done = marquee("migrate", **settings, MARQUEE_DATABASE_CA="none")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
