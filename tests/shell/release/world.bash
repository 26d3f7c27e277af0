# shellcheck shell=bash
# What the release script sees in the shell suite: slots, tags, Prometheus, people.

OLD=sha256:0000000000000000000000000000000000000000000000000000000000000001
export NEW_IMAGE=sha256:0000000000000000000000000000000000000000000000000000000000000002

make_world() { # a clone in $clone, slots that run $OLD, a Prometheus that is content
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    export WORLD=$BATS_TEST_TMPDIR/world
    clone=$BATS_TEST_TMPDIR/clone
    mkdir -p "$WORLD/tags" "$WORLD/slots" "$WORLD/bin" "$clone"/{scripts,monitoring/prometheus,data}
    cp -r "$root/scripts/release" "$root/scripts/canary_release.sh" "$clone/scripts"
    cp -r "$root/monitoring/prometheus/release" "$clone/monitoring/prometheus"
    cp -r "$root/monitoring/release" "$clone/monitoring"
    cd "$clone" || exit
    echo 2 >version.txt
    printf '/data/\n/release.env\n/.env\n' >.gitignore
    git init -q && git add . && git -c user.name=a -c user.email=a@b commit -qm version
    ln -s "$root/tests/shell/release/docker" "$root/tests/shell/release/curl" "$WORLD/bin"
    # shellcheck disable=SC2016 # expanded by the stand-in
    printf '#!/bin/sh\necho "$*" >>"%s/told"; cat >>"%s/told"; exit ${NOTIFY_FAILS:-0}\n' "$WORLD" "$WORLD" >"$WORLD/bin/marquee"
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$root/.venv/bin/python" >"$WORLD/bin/python"
    chmod +x "$WORLD"/bin/*
    PATH=$WORLD/bin:$PATH
    for slot in stable-1 stable-2 canary; do
        echo "$OLD" | tee "$WORLD/tags/marquee:$slot" >"$WORLD/slots/$slot"
    done
    echo good >"$WORLD/prometheus"
    export RELEASE_ANALYSIS_WINDOW=1s RELEASE_SCRAPE_INTERVAL_SECONDS=0 RELEASE_PROMOTION_DELAY=0s RELEASE_PROMETHEUS_TIMEOUT=0s \
        RELEASE_MIN_FREE_DISK_MB=1 RELEASE_MARQUEE=$WORLD/bin/marquee
}
