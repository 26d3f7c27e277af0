# shellcheck shell=bash
# Canary analysis: Prometheus is asked for the mean latency, `marquee analyze` judges everything else. Its
# code is that of the release, as these scripts are, so that options and settings fit together; it runs
# in RELEASE_MARQUEE's environment on the host. No image is needed: that of the production slots may be
# older than the command, and that of the candidate must not judge itself.

readonly QUERIES_DIR=$CODE_DIR/monitoring/prometheus/release
readonly ANALYSIS_DIR=$STATE_DIR/analysis # samples of each release, also for `marquee analyze --replay`

# Settings that are limits of `marquee analyze`: RELEASE_MIN_REQUESTS is its min_requests.
readonly LIMITS=(MIN_REQUESTS MIN_SCRAPED_RATIO {MIN,MAX}_TRAFFIC_SHARE
    FAILURE_{TOLERANCE,MARGIN}{,_RATIO} {POPULAR,QUALITY}_{TOLERANCE,MARGIN} MAX_LATENCY_{RATIO,INCREASE_SECONDS}
    MAX_MEAN_SECONDS MAX_P99_SECONDS MIN_SUCCESS_RATIO MAX_TIMEOUT_RATIO
    GUARD_MIN_{FAILURES,REQUESTS,SUCCESS_RATIO,REACHED_RATIO} GUARD_MAX_{MEAN_SECONDS,TIMEOUT_RATIO})

# A line for a check. Versions before `marquee analyze` have written neither outcome nor sentence.
# shellcheck disable=SC2034 # used by notify.sh and status.sh
readonly JQ_DESCRIBE_CHECK='def describe_check:
    "  \((.outcome // (if .passed then "passed" else "failed" end)) + "         " | .[:9])  \(.name): \(
        .sentence // "\(.value // .error) (\(.limit))")";'

# Set PROMETHEUS_URL: RELEASE_PROMETHEUS_URL, or where the stack publishes Prometheus.
load_prometheus_url() {
    local url=$RELEASE_PROMETHEUS_URL
    [[ $url != auto ]] || url=$(get_published_prometheus) || url=''
    PROMETHEUS_URL=${url:-${PROMETHEUS_URL:-http://127.0.0.1:9090}}
}

# Evaluate an expression at a time. Prints the response, or the error of the request, in one line.
query_prometheus() { # EXPRESSION TIME
    { curl --silent --show-error --max-time 5 --get --data-urlencode "query=$1" \
        --data-urlencode "time=$2" "$PROMETHEUS_URL/api/v1/query" 2>&1 9>&- || true; } |
        head -c 1000000 | tr '\n\0' '  '
    echo
}

render_query() { # FILE WINDOW-SECONDS VERSION
    local text
    text=$(<"$QUERIES_DIR/$1")
    text=${text//\$WINDOW/"${2}s"}
    printf '%s\n' "${text//\$VERSION/"$3"}"
}

# Print the mean latency of a window in seconds, `nan` if there is none, or why Prometheus has not answered.
query_mean() { # WINDOW-SECONDS TIME VERSION
    query_prometheus "$(render_query mean_seconds.promql "$1" "$3")" "$2" | jq -Rr '
        . as $text | try fromjson catch "not JSON: \($text[:200])"
        | if type == "string" then "Prometheus did not respond: \(.)"
        elif .status? != "success" then "Prometheus returned an error: \(.error? // "no reason")"
        else [try .data.result[].value[1] catch empty]
            | if length == 1 and (.[0] | test("^[-+0-9.e]+$")) then .[0] else "nan" end end | gsub("\\s+"; " ")'
}

count_intervals() { # DURATION; of RELEASE_GUARD_INTERVAL, rounded up
    local interval
    interval=$(duration_seconds "$RELEASE_GUARD_INTERVAL")
    echo $((($(duration_seconds "$1") + interval - 1) / interval))
}

# Run `marquee analyze` with the limits of the settings; its minutes are guard intervals. Prints its output
# and errors; fails if it does, or does not end in time.
run_analysis() { # OPTION...
    local name
    local -a limits
    for name in "${LIMITS[@]}"; do limits+=(--set "${name,,}=${SETTINGS[RELEASE_$name]}"); done
    limits+=(--set "guard_window=$(count_intervals "$RELEASE_GUARD_WINDOW")"
        --set "max_burst_minutes=$(count_intervals "$RELEASE_MAX_BURST_DURATION")")
    PYTHONPATH=$CODE_DIR timeout --kill-after=5 "$(duration_seconds "$RELEASE_ANALYSIS_TIMEOUT")" "$RELEASE_MARQUEE" analyze \
        --minute-seconds "$(duration_seconds "$RELEASE_GUARD_INTERVAL")" \
        --scrape-interval "$RELEASE_SCRAPE_INTERVAL_SECONDS" "${limits[@]}" "$@" 2>&1 </dev/null 9>&-
}

check_analysis() {
    local output
    output=$(run_analysis --samples -) ||
        fail "the analysis cannot run, or not with these settings: ${output##*$'\n'}"
}

# Measure the online quality of the answers between two times, once a release. Sets QUALITY_OPTIONS to the
# options of `marquee analyze`; without a result it has none, and the quality is not judged.
measure_quality() { # START END VERSION
    local file status=0
    local -a command
    QUALITY_OPTIONS=()
    [[ $RELEASE_QUALITY_COMMAND != none ]] || return 0
    read -ra command <<<"$RELEASE_QUALITY_COMMAND"
    file=$ANALYSIS_DIR/$(get_state .id)/quality.json
    mkdir -p "${file%/*}"
    [[ -s $file ]] ||
        timeout --kill-after=5 "$(duration_seconds "$RELEASE_QUALITY_TIMEOUT")" "${command[@]}" --candidate "$3" \
            --start "$(date -u -d "@$1" +%FT%T)" --end "$(date -u -d "@$2" +%FT%T)" --json \
            >"$file" 2>"$file.error" </dev/null 9>&- || status=$?
    if ((status == 0)) && jq -e .horizons "$file" >/dev/null 2>&1; then
        QUALITY_OPTIONS=(--quality "$file")
    else
        log "the online quality is not judged: $(tail -n 1 "$file.error" | head -c 300) (status $status)"
        rm -f "$file"
    fi
}

# Judge the canary now: guards, and the verdict at the deadline. Prints a line of JSON: what
# `marquee analyze` prints, with kind and time. Without an answer it is INCONCLUSIVE.
evaluate() { # guard|verdict
    local time start seconds window version status=0 mean=nan output
    local -a options
    time=$(now)
    start=$(get_state .analysis_started_at)
    version=$(get_state .version)
    seconds=$(duration_seconds "$RELEASE_GUARD_INTERVAL")
    window=$((($(get_state .analysis_deadline) - start) / seconds))
    ((window > 0)) || window=1
    load_prometheus_url # a changed port arrives by `docker compose up -d`, also during a release
    if [[ $1 == verdict ]]; then
        mean=$(query_mean "$((window * seconds))" "$((start + window * seconds))" "$version")
        measure_quality "$start" "$((start + window * seconds))" "$version"
        options=(--mean-seconds "$mean" "${QUALITY_OPTIONS[@]}")
    else
        options=(--now "$time")
        # Guards go on after the deadline, while a promotion waits for disk space.
        ((time < start + window * seconds)) || window=$(((time - start) / seconds + 1))
    fi
    if [[ $mean == Prometheus* ]]; then
        output=$mean status=1
    else
        output=$(run_analysis --prometheus "$PROMETHEUS_URL" --queries "$QUERIES_DIR/analysis.yml" \
            --start "$start" --window "$window" --version "$version" --state "$ANALYSIS_DIR/$(get_state .id)" \
            "${options[@]}") || status=$?
        ((status != 124 && status != 137)) || output="the analysis did not end within $RELEASE_ANALYSIS_TIMEOUT"
    fi
    jq -Rnc --arg kind "$1" --argjson evaluated_at "$time" --argjson status "$status" '[inputs] as $lines
        | (if $status == 0 then [$lines[] | fromjson? | objects | select(.verdict)] | last else null end)
            // {verdict: "INCONCLUSIVE", query_failed: true, checks: [],
                reason: ([$lines[] | select(test("\\S"))] | last // "the analysis has failed")}
        | {kind: $kind, evaluated_at: $evaluated_at} + .' <<<"$output"
}

# Judge at the deadline, and retry while Prometheus does not respond (it may be restarting).
evaluate_with_retry() {
    local evaluation deadline
    deadline=$(($(now) + $(duration_seconds "$RELEASE_PROMETHEUS_TIMEOUT")))
    while :; do
        evaluation=$(evaluate verdict)
        ! jq -e '.query_failed or .verdict == "CONTINUE"' <<<"$evaluation" >/dev/null || (($(now) >= deadline)) || {
            wait_seconds 2
            continue
        }
        printf '%s\n' "$evaluation"
        return
    done
}

prometheus_responds() {
    [[ $(query_prometheus 'vector(1)' "$(now)" | jq -r '.data.result[0].value[1]' 2>/dev/null) == 1 ]]
}

# Whether Prometheus has scraped this version in the canary slot since TIME.
canary_scraped_since() { # TIME
    local expression
    expression="timestamp(marquee_model_info{slot=\"canary\", version=\"$(get_state .version)\"}) > $1"
    query_prometheus "$expression" "$(now)" | jq -e '.data.result | length > 0' >/dev/null 2>&1
}
