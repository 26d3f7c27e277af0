#!/usr/bin/env bash
# Start MariaDB: make its data directory the first time, then become the server.
set -Eeuo pipefail
trap 'echo "start.sh: failed at line ${LINENO}" >&2' ERR

readonly DATA=/var/lib/mysql

main() {
    if [[ ! -e $DATA/.made ]]; then
        # What an interrupted first start left is no database: nothing was written to it yet.
        find "$DATA" -mindepth 1 -delete
        mariadb-install-db --datadir="$DATA" --skip-test-db --skip-log-bin \
            --auth-root-authentication-method=socket --auth-root-socket-user=mysql >/dev/null
        sync "$DATA"
        touch "$DATA/.made"
    fi
    exec mariadbd --datadir="$DATA" --init-file=/run/marquee/init.sql \
        --socket=/run/mysqld/mysqld.sock --pid-file=/run/mysqld/mysqld.pid "$@"
}

main "$@"
