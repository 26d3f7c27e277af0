# shellcheck shell=bash
# The nine steps of the demo.

run_steps() {
    step_serve
    step_collect
    step_watch
    step_retrain
    step_release
    step_promotion
    step_utility
    step_abort
    step_notifications
}

step_serve() {
    local -a services
    print_step 1 "serve: version $(<version.txt) in three slots behind NGINX; with Kafka, simulated users and a mail server"
    print_hint "curl $URL/recommend/42"
    print_result "importing the training data of version $(<version.txt) (data/sample) into the event store"
    import_sample
    # The scheduler would retrain at once, because no version was published yet: it starts in step 4.
    mapfile -t services < <(compose config --services | grep -vx scheduler)
    run_logged compose up --detach --wait "${services[@]}"
    print_recommendation
}

import_sample() {
    (cd "$SERVER_DIR" && .venv/bin/python scripts/demo/sample_log.py |
        docker compose run --rm --no-TTY collector collect --file - --json) >>"$DEMO_LOG" 2>&1
}

step_collect() {
    print_step 2 "collect: users request 20 recommendations a second, watch and rate; Kafka carries the events"
    print_hint "$PROMETHEUS_URL/graph?g0.expr=marquee_ingest_lines_total  $PROMETHEUS_URL/graph?g0.expr=marquee_simulator_requests_total"
    wait_until $((VISITS / 20 + 120)) "$VISITS requests" enough_collected
    print_result "collected: $(query_metric 'sum(marquee_ingest_lines_total)') lines ($(query_metric 'sum(marquee_ingest_lines_total{kind="watches"})') minutes watched, $(query_metric 'sum(marquee_ingest_lines_total{kind="ratings"})') ratings, $(query_metric 'sum(marquee_ingest_lines_total{kind="rejected"})') rejected); lost: $(query_metric 'sum(marquee_simulator_lost_log_lines_total)')"
    print_requests
}

enough_collected() { (($(query_metric 'sum(marquee_ingest_lines_total{kind="recommendations"})') >= VISITS)); }

count_failed_requests() { query_metric 'sum(marquee_simulator_requests_total{outcome!="ok"})'; }

print_requests() {
    print_result "requests: $(query_metric 'sum(marquee_simulator_requests_total)'), failed or slower than 600 ms: $(count_failed_requests)"
}

step_watch() {
    local before
    print_step 3 "watch: a user whom the model does not know watches a movie; the next recommendation depends on it"
    print_hint "cd $SERVER_PATH && docker compose logs recent; docs/recent-activity.md"
    request_recommendation "$NEW_USER"
    before=$(tail -1 <<<"$RESPONSE")
    WATCHED_MOVIE=${before%%,*}
    print_result "user $NEW_USER, $(get_header X-Recommendation-Source): ${before:0:60}…"
    send_watch_line
    print_result "one line to Kafka: user $NEW_USER watches $WATCHED_MOVIE"
    wait_until 60 "a recommendation that depends on it" depends_on_recent_activity
    print_result "user $NEW_USER, recent: $(tail -1 <<<"$RESPONSE" | cut -c1-60)…"
    wait_until 60 "the record of the recommendation" trace_watched_movie
    print_result "marquee trace: $(grep -om1 'because of .*' "$DEMO_DIR/trace.txt")"
}

# One line with a simulated time: the events of the demo are not later.
send_watch_line() {
    local time
    time=$(date -u -d "$SIMULATION_START + $(query_metric 'max(marquee_simulator_simulated_seconds)') seconds" +%FT%T)
    printf '%s,%s,GET /data/m/%s/60.mpg\n' "$time" "$NEW_USER" "$WATCHED_MOVIE" |
        compose exec --no-TTY kafka /opt/kafka/bin/kafka-console-producer.sh --bootstrap-server kafka:9092 --topic movielog \
            >>"$DEMO_LOG" 2>&1
}

depends_on_recent_activity() {
    request_recommendation "$NEW_USER"
    [[ $(get_header X-Recommendation-Source) == recent ]]
}

trace_watched_movie() {
    compose exec --no-TTY shipper marquee trace --request "$(get_header X-Request-Id)" >"$DEMO_DIR/trace.txt" 2>>"$DEMO_LOG" &&
        grep -q "because of $WATCHED_MOVIE," "$DEMO_DIR/trace.txt"
}

step_retrain() {
    print_step 4 "retrain: validate data, train, evaluate, gate, commit, push; then every two days"
    print_hint "cd $SERVER_PATH && docker compose logs scheduler; manually: docker compose exec scheduler marquee retrain"
    (cd "$SERVER_DIR" && docker compose run --rm --no-TTY --no-deps scheduler retrain --json </dev/null) \
        >"$DEMO_DIR/retrain.json" 2>>"$DEMO_LOG" || fail_step "the retraining failed: $(<"$DEMO_DIR/retrain.json")"
    print_published_version "$DEMO_DIR/retrain.json"
    run_logged compose up --detach --no-deps scheduler
}

step_release() {
    print_step 5 "release: the server fetches the commit, restores data and model, and starts the canary"
    deploy_and_follow
}

step_promotion() {
    print_step 6 "promotion: all checks passed, the new version gets all traffic"
    print_hint "cd $SERVER_PATH && scripts/canary_release.sh history $(get_release_state .id)"
    [[ $(get_release_state .outcome) == promoted ]] || fail_step "not promoted: $(get_release_state .reason)"
    print_result "checks: $(format_checks requests mean_seconds p99_seconds failure_ratio traffic_share)"
    print_recommendation
    print_requests
}

step_utility() {
    local old new day line
    print_step 7 "utility: true utility of each version's recommendations for 10,000 users, relative to the best possible"
    old=version-$(<version.txt)
    new=version-$(get_release_state .version)
    print_hint "marquee compare-versions $old $new (docs/simulator.md)"
    mkdir "$DEMO_DIR/models"
    copy_model previous "$DEMO_DIR/models/$old"
    copy_model stable "$DEMO_DIR/models/$new"
    run_logged on_server .venv/bin/marquee prepare --store data/collected --out "$DEMO_DIR/prepared"
    day=$(query_metric 'max(marquee_simulator_simulated_seconds) / 86400' .)
    # Exit status 1 means that the new version is worse; the output says so too.
    (cd "$DEMO_DIR/models"; "$SERVER_DIR/.venv/bin/marquee" compare-versions --day "$day" \
        --watches "$DEMO_DIR/prepared/watches.parquet" "$old" "$new") >"$DEMO_DIR/utility.txt" 2>>"$DEMO_LOG" ||
        (($? == 1))
    while read -r line; do print_result "$line"; done <"$DEMO_DIR/utility.txt"
}

step_abort() {
    local failed_before stable_containers
    print_step 8 "abort: a version with 300 ms latency; its model passes the gate, the canary analysis rejects it"
    push_slow_change
    print_hint "cd $SERVER_PATH && docker compose exec scheduler marquee retrain --accept-data"
    print_result "(--accept-data: users rate recommended movies higher, which data validation detects as drift)"
    compose exec --no-TTY scheduler marquee retrain --accept-data --json >"$DEMO_DIR/slow.json" 2>>"$DEMO_LOG" ||
        fail_step "the retraining failed: $(<"$DEMO_DIR/slow.json")"
    print_published_version "$DEMO_DIR/slow.json"
    stable_containers=$(list_containers stable-1 stable-2)
    failed_before=$(count_failed_requests)
    deploy_and_follow
    [[ $(get_release_state .outcome) == aborted ]] ||
        fail_step "not aborted: $(get_release_state '"\(.outcome): \(.reason)"')"
    print_result "aborted: $(get_release_state .reason)"
    [[ $(list_containers stable-1 stable-2) == "$stable_containers" ]] || fail_step "the stable slots were changed"
    sleep 6 # until Prometheus has scraped the simulator again
    print_result "the stable slots are unchanged; requests failed during the release: $(($(count_failed_requests) - failed_before))"
    print_recommendation
}

step_notifications() {
    print_step 9 "notifications: all mails sent"
    print_hint "$MAILDEV_URL"
    curl --silent --show-error --fail --max-time 5 "$MAILDEV_URL/api/email" |
        jq -r 'sort_by(.time // .date)[].subject' | while read -r line; do print_result "$line"; done
}
