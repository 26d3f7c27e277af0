# scripts/backup.sh with a fake of Docker and the real gpg.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    mkdir -p "$BATS_TEST_TMPDIR"/{bin,clone/scripts,clone/monitoring/release,keys}
    chmod 700 "$BATS_TEST_TMPDIR/keys"
    cd "$BATS_TEST_TMPDIR/clone" || exit
    cp "$root"/scripts/{backup.sh,lib.sh} scripts/
    cat >../bin/docker <<'END'
#!/bin/bash
[[ $* != "compose "@("version"|"--file - config --format json") ]] || PATH=${PATH#*:} exec docker "$@"
[[ "$*" == "compose run --rm -T archive backup -" ]] || exit 99
printf 'an archive'
[[ -z ${BACKUP_FAILS-} ]] || { echo "Error: database: gone" >&2; exit 1; }
END
    chmod +x ../bin/docker
    export PATH=$BATS_TEST_TMPDIR/bin:$PATH
    export GNUPGHOME=$BATS_TEST_TMPDIR/keys
}

make_key() {
    command -v gpg >/dev/null || skip "gpg is not installed"
    gpg --batch --quiet --pinentry-mode loopback --passphrase "" --quick-generate-key backup@marquee future-default
    gpg --batch --quiet --export >key.gpg
    export MARQUEE_BACKUP_PUBLIC_KEY=key.gpg
}

teardown() { gpgconf --kill all 2>/dev/null || true; }

timestamp() { sed -n 's/^marquee_backup_last_success_timestamp_seconds //p' monitoring/release/backup.prom; }

@test "backup.sh: writes an encrypted file that the secret key decrypts" {
    make_key
    run scripts/backup.sh
    [ "$status" -eq 0 ]
    files=(data/backups/marquee-*Z.tar.gz.gpg)
    [ "${#files[@]}" -eq 1 ]
    [ "$(grep -c "an archive" "${files[0]}")" -eq 0 ]
    [ "$(gpg --batch --quiet --decrypt "${files[0]}")" = "an archive" ]
    [ "$(stat -c %a "${files[0]}")" = 600 ]
    (($(timestamp) > $(date +%s) - 300))
    [ "$(stat -c %a monitoring/release/backup.prom)" = 644 ] # NGINX reads it
}

@test "backup.sh: a backup that fails leaves the earlier ones, and their time" {
    run scripts/backup.sh --plain
    [ "$status" -eq 0 ]
    sed -i 's/_timestamp_seconds [0-9]*$/_timestamp_seconds 77/' monitoring/release/backup.prom
    before=$(ls -A data/backups)
    export BACKUP_FAILS=1
    run scripts/backup.sh --plain
    [ "$status" -eq 1 ]
    [[ $output == *"no backup was written"* ]]
    [ "$(ls -A data/backups)" = "$before" ]
    [ "$(timestamp)" = 77 ]
}

@test "backup.sh: before the first success its time is 0, which raises the alert" {
    BACKUP_FAILS=1 run scripts/backup.sh --plain
    [ "$status" -eq 1 ]
    [ "$(timestamp)" = 0 ]
}

@test "backup.sh: removes old backups, but no others and not the newest" {
    mkdir -p data/backups
    touch -d "31 days ago" data/backups/marquee-old.tar.gz data/backups/other.tar.gz
    touch -d "29 days ago" data/backups/marquee-kept.tar.gz.gpg
    run scripts/backup.sh --plain
    [ "$status" -eq 0 ]
    [ ! -e data/backups/marquee-old.tar.gz ]
    [ -e data/backups/other.tar.gz ] && [ -e data/backups/marquee-kept.tar.gz.gpg ]
    MARQUEE_BACKUP_KEEP_DAYS=28 run scripts/backup.sh --plain
    [ ! -e data/backups/marquee-kept.tar.gz.gpg ]
    find data/backups -name 'marquee-*Z.tar.gz' | grep -q .
}

@test "backup.sh: reads .env as Compose does" {
    docker compose version >/dev/null 2>&1 || skip "docker compose is not installed (scripts/install_system.sh docker)"
    printf '%s\n' 'export MARQUEE_BACKUP_KEEP_DAYS = "28" # four weeks' 'MARQUEE_BACKUP_DIR=data/${NAME:-elsewhere}' >.env
    mkdir -p data/elsewhere
    touch -d "29 days ago" data/elsewhere/marquee-old.tar.gz
    run scripts/backup.sh --plain
    [ "$status" -eq 0 ]
    [ ! -e data/elsewhere/marquee-old.tar.gz ] && [ ! -e data/backups ]
    find data/elsewhere -name 'marquee-*Z.tar.gz' | grep -q .
}

@test "backup.sh: refuses to write a readable file without --plain, wrong settings and an unreadable .env" {
    run scripts/backup.sh
    [ "$status" -eq 2 ]
    [[ $output == *"MARQUEE_BACKUP_PUBLIC_KEY is not set"* ]]
    MARQUEE_BACKUP_PUBLIC_KEY=none run scripts/backup.sh
    [ "$status" -eq 2 ]
    MARQUEE_BACKUP_KEEP_DAYS=0 run scripts/backup.sh --plain
    [ "$status" -eq 2 ]
    [ ! -e data ]
    echo "MARQUEE_BACKUP_DIR='elsewhere" >.env # Compose cannot read it, or is not installed
    run scripts/backup.sh --plain
    [ "$status" -eq 1 ]
    [[ $output == *".env cannot be read (docker compose)"*"no backup was written"* ]]
    [ ! -e data ]
}
