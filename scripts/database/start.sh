#!/usr/bin/env bash
# Start MariaDB: initialize its data directory at the first start, then exec the server. A changed
# init.sql (passwords) is run at once; a change of this file restarts the server.
set -Eeuo pipefail
trap 'echo "start.sh: failed at line ${LINENO}" >&2' ERR

readonly DATA=${MARQUEE_DATABASE_DIR:-/var/lib/mysql}
readonly SOCKET=/run/mysqld/mysqld.sock
readonly INIT_FILE=/run/marquee/init.sql
readonly WATCH=(sh /opt/marquee/watch_files.sh)

# Print what the data directory holds, without what a new file system or an interrupted first start leaves:
# `.initializing` exists from before the installation until it is complete, and the server runs only then.
list_data() {
    local -a leftovers=(-name lost+found -o -name .initializing)
    if [[ -e $DATA/.initializing ]]; then
        # Files and the system's databases; any other directory is a database of ours.
        leftovers+=(-o -not -type d -o -name mysql -o -name performance_schema -o -name sys -o -name test)
    fi
    find "$DATA" -mindepth 1 -maxdepth 1 -not \( "${leftovers[@]}" \)
}

initialize() {
    local found
    found=$(list_data)
    if [[ -n $found ]]; then
        cat >&2 <<END
start.sh: $DATA has no file .initialized, but holds data: ${found//$'\n'/ }
Nothing was changed. If it is the data directory of a MariaDB server, complete and of this version or an
older one, create the file .initialized in it (touch) and start again. If it is not needed, remove its files.
END
        exit 1
    fi
    find "$DATA" -mindepth 1 -not -name lost+found -not -name .initializing -delete
    touch "$DATA/.initializing"
    mariadb-install-db --datadir="$DATA" --skip-test-db --skip-log-bin \
        --auth-root-authentication-method=socket --auth-root-socket-user=mysql >/dev/null
    sync "$DATA"
    mv "$DATA/.initializing" "$DATA/.initialized"
}

main() {
    # Version 0.2.0 marked a complete directory with another file.
    [[ ! -e $DATA/.made ]] || mv "$DATA/.made" "$DATA/.initialized"
    [[ -e $DATA/.initialized ]] || initialize
    # shellcheck disable=SC2016 # the watching shell expands $PID
    exec "${WATCH[@]}" 'kill -TERM "$PID"' "${BASH_SOURCE[0]%/*}" -- \
        "${WATCH[@]}" "mariadb --user=mysql --socket=$SOCKET <$INIT_FILE" "$INIT_FILE" -- \
        mariadbd --datadir="$DATA" --init-file="$INIT_FILE" \
        --socket="$SOCKET" --pid-file=/run/mysqld/mysqld.pid "$@"
}

main "$@"
