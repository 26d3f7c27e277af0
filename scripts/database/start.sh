#!/usr/bin/env bash
# Start MariaDB: initialize its data directory at the first start, then exec the server.
set -Eeuo pipefail
trap 'echo "start.sh: failed at line ${LINENO}" >&2' ERR

readonly DATA=/var/lib/mysql

main() {
    if [[ ! -e $DATA/.initialized ]]; then
        # An interrupted first start leaves an incomplete directory without any data.
        find "$DATA" -mindepth 1 -delete
        mariadb-install-db --datadir="$DATA" --skip-test-db --skip-log-bin \
            --auth-root-authentication-method=socket --auth-root-socket-user=mysql >/dev/null
        sync "$DATA"
        touch "$DATA/.initialized"
    fi
    exec mariadbd --datadir="$DATA" --init-file=/run/marquee/init.sql \
        --socket=/run/mysqld/mysqld.sock --pid-file=/run/mysqld/mysqld.pid "$@"
}

main "$@"
