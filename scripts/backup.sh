#!/usr/bin/env bash
# Back up the database and the event store to an encrypted file, and remove old backups.
set -Eeuo pipefail

readonly METRICS_FILE=monitoring/release/backup.prom

usage() {
    cat <<'EOF'
USAGE
  backup.sh [--plain]

Run this in the clone of a running stack. It writes DIRECTORY/marquee-<time, UTC>.tar.gz.gpg, encrypted
with a public key: the secret key, which only restoring needs, is not on this host. The file has that name
once it is complete. Then it removes backups that are older than MARQUEE_BACKUP_KEEP_DAYS, but not the
newest. The metric marquee_backup_last_success_timestamp_seconds has the time of the last success; the
alert BackupTooOld fires when it is two days ago. docs/provenance.md describes how to restore.

scripts/marquee-backup@.timer runs it every night.

OPTIONS
  --plain      do not encrypt
  -h, --help   show this help

ENVIRONMENT (or .env, which docker compose and jq read)
  MARQUEE_BACKUP_DIR         directory of the backups (data/backups); better on another disk or host
  MARQUEE_BACKUP_PUBLIC_KEY  file with the OpenPGP public key (gpg --export KEY); required without --plain
  MARQUEE_BACKUP_KEEP_DAYS   days for which a backup is kept (30)

EXAMPLES
  MARQUEE_BACKUP_PUBLIC_KEY=/etc/marquee/backup.gpg scripts/backup.sh
  gpg --decrypt data/backups/marquee-20260101T030000Z.tar.gz.gpg | \
      docker compose run --rm -T archive restore-backup -

EXIT STATUS
  0  a complete backup was written
  1  no backup was written (reason on standard error); earlier ones are unchanged
  2  invalid arguments or settings
EOF
}

# Set $directory, $public_key and $keep_days from the environment or .env.
load_backup_settings() {
    local line name
    while IFS= read -r -d '' line; do
        name=${line%%=*}
        [[ $name != MARQUEE_BACKUP_* || -v $name ]] || declare -g "$name=${line#*=}"
    done < <(read_env_file .env)
    wait "$!" || fail "no backup was written"
    directory=${MARQUEE_BACKUP_DIR:-data/backups}
    public_key=${MARQUEE_BACKUP_PUBLIC_KEY:-}
    keep_days=${MARQUEE_BACKUP_KEEP_DAYS:-30}
    [[ $keep_days =~ ^[1-9][0-9]{0,3}$ ]] || usage_error "MARQUEE_BACKUP_KEEP_DAYS: not a number of days: $keep_days"
    if [[ $1 == plain ]]; then
        public_key=""
        return
    fi
    [[ -n $public_key ]] || usage_error "MARQUEE_BACKUP_PUBLIC_KEY is not set"
    [[ -r $public_key ]] || usage_error "MARQUEE_BACKUP_PUBLIC_KEY: cannot read $public_key"
    command -v gpg >/dev/null || fail "gpg is not installed"
}

encrypt() { # from standard input to standard output
    if [[ -z $public_key ]]; then
        cat
    else
        # A directory of its own: no keyring, no trust database, no configuration of the user. The archive is
        # compressed already.
        gpg --homedir "$temporary" --batch --quiet --no-options --trust-model always --compress-algo none \
            --recipient-file "$public_key" --encrypt
    fi
}

write_metrics() { # TIMESTAMP BYTES
    printf '%s\n' "# HELP marquee_backup_last_success_timestamp_seconds Time of the last complete backup." \
        "# TYPE marquee_backup_last_success_timestamp_seconds gauge" \
        "marquee_backup_last_success_timestamp_seconds $1" \
        "# HELP marquee_backup_size_bytes Size of the last complete backup." \
        "# TYPE marquee_backup_size_bytes gauge" \
        "marquee_backup_size_bytes $2" >"$METRICS_FILE.tmp"
    chmod 644 "$METRICS_FILE.tmp"
    mv "$METRICS_FILE.tmp" "$METRICS_FILE"
}

remove_old_backups() { # NEWEST
    find "$directory" -maxdepth 1 -type f -name 'marquee-*.tar.gz*' -not -path "$1" \
        -mmin "+$((keep_days * 24 * 60))" -delete
}

main() {
    local file started kind=encrypted
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    # shellcheck source=scripts/lib.sh
    source scripts/lib.sh
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    if [[ ${1-} == --plain ]]; then
        kind=plain
        shift
    fi
    reject_arguments "$@"
    load_backup_settings "$kind"
    umask 077
    mkdir -p "$directory"
    exec 7>>"$directory/.lock"
    flock --nonblock 7 || fail "another backup is running"
    # Until the first success: the alert fires if there is none.
    [[ -e $METRICS_FILE ]] || write_metrics 0 0
    temporary=$(mktemp -d)
    trap 'rm -rf "$temporary"' EXIT
    rm -f "$directory"/.marquee-*.part # of a backup that was killed
    started=$(now)
    file=marquee-$(TZ=UTC printf '%(%Y%m%dT%H%M%SZ)T' "$started").tar.gz${public_key:+.gpg}
    # With pipefail its exit status is also that of the backup; what was written until a failure is removed.
    if ! docker compose run --rm -T archive backup - </dev/null | encrypt >"$directory/.$file.part"; then
        rm -f "$directory/.$file.part"
        fail "no backup was written"
    fi
    sync "$directory/.$file.part"
    mv "$directory/.$file.part" "$directory/$file"
    sync "$directory"
    write_metrics "$started" "$(stat -c %s "$directory/$file")"
    remove_old_backups "$directory/$file"
    log "wrote $directory/$file"
}

main "$@"
