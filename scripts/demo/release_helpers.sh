# shellcheck shell=bash
# Publish and release versions in the demo, in the roles of developer, scheduler and server.

# Run a command on the server with the host's addresses; .env has those of the containers.
on_server() {
    (cd "$SERVER_DIR" && MARQUEE_SMTP_HOST=$SMTP_HOST MARQUEE_DVC_REMOTE=$REMOTES_DIR/versions "$@" </dev/null)
}

# Check that a retraining has published a version, and print its metrics.
print_published_version() { # RESULT-FILE, the JSON output of `marquee retrain`
    jq '.' "$1" >>"$DEMO_LOG"
    [[ $(jq -r .status "$1") == published ]] || fail_step "no version was published: $(jq -r .subject "$1")"
    print_result "version $(jq -r .version "$1") passed the gate: $(jq -r '.metrics |
        "RMSE \(.rmse * 1e4 | round / 1e4), nDCG@10 \(.ndcg * 1e4 | round / 1e4), coverage \(.coverage * 1e3 | round / 1e3), on \(.events) held-out events"' "$1")"
    print_result "$(jq -r '.body | split("\n") | map(select(test("newer events|not compared"))) | first' "$1")"
    print_result "pushed: $(git --git-dir "$REMOTES_DIR/origin.git" log -1 --format='%h %s' main), data and model to build/demo/remotes"
}

# Deploy as the CI pipeline does: fetch, fast-forward, restore from DVC, start the release.
deploy_and_follow() {
    print_hint "cd $SERVER_PATH && scripts/canary_release.sh status"
    run_logged on_server scripts/deploy.sh
    follow_release
}

get_release_state() { jq -r "$1" "$SERVER_DIR/data/release/state.json"; } # JQ-PATH

follow_release() { # print each phase until the release is completed
    local phase previous='' deadline=$((SECONDS + 5 * WINDOW_SECONDS + 300))
    while phase=$(get_release_state .phase); [[ $phase != completed ]]; do
        ((SECONDS < deadline)) || fail_step "the release does not complete; it is in phase $phase"
        [[ $phase == "$previous" ]] || print_result "$phase: $(describe_phase "$phase")"
        previous=$phase
        sleep 0.5
    done
    cat "$SERVER_DIR/data/release/release.log" >>"$DEMO_LOG"
}

describe_phase() { # PHASE
    case $1 in
        building) echo "the image with the restored model" ;;
        verifying) echo "smoke test of the image, without a network" ;;
        deploying) echo "the image to the canary slot" ;;
        analyzing) echo "the canary with 20 % of the traffic, for up to $WINDOW_SECONDS s" ;;
        promoting) echo "stable-1, then stable-2" ;;
        aborting) echo "the canary slot gets the stable image" ;;
        finalizing) echo "notifications by mail" ;;
    esac
}

format_checks() { # CHECK...; values of the last evaluation
    local name
    for name in "$@"; do
        get_release_state ".last_evaluation.checks[] | select(.name == \"$name\") | \"\(.name) \(if .value > 9 then .value | round else .value * 1e4 | round / 1e4 end)\""
    done | paste -sd, | sed 's/,/, /g'
}

list_containers() { compose ps --quiet "$@"; } # SLOT...

request_recommendation() { RESPONSE=$(curl --silent --show-error --fail --include --max-time 2 "$URL/recommend/$1"); } # USER

print_recommendation() { # request one; sets RESPONSE
    request_recommendation 42
    print_result "user 42: $(tail -1 <<<"$RESPONSE" | cut -c1-60)… from version $(get_header X-Model-Version) in $(get_header X-Slot)"
}

# Push a change that passes every test of the image: each request waits 300 ms.
push_slow_change() {
    run_logged git clone "$REMOTES_DIR/origin.git" "$DEMO_DIR/developer"
    git -C "$DEMO_DIR/developer" apply scripts/demo/slow.patch
    run_logged git -C "$DEMO_DIR/developer" commit --all --message "Add a fraud check"
    run_logged git -C "$DEMO_DIR/developer" push
}

copy_model() { # IMAGE-TAG DIRECTORY; copies the model out of an image
    local container
    container=$(docker create "$PROJECT:$1")
    run_logged docker cp "$container:/srv/marquee/model" "$2"
    docker rm "$container" >/dev/null
}
