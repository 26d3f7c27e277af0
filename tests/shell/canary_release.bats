# canary_release.sh: its commands, what they refuse, and what they restore. Docker and Prometheus are
# fakes (tests/shell/fakes); tests/e2e uses the real ones.

load fakes/setup.bash
bats_require_minimum_version 1.5.0

setup() { setup_fakes; }

release() { run --separate-stderr scripts/canary_release.sh "$@"; }
slot_images() { cat "$FAKES"/slots/* | sort -u; }
pinned() { sed -n "s/^  $1: !override //p" docker-compose.override.yml | jq -r "$2"; } # SLOT JQ-PATH
notified() { grep -q -- "$1" "$FAKES/notifications"; }
evaluations() { jq -r 'select(.event == "evaluation").verdict' data/release/history/*.jsonl | tr '\n' ' '; }
start_and_wait_for() { # PHASE; in the background, as process $running
    RELEASE_ANALYSIS_WINDOW=1h scripts/canary_release.sh start >>"$FAKES/log" 2>&1 3>&- &
    running=$!
    for _ in {1..600}; do
        ! is_in "$1" || return 0
        sleep 0.1
    done
    cat "$FAKES/log"
    return 1
}

teardown() { [[ -z ${running:-} ]] || kill -9 "$running" 2>/dev/null || true; }

@test "prints help, also for each command, and exits with 2 on invalid arguments" {
    release --help
    [[ $status == 0 && $output == *USAGE*COMMANDS*OPTIONS*EXAMPLES*"EXIT STATUS"* ]]
    release abort --help
    [[ $status == 0 && $output == *USAGE* ]]
    for arguments in dance "start --twice" "resume now" "promote 7" "rollback 7" "status --xml" "queries --days 3"; do
        # shellcheck disable=SC2086 # several words
        release $arguments
        [[ $status == 2 || $arguments == status* ]]
    done
    [[ ! -e $FAKES/ups ]]
}

@test "exits with 2 on unknown and invalid settings and names them" {
    RELEASE_MEAN_SECOND=1 release status
    [[ $status == 2 && $stderr == *"the environment: unknown setting RELEASE_MEAN_SECOND"* ]]
    RELEASE_ANALYSIS_WINDOW=soon release status
    [[ $status == 2 && $stderr == *"invalid value RELEASE_ANALYSIS_WINDOW=soon"* ]]
    echo 'RELEASE_ON_ABORT=nothing' >release.env
    release status
    [[ $status == 2 && $stderr == *"release.env: invalid value RELEASE_ON_ABORT=nothing"* ]]
}

@test "settings: shares are from 0 to 1, windows above 0, and the address is a URL" {
    for setting in MIN_SUCCESS_RATIO=99 MAX_TRAFFIC_SHARE=1.5 FAILURE_MARGIN=2 GUARD_INTERVAL=0 \
        FAILURE_MARGIN_RATIO=x ANALYSIS_WINDOW=00h PROMETHEUS_URL=localhost:9090; do
        run --separate-stderr env "RELEASE_$setting" scripts/canary_release.sh status
        [[ $status == 2 && $stderr == *"the environment: invalid value RELEASE_$setting (a"* ]]
    done
    RELEASE_MIN_TRAFFIC_SHARE=0.22 release status
    [[ $status == 2 && $stderr == *"RELEASE_MIN_TRAFFIC_SHARE must be below RELEASE_MAX_TRAFFIC_SHARE"* ]]
    for setting in MIN_SUCCESS_RATIO=1 MIN_SUCCESS_RATIO=.99 MIN_SUCCESS_RATIO=00.5 MAX_TRAFFIC_SHARE=1.0 \
        FAILURE_MARGIN_RATIO=1.5 MAX_LATENCY_RATIO=10; do
        run env "RELEASE_$setting" scripts/canary_release.sh status
        [[ $status == 0 ]]
    done
}

@test "settings: a name of an earlier version is refused with the new one" {
    for names in MAX_SUCCESS_DECREASE:FAILURE_MARGIN MAX_FALLBACK_INCREASE:POPULAR_MARGIN \
        MAX_MEAN_INCREASE_SECONDS:MAX_LATENCY_INCREASE_SECONDS; do
        echo "RELEASE_${names%:*}=0.1" >release.env
        release status
        [[ $status == 2 && $stderr == *"release.env: RELEASE_${names%:*} was replaced by RELEASE_${names#*:} (docs"* ]]
    done
}

@test "status: prints JSON before the first release, too" {
    release status --json
    [[ $status == 0 && $(jq -c . <<<"$output") == '{"phase":null,"running":false}' ]]
}

@test "release.env: comments and quotes are allowed" {
    printf '# a comment\n\nRELEASE_ON_ABORT="empty" # leave it empty\nRELEASE_MIN_REQUESTS=7\n' >release.env
    echo 'RELEASE_P99_SECONDS=0.2' >>release.env # a name of version 0.2.0
    release status
    [[ $status == 0 ]]
    echo 'MIN_REQUESTS' >>release.env
    release status
    [[ $status == 2 && $stderr == *"unknown setting MIN_REQUESTS"* ]]
}

@test "start: promotes a good version to all slots, moves the tags and notifies" {
    release start
    [[ $status == 0 ]]
    [[ $(slot_images) == "$NEW_IMAGE" ]]
    [[ $(<"$FAKES/tags/marquee:stable") == "$NEW_IMAGE" && $(<"$FAKES/tags/marquee:previous") == "$OLD_IMAGE" ]]
    [[ $(cut -d' ' -f1 "$FAKES/ups" | tr '\n' ' ') == "canary stable-1 stable-2 canary " ]]
    [[ $(pinned stable-2 .environment.MARQUEE_BUILD_ID) == 2-000000000000 ]]
    [[ $(pinned canary .environment.MARQUEE_IMAGE_DIGEST) == "$NEW_IMAGE" ]]
    [[ ! -e data/release/tree && $(git worktree list | wc -l) == 1 ]]
    notified "Successfully deployed new model: version 2"
    notified "reason: all checks passed: mean latency 10 ms"
    notified "passed     mean_seconds: mean latency 10 ms, must be below 500 ms"
    grep -qx 'marquee_release_check{check="mean_seconds"} 0.01' monitoring/release/release.prom
    grep -q 'marquee_releases_total{outcome="promoted"} 1' monitoring/release/release.prom
    [[ ! -e "$FAKES/tags/marquee-candidate:canary" ]]
}

@test "start: runs through the documented phases" {
    release start
    [[ $(jq -r 'select(.event == "phase_started").phase' data/release/history/*.jsonl | tr '\n' ' ') == \
        "verifying deploying analyzing promoting finalizing completed " ]]
    for phase in building verifying deploying analyzing promoting restoring aborting finalizing; do
        grep -q "^| $phase |" "$root/docs/releasing.md"
    done
}

@test "start: only reads .env, and sends notifications with its settings" {
    require_compose
    cat >.env <<'END'
MARQUEE_WORKERS=3
MARQUEE_SMTP_HOST="mail.example:587"   
export MARQUEE_MAIL_FROM=marquee@example.org # the sender
MARQUEE_SMTP_USER = robot
TEAM=ops
MARQUEE_MAIL_BCC=${TEAM}@${DOMAIN:-example.org},'second@example.org'
MARQUEE_SMTP_PASSWORD='a$b #"c'
MARQUEE_SLACK_WEBHOOK="https://slack.example/
line 2"
MARQUEE_MAIL_TO=a@b
END
    chmod 400 .env
    before=$(stat -c '%i %y' .env)
    # shellcheck disable=SC2016 # written to a file
    printf '#!/bin/bash\necho "$*" >>"$FAKES/arguments"\nexec %s "$@"\n' "$(command -v env)" >"$FAKES/bin/env"
    chmod +x "$FAKES/bin/env"
    MARQUEE_MAIL_TO=c@d release start
    [[ $status == 0 ]]
    [[ $(stat -c '%i %y' .env) == "$before" ]]
    notified '^MARQUEE_SMTP_HOST=mail.example:587$'
    notified '^MARQUEE_MAIL_FROM=marquee@example.org$'
    notified '^MARQUEE_SMTP_USER=robot$'
    notified "^MARQUEE_MAIL_BCC=ops@example.org,'second@example.org'\$"
    notified '^MARQUEE_SMTP_PASSWORD=a$b #"c$'
    notified '^MARQUEE_SLACK_WEBHOOK=https://slack.example/$'
    notified '^MARQUEE_MAIL_TO=c@d$' # the environment takes precedence
    # Every user of the host can read arguments. The file exists: the stand-in for env was called.
    [[ -e $FAKES/arguments && $(<"$FAKES/arguments") != *SMTP_PASSWORD* ]]
}

@test "start: a .env that Compose cannot read is named, and the release continues" {
    require_compose
    echo "MARQUEE_MAIL_TO='a@b" >.env
    release start
    [[ $status == 0 && $stderr == *".env cannot be read (docker compose)"*"the notification could not be sent"* ]]
}

@test "start: aborts a slow version, removes its tag, and rejects it until --again" {
    echo slow >"$FAKES/prometheus"
    release start
    [[ $status == 1 && $(slot_images) == "$OLD_IMAGE" && $(get_state .outcome) == aborted ]]
    notified "Release of version 2 aborted: guard in minute 0: mean latency 700 ms, must be below 500 ms"
    [[ $(grep -l "$NEW_IMAGE" "$FAKES"/tags/* || true) == "" ]]
    release start
    [[ $status == 1 && $stderr == *"this version was already rejected"*"mean latency 700 ms"* ]]
    echo good >"$FAKES/prometheus"
    release start --again
    [[ $status == 0 && $(slot_images) == "$NEW_IMAGE" ]]
}

@test "start: a guard aborts before the window ends" {
    echo slow >"$FAKES/prometheus"
    RELEASE_ANALYSIS_WINDOW=1h release start
    [[ $status == 1 && $(slot_images) == "$OLD_IMAGE" && $(get_state .outcome) == aborted ]]
    [[ $(evaluations) == "ABORT " ]]
    notified "aborted: guard in minute 0: mean latency 700 ms"
}

@test "start: extends the window once and never promotes without valid data" {
    modes=(unreachable few-requests crashing)
    ! is_soak || modes+=(not-json error silent)
    for mode in "${modes[@]}"; do
        echo "$mode" >"$FAKES/prometheus"
        rm -f "$FAKES/notifications"
        release start
        [[ $status == 1 && $(get_state .outcome) == inconclusive && $(get_state .window_extended) == true ]]
        [[ $(slot_images) == "$OLD_IMAGE" ]]
        notified "is inconclusive, analysis window extended"
        case $mode in
            few-requests) notified "inconclusive: number of canary requests 99" ;;
            unreachable) notified "inconclusive: Prometheus did not respond: not JSON: curl: (7) Failed to connect" ;;
            not-json) notified "inconclusive: Prometheus did not respond: not JSON: <html>" ;;
            error) notified "inconclusive: Prometheus returned an error: query timed out" ;;
            crashing) notified "inconclusive: OSError: a library is missing" ;;
            silent) notified "inconclusive: the analysis has failed" ;;
        esac
    done
}

@test "start: an analysis that hangs is ended, and the next look follows" {
    echo hanging >"$FAKES/prometheus"
    export RELEASE_ANALYSIS_TIMEOUT=1s
    start_and_wait_for analyzing
    for _ in {1..600}; do
        ! notified "the canary is not guarded" 2>/dev/null || break
        sleep 0.1
    done
    [[ $(evaluations) == "INCONCLUSIVE INCONCLUSIVE INCONCLUSIVE INCONCLUSIVE INCONCLUSIVE "* && $(get_state .phase) == analyzing ]]
    notified "Release of version 2: the canary is not guarded"
    notified "^guard at .*: INCONCLUSIVE: the analysis did not end within 1s"
    [[ $(get_state .last_evaluation.reason) == "the analysis did not end within 1s" ]]
    release abort
    [[ $status == 0 && $(slot_images) == "$OLD_IMAGE" ]]
}

@test "start: asks Prometheus for the mean latency of the window, and passes it on" {
    for mode in good nan no-mean; do
        echo "$mode" >"$FAKES/prometheus"
        release start --again
        [[ $status == 0 ]]
        value=nan
        [[ $mode != good ]] || value=0.01
        [[ $(tail -1 "$FAKES/evaluated") == "window 1 of 1 s, mean $value" ]]
        grep -q 'query=# .*flask_http_request_duration_seconds_sum.*version="2".*\[1s\].* time=' <(tr '\n' ' ' <"$FAKES/queries")
    done
}

@test "start: measures the online quality at the deadline, and passes it on" {
    cat >"$FAKES/bin/measure" <<'END'
#!/bin/bash
echo "$*" >>"$FAKES/measured"
[[ ! -e $FAKES/measure_fails ]] || { echo "Error: the store has no watches" >&2; exit 1; }
echo '{"candidate": 2, "horizons": {}}'
END
    chmod +x "$FAKES/bin/measure"
    export RELEASE_QUALITY_COMMAND="$FAKES/bin/measure quality"
    release start
    [[ $status == 0 && $(tail -1 "$FAKES/evaluated") == "window 1 of 1 s, mean 0.01, quality of version 2" ]]
    start=$(date -u -d "@$(get_state .analysis_started_at)" +%FT%T)
    end=$(date -u -d "@$(get_state .analysis_deadline)" +%FT%T)
    [[ $(cat "$FAKES/measured") == "quality --candidate 2 --start $start --end $end --json" ]]
    touch "$FAKES/measure_fails"
    release start --again
    [[ $status == 0 && $(tail -1 "$FAKES/evaluated") == "window 1 of 1 s, mean 0.01" ]]
    [[ $stderr == *"the online quality is not judged: Error: the store has no watches (status 1)"* ]]
}

@test "start: the analysis counts in guard intervals, and windows are rounded up to them" {
    RELEASE_ANALYSIS_WINDOW=3s RELEASE_GUARD_INTERVAL=2s release start
    [[ $status == 0 && $(tail -1 "$FAKES/evaluated") == "window 2 of 2 s, "* ]]
    [[ $(get_state '.analysis_deadline - .analysis_started_at') == 4 ]]
}

use_real_analysis() { # of this repository, without a Prometheus
    printf '#!/bin/sh\n[ "$1" = analyze ] || exit 0\nPYTHONPATH=%s exec python -m app "$@"\n' "$root" >"$FAKES/bin/real"
    chmod +x "$FAKES/bin/real"
    export RELEASE_MARQUEE=$FAKES/bin/real RELEASE_PROMETHEUS_URL=http://127.0.0.1:1
    [[ ! -x $root/.venv/bin/python ]] || PATH=$root/.venv/bin:$PATH
}

@test "start: marquee analyze accepts all settings, and refuses wrong ones before anything is built" {
    use_real_analysis
    RELEASE_FAILURE_MARGIN=0.0001 release start
    [[ $status == 1 && $stderr == *"the analysis cannot run, or not with these settings: Error: failure_tolerance must not be above failure_margin" ]]
    [[ ! -e $FAKES/built && ! -e data/release/state.json ]]
    release start
    [[ $status == 1 && $(get_state .outcome) == inconclusive ]]
    [[ $(get_state .reason) == "Prometheus did not respond: "*"refused"* ]]
    id=$(get_state .id)
    [[ $(jq -c '[.version, .window, .minute_seconds]' "data/release/analysis/$id/analysis.json") == '["2",'*,1] ]]
    RELEASE_KEPT_HISTORY=1 release start --again
    [[ ! -e data/release/analysis/$id ]]
}

@test "start: leaves the canary unchanged if the build fails" {
    BUILD_FAILS=1 release start
    [[ $status == 1 && $stderr == *"no space left"* && ! -e $FAKES/ups ]]
    notified "Release of version 2 failed: the image could not be built"
}

@test "start: deploys no image that fails its smoke test" {
    SMOKE_FAILS=1 release start
    [[ $status == 1 && ! -e $FAKES/ups && $(get_state .outcome) == aborted ]]
    MODEL_VERSION=7 release start --again
    [[ $status == 1 && ! -e $FAKES/ups ]]
    [[ $(get_state .reason) == *"version.txt contains 2, but the model has version 7"* ]]
}

@test "start: restores both stable slots if a promotion fails after the first one" {
    echo stable-2 >"$FAKES/unready_slots"
    RELEASE_READINESS_TIMEOUT=1s release start
    [[ $status == 1 && $(slot_images) == "$OLD_IMAGE" && $(get_state .outcome) == failed ]]
    notified "stable-2 did not become ready"
    [[ $(<"$FAKES/tags/marquee:stable") == "$OLD_IMAGE" ]]
    [[ $(pinned stable-1 .environment.MARQUEE_BUILD_ID) == unknown ]]
}

@test "start: refuses if a precondition is not met, and names it" {
    echo changed >>params.yaml
    release start
    [[ $status == 1 && $stderr == *"files that the image is built from have uncommitted changes"* ]]
    git checkout -q params.yaml
    RELEASE_MIN_FREE_DISK_MB=999999999 release start
    [[ $status == 1 && $stderr == *"MiB of disk space are free"* ]]
    printf '#!/bin/sh\necho "No module named numpy" >&2\nexit 1\n' >"$FAKES/bin/old" && chmod +x "$FAKES/bin/old"
    RELEASE_MARQUEE=$FAKES/bin/old release start
    [[ $status == 1 && $stderr == *"the analysis cannot run, or not with these settings: No module named numpy"* ]]
    RELEASE_MARQUEE=nowhere/marquee release start
    [[ $status == 1 && $stderr == *"make .venv/.deployment"* ]]
    rm "$FAKES/slots/stable-2"
    printf '#!/bin/sh\nexit 1\n' >"$FAKES/bin/curl.new" && chmod +x "$FAKES/bin/curl.new"
    mv "$FAKES/bin/curl.new" "$FAKES/bin/curl"
    release start
    [[ $status == 1 && $stderr == *"Prometheus does not respond"* ]]
    [[ ! -e $FAKES/ups && ! -e data/release/state.json ]]
}

@test "start: refuses a version that was changed by hand, in a sentence" {
    echo 'schema: "2.0"' >dvc.lock
    git add dvc.lock && commit "Add dvc.lock"
    mkdir -p model/lists
    printf '/model/\n' >>.git/info/exclude
    echo '{"version": 2, "model_hash": "abc"}' >model/lists/manifest.json
    for file in version.txt dvc.lock; do
        echo 3 >$file
        release start
        [[ $status == 1 && $stderr == *"$file has uncommitted changes; only a retraining changes it (undo: git checkout HEAD -- $file)" ]]
        rm $file
        release start
        [[ $status == 1 && $stderr == *"$file has uncommitted changes"* ]]
        git checkout -q $file
    done
    echo 3 >version.txt
    commit "version 3 by hand"
    release start
    [[ $status == 1 && $stderr == *"version.txt contains 3, but the model in model has version 2 (marquee restore)" ]]
    rm -r model
    release start
    [[ $status == 1 && $stderr == *"dvc.lock names a model, but there is none in model (marquee restore)" ]]
    echo three >version.txt
    commit "version three"
    release start
    [[ $status == 1 && $stderr == *"version.txt does not contain a number" && ! -e data/release/state.json ]]
}

@test "start: continues if a notification cannot be sent" {
    NOTIFY_FAILS=1 release start
    [[ $status == 0 && $stderr == *"the notification could not be sent"* && $(slot_images) == "$NEW_IMAGE" ]]
}

@test "start: the subject of a notification is cut between letters" {
    for prefix in "" x; do
        jq -n --arg reason "$prefix$(printf 'é%.0s' {1..150})" '{outcome: "aborted", version: 7, $reason}' >state.json
        subject=$(LC_ALL=C bash -c 'get_state() { jq -r "$1" state.json; }; source scripts/release/notify.sh; format_subject')
        [[ $(iconv -f utf-8 -t utf-8 <<<"$subject" | jq -R length) == $((30 + 120)) ]]
    done
}

@test "start: refuses while a release is running and names the lock holder, as status does" {
    start_and_wait_for analyzing
    release start
    [[ $status == 1 && $stderr == *"another release is running: start by $(id -un) (PID $running) since 20"* ]]
    release rollback
    [[ $status == 1 && $stderr == *"another release is running"* ]]
    release status
    [[ $status == 0 && $output == *"phase: analyzing"*"process: start by"* ]]
    release status --json
    [[ $(jq -r '"\(.phase) \(.running)"' <<<"$output") == "analyzing true" ]]
}

@test "start: supersedes a running release if the setting says so, with a window of its own" {
    start_and_wait_for analyzing
    first=$(get_state .id) first_analysis=$(get_state .analysis_started_at)
    echo 3 >version.txt
    commit "version 3"
    RELEASE_ON_CONFLICT=supersede release start
    [[ $status == 0 && $(get_state .version) == 3 && $(get_state .analysis_started_at) -gt $first_analysis ]]
    notified "Release of version 2 superseded: superseded by commit $(git rev-parse HEAD)"
    grep -q '"outcome":"superseded"' "data/release/history/$first.jsonl"
}

@test "abort: restores the stable image in the canary slot at once" {
    start_and_wait_for analyzing
    release abort "odd lists"
    [[ $status == 0 && $(slot_images) == "$OLD_IMAGE" && $(get_state .outcome) == aborted ]]
    notified "aborted by $(id -un): odd lists"
    release abort
    [[ $status == 1 && $stderr == *"no release is in progress"* ]]
}

@test "abort: leaves the canary slot empty if the setting says so" {
    export RELEASE_ON_ABORT=empty
    start_and_wait_for analyzing
    release abort
    [[ $status == 0 && ! -e $FAKES/slots/canary ]]
    [[ $(pinned canary .scale) == 0 && $(<"$FAKES/tags/marquee:canary") == "$OLD_IMAGE" ]]
    grep -qx 'marquee_release_slot_empty{slot="canary"} 1' monitoring/release/release.prom # no alert
    RELEASE_ON_ABORT=stable release start --again
    [[ $status == 0 && $(pinned canary .scale) == null ]]
    grep -qx 'marquee_release_slot_empty{slot="canary"} 0' monitoring/release/release.prom
}

@test "promote: ends the analysis window; refuses without a canary" {
    release promote
    [[ $status == 1 && $stderr == *"no canary is being analyzed"* ]]
    start_and_wait_for analyzing
    release promote
    [[ $status == 0 && $(slot_images) == "$NEW_IMAGE" ]]
    [[ $(get_state .reason) == "promoted by $(id -un), before the verdict" ]]
}

@test "resume: continues a killed release with its own deadline; does nothing without one" {
    release resume
    [[ $status == 0 && $stderr == *"nothing to resume"* ]]
    start_and_wait_for analyzing
    kill -9 "$running"
    release start
    [[ $status == 1 && $stderr == *"was interrupted in phase analyzing; resume it first"* ]]
    release status
    [[ $output == *"process: none; run resume"* ]]
    jq '.analysis_started_at = (now | floor) - 5 | .analysis_deadline = .analysis_started_at + 4' data/release/state.json >new
    mv new data/release/state.json
    release resume
    [[ $status == 0 && $(slot_images) == "$NEW_IMAGE" ]]
}

@test "abort: completes an interrupted release without resume" {
    start_and_wait_for analyzing
    kill -9 "$running"
    release abort
    [[ $status == 0 && $(slot_images) == "$OLD_IMAGE" ]]
}

@test "every command refuses a damaged state file" {
    mkdir -p data/release
    echo '{"phase' >data/release/state.json
    for command in start resume status abort promote rollback; do
        release "$command"
        [[ $status == 1 && $stderr == *"state.json is damaged"* ]]
    done
}

@test "every command refuses a state of a later format and changes nothing" {
    mkdir -p data/release
    echo '{"format": 2, "stage": "analysis"}' >data/release/state.json
    cp data/release/state.json before
    for command in start resume status abort promote rollback; do
        release "$command"
        [[ $status == 1 && $stderr == *"state.json has format 2, and this script reads format 1"* ]]
    done
    cmp before data/release/state.json
    [[ ! -e $FAKES/ups ]]
}

@test "the state has a number of its format; one without it is continued" {
    start_and_wait_for analyzing
    [[ $(get_state .format) == 1 ]]
    kill -9 "$running"
    jq 'del(.format)' data/release/state.json >new
    mv new data/release/state.json
    release abort
    [[ $status == 0 && $(slot_images) == "$OLD_IMAGE" ]]
}

@test "the state of version 0.2.0 is continued by the next release" {
    mkdir -p data/release
    cp "$root/tests/formats/0.2.0/release/ended.json" data/release/state.json
    release status --json
    [[ $status == 0 && $(jq -r '"\(.format) \(.phase) \(.outcome)"' <<<"$output") == "1 completed promoted" ]]
    release start
    [[ $status == 0 && $(get_state '.outcome_counts | "\(.aborted) \(.promoted)"') == "1 2" ]]
}

@test "a release of version 0.2.0 is refused while it runs, and can be aborted after a kill" {
    mkdir -p data/release
    # The script of its commit would run in its own clone only.
    cp -r scripts "$BATS_TEST_TMPDIR/scripts"
    echo 'exit 1' >scripts/canary_release.sh && commit "as in version 0.2.0"
    jq --arg commit "$(git rev-parse HEAD)" '.commit = $commit | .opened = (now | floor) | .deadline = .opened + 3600' \
        "$root/tests/formats/0.2.0/release/watching.json" >data/release/state.json
    cp -r "$BATS_TEST_TMPDIR/scripts" . && commit "the next version"
    stable=$(get_state .stable)
    echo "$stable" | tee "$FAKES"/tags/marquee:{stable,stable-1,stable-2} >"$FAKES/slots/stable-1"
    cp "$FAKES"/slots/stable-{1,2}
    flock --no-fork data/release/lock sleep 600 3>&- &
    running=$!
    until ! flock --nonblock data/release/lock true; do sleep 0.05; done
    release status
    [[ $status == 1 && $stderr == *"a release that version 0.2.0 has started is running"* && $(get_state .phase) == watching ]]
    kill "$running" && wait "$running" || true
    release abort
    [[ $status == 0 && $(get_state '"\(.phase) \(.outcome)"') == "completed aborted" && $(slot_images) == "$stable" ]]
}

@test "rollback: deploys the previous image; a second rollback undoes the first; refuses without one" {
    release rollback
    [[ $status == 1 && $stderr == *"no image marquee:previous to roll back to"* ]]
    release start
    release rollback
    [[ $status == 0 && $(slot_images) == "$OLD_IMAGE" && $(get_state .outcome) == rolled-back ]]
    [[ $(<"$FAKES/tags/marquee:stable") == "$OLD_IMAGE" && $(<"$FAKES/tags/marquee:previous") == "$NEW_IMAGE" ]]
    notified "Rolled back to version"
    release start
    [[ $status == 1 && $stderr == *"already rejected"*"rolled back"* ]]
    release rollback
    [[ $status == 0 && $(slot_images) == "$NEW_IMAGE" ]]
}

@test "pin: writes the definitions of the running commit, and keeps variables" {
    git rev-parse HEAD >"$FAKES/commit"
    change_slots_memory 1g
    release pin
    [[ $status == 0 && $(stat -c "%a %U" docker-compose.override.yml) == "644 $(id -un)" ]]
    for slot in stable-1 stable-2 canary; do
        [[ $(pinned "$slot" '"\(.mem_limit) \(.build)"') == "512m null" ]]
        [[ $(pinned "$slot" .environment.MARQUEE_WORKERS) == '${MARQUEE_WORKERS:-2}' ]]
    done
    grep -qx 'volumes: {"spool":{}}' docker-compose.override.yml
    change_slots_memory 2g
    release pin
    [[ $status == 0 && $(pinned stable-1 .mem_limit) == 512m ]]
}

@test "pin: takes the commit of the time when a slot was created, if its image names none" {
    echo 2020-01-01T00:00:00.123456789Z >"$FAKES/created"
    change_slots_memory 1g
    release pin
    [[ $status == 0 && $(pinned stable-1 .mem_limit) == 512m ]]
}

@test "pin: refuses an override file of the operator" {
    echo 'services: {}' >docker-compose.override.yml
    for command in pin start; do
        release "$command"
        [[ $status == 1 && $stderr == *"docker-compose.override.yml was not written by this script"* ]]
    done
    [[ $(<docker-compose.override.yml) == 'services: {}' ]]
}

@test "start: releases the definition of a slot with its image, and restores it after an abort" {
    change_slots_memory 1g
    echo slow >"$FAKES/prometheus"
    git rev-parse HEAD~ >"$FAKES/commit"
    start_and_wait_for analyzing
    [[ $(pinned canary .mem_limit) == 1g && $(pinned stable-1 .mem_limit) == 512m ]]
    release abort
    [[ $status == 0 && $(pinned canary .mem_limit) == 512m ]]
    echo good >"$FAKES/prometheus"
    release start --again
    [[ $status == 0 && $(pinned canary .mem_limit) == 1g && $(pinned stable-2 .mem_limit) == 1g ]]
    release rollback
    [[ $status == 0 && $(pinned canary .mem_limit) == 512m && $(pinned stable-2 .mem_limit) == 512m ]]
}

@test "start: a definition that has changed is a version of its own" {
    release start
    release start
    [[ $status == 0 && $stderr == *"nothing to release"* ]]
    change_slots_memory 1g
    release start
    [[ $status == 0 && $stderr != *"nothing to release"* && $(pinned stable-1 .mem_limit) == 1g ]]
}

change_slots_memory() { # LIMIT; commits it
    jq --arg limit "$1" '.services[].mem_limit = $limit' docker-compose.yml >new
    mv new docker-compose.yml
    commit "limit of $1"
}

@test "start: builds the commit it has started with, whatever arrives during the build" {
    mkfifo "$FAKES/building"
    MODEL_VERSION=2 BUILD_WAITS=1 RELEASE_ANALYSIS_WINDOW=1h scripts/canary_release.sh start >>"$FAKES/log" 2>&1 3>&- &
    running=$!
    commit=$(git rev-parse HEAD)
    cat "$FAKES/building" # the build has begun
    echo 3 >version.txt
    echo 'exit 1' >scripts/release/phases.sh
    change_slots_memory 9g
    echo go >"$FAKES/building"
    for _ in {1..600}; do
        ! is_in analyzing || break
        sleep 0.1
    done
    [[ $(get_state '"\(.phase) \(.version) \(.commit)"') == "analyzing 2 $commit" && $(<"$FAKES/built") == 2 ]]
    [[ $(pinned canary .mem_limit) == 512m ]]
}

@test "start: a commit that supersedes a release during its build is built, and nothing of both is mixed" {
    mkfifo "$FAKES/building"
    BUILD_WAITS=1 RELEASE_ANALYSIS_WINDOW=1h scripts/canary_release.sh start >>"$FAKES/log" 2>&1 3>&- &
    cat "$FAKES/building" # the build of version 2 has begun
    first=$(get_state .id)
    change_slots_memory 9g
    echo 3 >version.txt
    commit "version 3"
    RELEASE_ON_CONFLICT=supersede scripts/canary_release.sh start >>"$FAKES/second" 2>&1 3>&- &
    second=$!
    wait_until grep -q "superseding the running release" "$FAKES/second"
    echo go >"$FAKES/building"
    wait "$second"
    [[ $(get_state '"\(.outcome) \(.version) \(.commit)"') == "promoted 3 $(git rev-parse HEAD)" ]]
    [[ $(tail -n 1 "$FAKES/built") == 3 && $(pinned stable-1 .mem_limit) == 9g ]]
    grep -q '"outcome":"superseded"' "data/release/history/$first.jsonl"
}

@test "history: lists releases with their outcomes, and the evaluations of one" {
    release history
    [[ $status == 0 && -z $output ]]
    release history 20200101T000000Z-v9
    [[ $status == 1 && $stderr == *"no release 20200101T000000Z-v9"* ]]
    release history ../../etc/passwd
    [[ $status == 1 ]]
    release start
    printf '{"half' >>data/release/history/"$(get_state .id)".jsonl
    release history
    [[ $output == *"-v2  promoted"* ]]
    release history "$(get_state .id)"
    [[ $output == *"verdict: PROMOTE: all checks passed: mean latency 10 ms"*"passed     mean_seconds: mean latency 10 ms"*"release_completed"* ]]
    # As versions before `marquee analyze` have written it.
    echo '{"time": 1, "event": "evaluation", "kind": "verdict", "verdict": "ABORT", "reason": "mean_seconds is 0.7", "checks": [
        {"name": "mean_seconds", "value": 0.7, "limit": "below 0.5", "passed": false}]}' | tr -d '\n' >data/release/history/20200101T000000Z-v1.jsonl
    release history 20200101T000000Z-v1
    [[ $status == 0 && $output == *"verdict: ABORT: mean_seconds is 0.7"*"failed     mean_seconds: 0.7 (below 0.5)"* ]]
}

@test "removes old images, except the newest, running and tagged ones" {
    for build in 1 2 3 4; do
        echo "sha256:$build" >"$FAKES/tags/marquee:$build-00000000000$build"
    done
    echo "$OLD_IMAGE" >"$FAKES/tags/marquee:1-00000000000a"
    touch "$FAKES/vanished" # a container that is listed, and removed before it is inspected
    RELEASE_KEPT_IMAGES=1 release start
    [[ $status == 0 ]]
    [[ -e $FAKES/tags/marquee:4-000000000004 && -e $FAKES/tags/marquee:1-00000000000a ]]
    [[ ! -e $FAKES/tags/marquee:1-000000000001 && ! -e $FAKES/tags/marquee:3-000000000003 ]]
    [[ $(get_state '.images | keys | sort | join(" ")') == "$OLD_IMAGE $NEW_IMAGE" ]]
    jq '.images["sha256:gone"] = {}' data/release/state.json >new && mv new data/release/state.json
    echo sha256:gone >"$FAKES/removed"
    release start --again
    [[ $status == 0 && $(get_state '.images | keys | sort | join(" ")') == "$OLD_IMAGE $NEW_IMAGE" ]]
}

@test "durations and numbers with leading zeros are decimal" {
    for window in 08h 010m; do
        RELEASE_ANALYSIS_WINDOW=$window release queries --version 7
        [[ $status == 0 ]]
        [[ $window == 08h && $output == *"[28800s]"* || $window == 010m && $output == *"[600s]"* ]]
    done
    RELEASE_GUARD_INTERVAL=08s RELEASE_GUARD_WINDOW=08m release status
    [[ $status == 0 ]]
    release queries --window 08m --version 7
    [[ $status == 0 && $output == *"[480s]"* ]]
    RELEASE_KEPT_IMAGES=08 release start
    [[ $status == 0 && $output != *octal* && $output != *"value too great"* ]]
}

@test "queries: prints the queries with their variables filled in" {
    release queries --window 2h --version 7
    [[ $status == 0 && $output == *'version="7"'*"[7200s]"*"counters:"*'version="7"'* && $output != *'="$'[A-Z]* ]]
}
