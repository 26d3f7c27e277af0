#!/bin/bash
# Start MariaDB; first initialize an empty data directory from the original's variables:
# MARIADB_ROOT_PASSWORD, MARIADB_DATABASE, MARIADB_USER, MARIADB_PASSWORD, each also as NAME_FILE,
# MARIADB_ROOT_HOST, and the *.sh and *.sql files of /docker-entrypoint-initdb.d in order.
set -Eeuo pipefail

readonly DATA=/var/lib/mysql SOCKET=/run/mysqld/mysqld.sock

fail() { printf 'docker-entrypoint.sh: %s\n' "$1" >&2; exit 1; }

# Print the value of NAME, or the content of the file NAME_FILE.
setting() {
    local name=$1 file="$1_FILE"
    [[ -z ${!name:-} || -z ${!file:-} ]] || fail "both $name and $file are set"
    if [[ -n ${!file:-} ]]; then cat "${!file}"; else printf '%s' "${!name:-}"; fi
}

quote() { local text=${1//\\/\\\\}; printf "'%s'" "${text//\'/\\\'}"; }

account_statements() {
    local root_password=$1 user password database=${MARIADB_DATABASE:-}
    user=$(setting MARIADB_USER)
    password=$(setting MARIADB_PASSWORD)
    echo "CREATE USER 'root'@$(quote "${MARIADB_ROOT_HOST:-%}") IDENTIFIED BY $(quote "$root_password");"
    echo "GRANT ALL ON *.* TO 'root'@$(quote "${MARIADB_ROOT_HOST:-%}") WITH GRANT OPTION;"
    [[ -z $database ]] || echo "CREATE DATABASE IF NOT EXISTS \`$database\`;"
    if [[ -n $user ]]; then
        echo "CREATE USER $(quote "$user")@'%' IDENTIFIED BY $(quote "$password");"
        [[ -z $database ]] || echo "GRANT ALL ON \`${database//_/\\_}\`.* TO $(quote "$user")@'%';"
    fi
    echo "SET PASSWORD FOR 'root'@'localhost' = PASSWORD($(quote "$root_password"));"
}

client() { mariadb --protocol=socket --socket="$SOCKET" --user=root "$@"; }

run_scripts() {
    local file
    # shellcheck disable=SC1090 # files of the operator
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh) if [[ -x $file ]]; then "$file"; else . "$file"; fi ;;
            *.sql) MYSQL_PWD=$1 client ${MARIADB_DATABASE:+--database="$MARIADB_DATABASE"} <"$file" ;;
        esac
    done
}

initialize() {
    local root_password server
    root_password=$(setting MARIADB_ROOT_PASSWORD)
    [[ -n $root_password ]] || fail "MARIADB_ROOT_PASSWORD or MARIADB_ROOT_PASSWORD_FILE must be set"
    mariadb-install-db --datadir="$DATA" --skip-test-db --auth-root-authentication-method=normal \
        --skip-name-resolve >&2
    mariadbd --skip-networking --socket="$SOCKET" "$@" &
    server=$!
    until client --execute='SELECT 1' >/dev/null 2>&1; do
        kill -0 "$server" || fail "the server did not start"
        sleep 0.2
    done
    account_statements "$root_password" | client
    run_scripts "$root_password"
    kill "$server"
    wait "$server"
}

main() {
    [[ ${1:-} != -* ]] || set -- mariadbd "$@"
    if [[ $1 == mariadbd ]]; then
        if ((EUID == 0)); then
            chown -R mysql: "$DATA" /run/mysqld
            exec setpriv --reuid=mysql --regid=mysql --init-groups "$0" "$@"
        fi
        [[ -d $DATA/mysql ]] || initialize "${@:2}"
    fi
    exec "$@"
}

main "$@"
