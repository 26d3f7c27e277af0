"""What the database server runs at each start: its database, and users that may what they must."""

from pathlib import Path

from app.provisioning.secrets import kept_secret, operators_secret, write_private

#: User id of the server's process, in MariaDB's own image as in ours.
SERVER = 999
#: User id of our own processes, the shipper's and the migrations' among them.
MARQUEE = 10001

#: `marquee` appends and reads answers, and calls the owner's procedure that drops old ones;
#: `marquee_owner` changes the schema; nobody else logs in over the network. MariaDB runs this
#: before it accepts a connection (`--init-file`, one statement a line), so that a changed password
#: holds from the next start.
_STATEMENTS = """\
CREATE DATABASE IF NOT EXISTS marquee CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS 'marquee'@'%' IDENTIFIED BY '{password}';
ALTER USER 'marquee'@'%' IDENTIFIED BY '{password}';
GRANT SELECT, INSERT, EXECUTE ON marquee.* TO 'marquee'@'%';
CREATE USER IF NOT EXISTS 'marquee_owner'@'%' IDENTIFIED BY '{owner_password}';
ALTER USER 'marquee_owner'@'%' IDENTIFIED BY '{owner_password}';
GRANT ALL PRIVILEGES ON marquee.* TO 'marquee_owner'@'%';
"""


def provision_database(
    kept: Path, operator: Path, server: Path, shipper: Path, owner: Path
) -> None:
    """Write the server's start file to `server/init.sql`; the passwords stay in `kept`.

    Each of the two users' processes gets its own password in a directory of its own.
    """
    passwords = {
        name: kept_secret(kept / name, operators_secret(operator, name))
        for name in ("database_password", "database_owner_password")
    }
    content = _STATEMENTS.format(
        password=passwords["database_password"],
        owner_password=passwords["database_owner_password"],
    )
    write_private(server / "init.sql", content, owner=SERVER)
    for directory, name in ((shipper, "database_password"), (owner, "database_owner_password")):
        write_private(directory / name, passwords[name], owner=MARQUEE)
