#!/usr/bin/env bash
# Start MariaDB: initialize its data directory at the first start, then exec the server. A changed
# init.sql (passwords) is run at once; a change of this file restarts the server.
set -Eeuo pipefail
trap 'echo "start.sh: failed at line ${LINENO}" >&2' ERR

readonly DATA=/var/lib/mysql
readonly SOCKET=/run/mysqld/mysqld.sock
readonly INIT_FILE=/run/marquee/init.sql
readonly WATCH=(sh /opt/marquee/watch_files.sh)

main() {
    if [[ ! -e $DATA/.initialized ]]; then
        # An interrupted first start leaves an incomplete directory without any data.
        find "$DATA" -mindepth 1 -delete
        mariadb-install-db --datadir="$DATA" --skip-test-db --skip-log-bin \
            --auth-root-authentication-method=socket --auth-root-socket-user=mysql >/dev/null
        sync "$DATA"
        touch "$DATA/.initialized"
    fi
    # shellcheck disable=SC2016 # the watching shell expands $PID
    exec "${WATCH[@]}" 'kill -TERM "$PID"' "${BASH_SOURCE[0]%/*}" -- \
        "${WATCH[@]}" "mariadb --user=mysql --socket=$SOCKET <$INIT_FILE" "$INIT_FILE" -- \
        mariadbd --datadir="$DATA" --init-file="$INIT_FILE" \
        --socket="$SOCKET" --pid-file=/run/mysqld/mysqld.pid "$@"
}

main "$@"
