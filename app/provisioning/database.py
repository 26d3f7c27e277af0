"""The SQL that the database server runs at each start: its database and its users."""

from pathlib import Path

from app.provisioning.secrets import (
    MARQUEE_UID,
    get_or_generate_secret,
    read_operator_file,
    read_operator_secret,
    write_private_file,
)

#: User id of the server's process, in the official MariaDB image as in ours.
_MARIADB_UID = 999

#: `marquee` reads and inserts responses and calls the owner's procedure that drops old ones;
#: `marquee_owner` changes the schema; `marquee_reader`, the console's, only reads; no other user
#: can log in over the network. MariaDB runs it
#: before it accepts connections (`--init-file`, one statement per line), so a changed password
#: takes effect at the next start.
_INIT_SQL = """\
CREATE DATABASE IF NOT EXISTS marquee CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS 'marquee'@'%' IDENTIFIED BY '{password}';
ALTER USER 'marquee'@'%' IDENTIFIED BY '{password}';
GRANT SELECT, INSERT, EXECUTE ON marquee.* TO 'marquee'@'%';
CREATE USER IF NOT EXISTS 'marquee_owner'@'%' IDENTIFIED BY '{owner_password}';
ALTER USER 'marquee_owner'@'%' IDENTIFIED BY '{owner_password}';
GRANT ALL PRIVILEGES ON marquee.* TO 'marquee_owner'@'%';
CREATE USER IF NOT EXISTS 'marquee_reader'@'%' IDENTIFIED BY '{reader_password}';
ALTER USER 'marquee_reader'@'%' IDENTIFIED BY '{reader_password}';
GRANT SELECT ON marquee.* TO 'marquee_reader'@'%';
"""
_PASSWORDS = ("database_password", "database_owner_password", "database_reader_password")


def provision_database(
    generated: Path, operator: Path, server: Path, shipper: Path, owner: Path, reader: Path
) -> None:
    """Write the server's `init.sql`, and for its users the password and the CA file.

    Args:
        generated: directory where generated passwords are stored.
        operator: directory of the operator's secrets.
        server: directory for `init.sql`.
        shipper: directory for the password of `marquee`, and the operator's `database_ca`.
        owner: directory for the password of `marquee_owner`, and the same.
        reader: directory for the password of `marquee_reader`, and the same.

    Raises:
        ProvisioningError: an operator's secret cannot be read or has forbidden characters.
    """
    passwords = {
        name: get_or_generate_secret(generated / name, read_operator_secret(operator, name))
        for name in _PASSWORDS
    }
    sql = _INIT_SQL.format(
        password=passwords["database_password"],
        owner_password=passwords["database_owner_password"],
        reader_password=passwords["database_reader_password"],
    )
    write_private_file(server / "init.sql", sql, owner=_MARIADB_UID)
    ca = read_operator_file(operator, "database_ca") or ""
    for directory, name in zip((shipper, owner, reader), _PASSWORDS, strict=True):
        write_private_file(directory / name, passwords[name], owner=MARQUEE_UID)
        write_private_file(directory / "database_ca", ca, owner=MARQUEE_UID)
