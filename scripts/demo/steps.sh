# shellcheck shell=bash
# The eight steps.

eight_steps() {
    step_serve
    step_collect
    step_retrain
    step_release
    step_promoted
    step_truth
    step_slow
    step_mails
}

step_serve() {
    local -a services
    step 1 "version $(<version.txt) serves: three slots behind NGINX; beside them a broker, people, mail"
    look "curl $URL/recommend/42"
    show "the store begins with what version $(<version.txt) learned from: the sample, as lines of the stream"
    sample_into_store
    # The scheduler makes a version at once where none was made yet: it comes in step 3.
    mapfile -t services < <(compose config --services | grep -vx scheduler)
    quietly compose up --detach --wait "${services[@]}"
    ask
}

sample_into_store() {
    (cd "$SERVER" && .venv/bin/python scripts/demo/sample_log.py |
        docker compose run --rm --no-TTY --no-deps collector collect --file - --json) >>"$LOG" 2>&1
}

step_collect() {
    step 2 "people ask 20 times a second, choose, watch and rate; what they do is collected from Kafka"
    look "$PROMETHEUS/graph?g0.expr=marquee_ingest_lines_total  $PROMETHEUS/graph?g0.expr=marquee_simulator_requests_total"
    until_true $((VISITS / 20 + 120)) "$VISITS visits" collected
    show "collected: $(figure 'sum(marquee_ingest_lines_total)') lines ($(figure 'sum(marquee_ingest_lines_total{kind="watches"})') minutes watched, $(figure 'sum(marquee_ingest_lines_total{kind="ratings"})') ratings, $(figure 'sum(marquee_ingest_lines_total{kind="rejected"})') damaged); lost on the way: $(figure 'sum(marquee_simulator_lost_log_lines_total)')"
    requests
}

collected() { (($(figure 'sum(marquee_ingest_lines_total{kind="recommendations"})') >= VISITS)); }

failed() { figure 'sum(marquee_simulator_requests_total{outcome!="ok"})'; }

requests() {
    show "requests: $(figure 'sum(marquee_simulator_requests_total)'), failed or later than 600 ms: $(failed)"
}

step_retrain() {
    step 3 "a version is made: data checks, rehearsal, gate, training, commit, push; then every two days"
    look "cd $HERE && docker compose logs scheduler; by hand: docker compose exec scheduler marquee retrain"
    (cd "$SERVER" && docker compose run --rm --no-TTY --no-deps scheduler retrain --json </dev/null) \
        >"$PLACE/retrain.json" 2>>"$LOG" || give_up "the retraining failed: $(<"$PLACE/retrain.json")"
    published "$PLACE/retrain.json"
    quietly compose up --detach --no-deps scheduler
}

step_release() {
    step 4 "the server fetches it, restores data and model, and releases it through the canary"
    deploy
}

step_promoted() {
    step 5 "every check holds: it has all traffic"
    look "cd $HERE && scripts/canary_release.sh history $(release_says .id)"
    [[ $(release_says .outcome) == promoted ]] || give_up "not promoted: $(release_says .reason)"
    show "the verdict's figures: $(checks requests mean_seconds p99_seconds success_ratio traffic_share)"
    ask
    requests
}

step_truth() {
    local old new day line
    step 6 "what the lists are truly worth to 10,000 people: the new version's, the old one's, the best there are"
    old=version-$(<version.txt)
    new=version-$(release_says .version)
    look "marquee compare-versions $old $new (docs/simulator.md)"
    mkdir "$PLACE/models"
    model_of previous "$PLACE/models/$old"
    model_of stable "$PLACE/models/$new"
    quietly on_server .venv/bin/marquee prepare --store data/collected --out "$PLACE/prepared"
    day=$(figure 'max(marquee_simulator_simulated_seconds) / 86400' .)
    # Exit status 1 says that the new version is worse; its line says so, too.
    (cd "$PLACE/models"; "$SERVER/.venv/bin/marquee" compare-versions --day "$day" \
        --watches "$PLACE/prepared/watches.parquet" "$old" "$new") >"$PLACE/truth.txt" 2>>"$LOG" ||
        (($? == 1))
    while read -r line; do show "$line"; done <"$PLACE/truth.txt"
}

step_slow() {
    local before stables
    step 7 "a version that makes everyone wait 300 ms: its model is good, only the canary can tell"
    push_slow_change
    look "cd $HERE && docker compose exec scheduler marquee retrain --accept-data"
    show "(--accept-data: people rate otherwise what was recommended to them, which the data checks take for drift)"
    compose exec --no-TTY scheduler marquee retrain --accept-data --json >"$PLACE/slow.json" 2>>"$LOG" ||
        give_up "the retraining failed: $(<"$PLACE/slow.json")"
    published "$PLACE/slow.json"
    stables=$(containers_of stable-1 stable-2)
    before=$(failed)
    deploy
    [[ $(release_says .outcome) == aborted ]] || give_up "not aborted: $(release_says '"\(.outcome): \(.reason)"')"
    show "aborted: $(release_says .reason)"
    [[ $(containers_of stable-1 stable-2) == "$stables" ]] || give_up "the stable slots were touched"
    sleep 6 # until Prometheus has asked the simulator once more
    show "the stable slots are the same containers; requests failed since: $(($(failed) - before))"
    ask
}

step_mails() {
    step 8 "people were told by mail"
    look "$MAILS"
    curl --silent --show-error --fail --max-time 5 "$MAILS/api/email" |
        jq -r 'sort_by(.time // .date)[].subject' | while read -r line; do show "$line"; done
}
