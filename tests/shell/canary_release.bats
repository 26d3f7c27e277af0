# canary_release.sh: what each command does, refuses and puts back. Docker and Prometheus are
# stand-ins (tests/shell/release); tests/e2e has the real ones.

load release/world.bash

setup() { make_world; }

release() { run --separate-stderr scripts/canary_release.sh "$@"; }
state() { jq -r "$1" data/release/state.json; }
slots() { cat "$WORLD"/slots/* | sort -u; }
told() { grep -q -- "$1" "$WORLD/told"; }
begin() { # in the background, until it is in a phase
    RELEASE_ANALYSIS_WINDOW=1h scripts/canary_release.sh start >>"$WORLD/log" 2>&1 3>&- &
    running=$!
    for _ in {1..100}; do
        [[ $(state .phase 2>/dev/null) != "$1" ]] || return 0
        sleep 0.1
    done
    cat "$WORLD/log"
    return 1
}

teardown() { [[ -z ${running:-} ]] || kill -9 "$running" 2>/dev/null || true; }

bats_require_minimum_version 1.5.0

@test "it explains itself, also each command, and refuses what it does not know with 2" {
    release --help
    [[ $status == 0 && $output == *USAGE*COMMANDS*EXAMPLES*"EXIT STATUS"* ]]
    release abort --help
    [[ $status == 0 && $output == *USAGE* ]]
    for words in dance "start --twice" "resume now" "promote 7" "rollback 7" "status --xml" "queries --days 3"; do
        # shellcheck disable=SC2086 # words
        release $words
        [[ $status == 2 || $words == status* ]]
    done
    [[ ! -e $WORLD/ups ]]
}

@test "a setting that is not known, or makes no sense, is named and ends with 2" {
    RELEASE_MEAN_SECOND=1 release status
    [[ $status == 2 && $stderr == *"the environment: there is no setting RELEASE_MEAN_SECOND"* ]]
    RELEASE_ANALYSIS_WINDOW=soon release status
    [[ $status == 2 && $stderr == *"RELEASE_ANALYSIS_WINDOW=soon"* ]]
    echo 'RELEASE_ON_ABORT=nothing' >release.env
    release status
    [[ $status == 2 && $stderr == *"release.env: RELEASE_ON_ABORT=nothing"* ]]
}

@test "start: a good version gets all slots, the tags, and people are told" {
    release start
    [[ $status == 0 ]]
    [[ $(slots) == "$NEW_IMAGE" ]]
    [[ $(<"$WORLD/tags/marquee:stable") == "$NEW_IMAGE" && $(<"$WORLD/tags/marquee:previous") == "$OLD" ]]
    [[ $(cut -d' ' -f1 "$WORLD/ups" | tr '\n' ' ') == "canary stable-1 stable-2 canary " ]]
    grep -qx "MARQUEE_BUILD_STABLE_2=2-000000000000" .env
    grep -qx "MARQUEE_DIGEST_CANARY=$NEW_IMAGE" .env
    told "Successfully deployed new model: version 2"
    told "mean_seconds = 0.01  (below 0.5)"
    grep -q 'marquee_releases_total{outcome="promoted"} 1' monitoring/release/release.prom
    [[ ! -e "$WORLD/tags/marquee-candidate:canary" ]]
}

@test "start: other lines of .env stay" {
    printf 'MARQUEE_WORKERS=3\nMARQUEE_BUILD_CANARY=old\nMARQUEE_MAIL_TO="a@b"\n' >.env
    release start
    [[ $status == 0 ]]
    grep -qx MARQUEE_WORKERS=3 .env
    [[ $(grep -c MARQUEE_BUILD_CANARY .env) == 1 ]]
}

@test "start: a slow version is given up, its tag goes, and it is refused until --again" {
    echo slow >"$WORLD/prometheus"
    release start
    [[ $status == 1 && $(slots) == "$OLD" && $(state .outcome) == aborted ]]
    told "Release of version 2 aborted: mean_seconds is 0.7, must be below 0.5; beyond_edge_ratio is 1,"
    [[ $(grep -l "$NEW_IMAGE" "$WORLD"/tags/* || true) == "" ]]
    release start
    [[ $status == 1 && $stderr == *"this very version was given up before"*"mean_seconds is 0.7"* ]]
    echo good >"$WORLD/prometheus"
    release start --again
    [[ $status == 0 && $(slots) == "$NEW_IMAGE" ]]
}

@test "start: whatever is no number extends the window once, and never promotes" {
    for how in silent rubbish error empty two NaN +Inf few gap; do
        echo "$how" >"$WORLD/prometheus"
        rm -f "$WORLD/told"
        release start
        [[ $status == 1 && $(state .outcome) == inconclusive && $(state .extended) == true ]]
        [[ $(slots) == "$OLD" ]]
        told "is inconclusive, its window is extended"
    done
}

@test "start: a build that fails leaves the canary as it was" {
    BUILD_FAILS=1 release start
    [[ $status == 1 && $stderr == *"no space left"* && ! -e $WORLD/ups ]]
    told "Release of version 2 failed: the image could not be built"
}

@test "start: an image that fails its test takes no traffic" {
    SMOKE_FAILS=1 release start
    [[ $status == 1 && ! -e $WORLD/ups && $(state .outcome) == aborted ]]
    MODEL_VERSION=7 release start --again
    [[ $status == 1 && ! -e $WORLD/ups && $(state .reason) == *"version.txt says 2, the model is of version 7"* ]]
}

@test "start: a promotion that fails after the first slot puts both back" {
    echo stable-2 >"$WORLD/broken"
    RELEASE_READINESS_TIMEOUT=1s release start
    [[ $status == 1 && $(slots) == "$OLD" && $(state .outcome) == failed ]]
    told "stable-2 did not get ready"
    [[ $(<"$WORLD/tags/marquee:stable") == "$OLD" ]]
    grep -qx MARQUEE_BUILD_STABLE_1=unknown .env
}

@test "start: it refuses to begin where something is missing, and says what" {
    echo changed >>version.txt
    release start
    [[ $status == 1 && $stderr == *"not committed"* ]]
    git checkout -q version.txt
    RELEASE_MIN_FREE_DISK_MB=999999999 release start
    [[ $status == 1 && $stderr == *"MiB of disk are free"* ]]
    RELEASE_MARQUEE=nowhere/marquee release start
    [[ $status == 1 && $stderr == *"make .venv/.deployment"* ]]
    rm "$WORLD/slots/stable-2"
    printf '#!/bin/sh\nexit 1\n' >"$WORLD/bin/curl.new" && chmod +x "$WORLD/bin/curl.new"
    mv "$WORLD/bin/curl.new" "$WORLD/bin/curl"
    release start
    [[ $status == 1 && $stderr == *"Prometheus does not answer"* ]]
    [[ ! -e $WORLD/ups && ! -e data/release/state.json ]]
}

@test "start: people who cannot be told do not stop a release" {
    NOTIFY_FAILS=1 release start
    [[ $status == 0 && $stderr == *"nobody could be told"* && $(slots) == "$NEW_IMAGE" ]]
}

@test "a second start refuses and says who and since when; status tells too" {
    begin watching
    release start
    [[ $status == 1 && $stderr == *"busy: start of $(id -un) (process $running) since 20"* ]]
    release rollback
    [[ $status == 1 && $stderr == *busy* ]]
    release status
    [[ $status == 0 && $output == *"phase: watching"*"process: start of"* ]]
    release status --json
    [[ $(jq -r '"\(.phase) \(.running)"' <<<"$output") == "watching true" ]]
}

@test "abort: the canary gets the stable image back, at once" {
    begin watching
    release abort "odd lists"
    [[ $status == 0 && $(slots) == "$OLD" && $(state .outcome) == aborted ]]
    told "aborted by $(id -un): odd lists"
    release abort
    [[ $status == 1 && $stderr == *"no release is in progress"* ]]
}

@test "abort: by setting the canary's slot is left empty" {
    export RELEASE_ON_ABORT=empty
    begin watching
    release abort
    [[ $status == 0 && ! -e $WORLD/slots/canary ]]
    grep -qx MARQUEE_CANARY_REPLICAS=0 .env
    [[ $(<"$WORLD/tags/marquee:canary") == "$OLD" ]]
}

@test "promote: an operator's word ends the window; without a canary it is refused" {
    release promote
    [[ $status == 1 && $stderr == *"no canary is being watched"* ]]
    begin watching
    release promote
    [[ $status == 0 && $(slots) == "$NEW_IMAGE" && $(state .reason) == "promoted by $(id -un), before the verdict" ]]
}

@test "resume: a killed release goes on with its own deadline; with none there is nothing to do" {
    release resume
    [[ $status == 0 && $stderr == *"nothing to resume"* ]]
    begin watching
    kill -9 "$running"
    release start
    [[ $status == 1 && $stderr == *"was interrupted in phase watching; resume goes on"* ]]
    release status
    [[ $output == *"process: none; resume goes on with it"* ]]
    jq '.opened = (now | floor) - 5 | .deadline = .opened + 4' data/release/state.json >new
    mv new data/release/state.json
    release resume
    [[ $status == 0 && $(slots) == "$NEW_IMAGE" ]]
}

@test "resume: an abort of an interrupted release needs no resume" {
    begin watching
    kill -9 "$running"
    release abort
    [[ $status == 0 && $(slots) == "$OLD" ]]
}

@test "a damaged state file is not taken for no release" {
    mkdir -p data/release
    echo '{"phase' >data/release/state.json
    for command in start resume status abort promote rollback; do
        release "$command"
        [[ $status == 1 && $stderr == *"state.json is damaged"* ]]
    done
}

@test "rollback: back to the previous image, and again forward; refused without one" {
    release rollback
    [[ $status == 1 && $stderr == *"no marquee:previous to go back to"* ]]
    release start
    release rollback
    [[ $status == 0 && $(slots) == "$OLD" && $(state .outcome) == rolled-back ]]
    [[ $(<"$WORLD/tags/marquee:stable") == "$OLD" && $(<"$WORLD/tags/marquee:previous") == "$NEW_IMAGE" ]]
    told "Rolled back to version"
    release start
    [[ $status == 1 && $stderr == *"given up before"*"rolled back"* ]]
    release rollback
    [[ $status == 0 && $(slots) == "$NEW_IMAGE" ]]
}

@test "history: releases and how they ended, and every evaluation of one" {
    release history
    [[ $status == 0 && -z $output ]]
    release history 20200101T000000Z-v9
    [[ $status == 1 && $stderr == *"there is no release"* ]]
    release history ../../etc/passwd
    [[ $status == 1 ]]
    release start
    printf '{"half' >>data/release/history/"$(state .id)".jsonl
    release history
    [[ $output == *"-v2  promoted"* ]]
    release history "$(state .id)"
    [[ $output == *"verdict: PROMOTE"*"holds  mean_seconds = 0.01  (below 0.5)"*"ended"* ]]
}

@test "a new commit supersedes a release where the setting says so, with a window of its own" {
    begin watching
    first=$(state .id) opened=$(state .opened)
    echo 3 >version.txt
    git -c user.name=a -c user.email=a@b commit -qam "version 3"
    RELEASE_ON_CONFLICT=supersede release start
    [[ $status == 0 && $(state .version) == 3 && $(state .opened) -gt $opened ]]
    told "Release of version 2 superseded: superseded by commit $(git rev-parse HEAD)"
    grep -q '"outcome":"superseded"' "data/release/history/$first.jsonl"
}

@test "images of earlier builds go, except the last, those that run and the way back" {
    for old in 1 2 3 4; do
        echo "sha256:$old" >"$WORLD/tags/marquee:$old-00000000000$old"
    done
    echo "$OLD" >"$WORLD/tags/marquee:1-00000000000a"
    RELEASE_KEPT_IMAGES=1 release start
    [[ $status == 0 ]]
    [[ -e $WORLD/tags/marquee:4-000000000004 && -e $WORLD/tags/marquee:1-00000000000a ]]
    [[ ! -e $WORLD/tags/marquee:1-000000000001 && ! -e $WORLD/tags/marquee:3-000000000003 ]]
}

@test "queries: the verdict's queries are printed, filled in" {
    release queries --window 2h --version 7
    [[ $status == 0 && $output == *'version="7"'*"[7200s]"* && $output != *'$'[A-Z]*']'* ]]
}
