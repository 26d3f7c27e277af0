# shellcheck shell=bash
# Test environment of the release scripts: a clone, and fakes of docker, curl (Prometheus) and marquee.

OLD_IMAGE=sha256:0000000000000000000000000000000000000000000000000000000000000001
export NEW_IMAGE=sha256:0000000000000000000000000000000000000000000000000000000000000002

setup_fakes() { # creates $clone and changes to it; all slots run $OLD_IMAGE, Prometheus reports a good canary
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    export FAKES=$BATS_TEST_TMPDIR/fakes
    clone=$BATS_TEST_TMPDIR/clone
    mkdir -p "$FAKES/tags" "$FAKES/slots" "$FAKES/bin" "$clone"/{scripts,monitoring/prometheus,data}
    cp -r "$root"/scripts/{release,platforms,lib.sh,canary_release.sh} "$clone/scripts"
    cp -r "$root/monitoring/prometheus/release" "$clone/monitoring/prometheus"
    cp -r "$root/monitoring/release" "$clone/monitoring"
    cd "$clone" || exit
    echo 2 >version.txt
    touch params.yaml
    # JSON, for the fake of docker; also valid YAML.
    jq -n '{services: (["stable-1", "stable-2", "canary"] | map({(.): {build: {context: "."}, mem_limit: "512m",
        environment: {MARQUEE_SLOT: ., MARQUEE_WORKERS: "${MARQUEE_WORKERS:-2}"},
        volumes: [{type: "volume", source: "spool", target: "/spool"}]}}) | add)}' >docker-compose.yml
    printf '/data/\n/release.env\n/.env\n/docker-compose.override.yml*\n' >.gitignore
    git init -q && git add . && commit version
    ln -s "$root"/tests/shell/fakes/{docker,curl,analyze,kill.bash} "$FAKES/bin"
    cat >"$FAKES/bin/marquee" <<'END'
#!/bin/bash
source "$FAKES/bin/kill.bash"
kill_release_if_requested
[[ $1 != analyze ]] || exec "$FAKES/bin/analyze" "${@:2}"
{ echo "$*"; cat; env | grep ^MARQUEE_; } >>"$FAKES/notifications"
exit ${NOTIFY_FAILS:-0}
END
    chmod +x "$FAKES"/bin/*
    PATH=$FAKES/bin:$PATH
    for slot in stable-1 stable-2 canary; do
        echo "$OLD_IMAGE" | tee "$FAKES/tags/marquee:$slot" >"$FAKES/slots/$slot"
    done
    echo good >"$FAKES/prometheus"
    export RELEASE_ANALYSIS_WINDOW=1s RELEASE_SCRAPE_INTERVAL_SECONDS=0 RELEASE_PROMOTION_DELAY=0s RELEASE_PROMETHEUS_TIMEOUT=0s \
        RELEASE_GUARD_INTERVAL=1s RELEASE_MIN_FREE_DISK_MB=1 RELEASE_MARQUEE=$FAKES/bin/marquee
}

# A long form of a shorter test, which docs/testing.md names.
is_soak() { [[ -v MARQUEE_SOAK_SECONDS ]]; }
soak_only() { is_soak || skip "a long form: make soak PART=shell"; }

# The fake docker leaves reading .env to the real one.
require_compose() { docker compose version >/dev/null 2>&1 || skip "docker compose is not installed (scripts/install_system.sh docker)"; }

commit() { git -c user.name=a -c user.email=a@b commit -q --all -m "$1"; } # MESSAGE
get_state() { jq -r "$1" data/release/state.json; }                        # JQ-PATH
# Whether a release is in a phase; for loops, because a start of jq takes as long as ten of grep.
is_in() { grep -qs "^  \"phase\": \"$1\"" data/release/state.json; } # PHASE

wait_until() { # COMMAND...
    for _ in {1..1200}; do
        ! "$@" || return 0
        sleep 0.1
    done
    echo "not within two minutes: $*"
    cat "$FAKES/log" data/release/release.log 2>/dev/null
    return 1
}
