# shellcheck shell=bash
# Making and releasing versions, as a developer, the scheduler and the server do.

# What the host's side of a release needs beside .env, whose names are those of containers.
on_server() {
    (cd "$SERVER" && MARQUEE_SMTP_HOST=$SMARTHOST MARQUEE_DVC_REMOTE=$REMOTES/versions "$@" </dev/null)
}

# What the retraining said, checked to be a version that was pushed.
published() { # OUTCOME-FILE
    jq '.' "$1" >>"$LOG"
    [[ $(jq -r .status "$1") == published ]] || give_up "no version was published: $(jq -r .subject "$1")"
    show "version $(jq -r .version "$1") passed its gate: $(jq -r '.metrics |
        "RMSE \(.rmse * 1e4 | round / 1e4), nDCG@10 \(.ndcg * 1e4 | round / 1e4), coverage \(.coverage * 1e3 | round / 1e3), on \(.events) held-out events"' "$1")"
    show "$(jq -r '.body | split("\n") | map(select(test("newer events|not compared"))) | first' "$1")"
    show "pushed: $(git --git-dir "$REMOTES/origin.git" log -1 --format='%h %s' main), data and model to build/demo/remotes"
}

# The pipeline's job on the server: fetch, fast-forward, restore from DVC, start the release.
deploy() {
    look "cd $HERE && scripts/canary_release.sh status"
    quietly on_server scripts/deploy.sh
    follow
}

release_says() { jq -r "$1" "$SERVER/data/release/state.json"; }

follow() { # to the end of the release, each phase once
    local phase before='' deadline=$((SECONDS + 5 * WINDOW + 300))
    while phase=$(release_says .phase); [[ $phase != ended ]]; do
        ((SECONDS < deadline)) || give_up "the release does not end; it is $phase"
        [[ $phase == "$before" ]] || show "$phase $(about "$phase")"
        before=$phase
        sleep 0.5
    done
    cat "$SERVER/data/release/release.log" >>"$LOG"
}

about() { # PHASE
    case $1 in
        building) echo "the image, with the restored model" ;;
        testing) echo "it alone, without a network" ;;
        placing) echo "it into the canary's slot" ;;
        watching) echo "it with a fifth of the traffic, $WINDOW s; Prometheus is asked" ;;
        promoting) echo "it: stable-1, stable-2, one after the other" ;;
        aborting) echo "the release: the canary's slot gets the stable image back" ;;
        telling) echo "people" ;;
    esac
}

checks() { # NAME...: figures of the last evaluation
    local name
    for name in "$@"; do
        release_says ".last.checks[] | select(.name == \"$name\") | \"\(.name) \(if .value > 9 then .value | round else .value * 1e4 | round / 1e4 end)\""
    done | paste -sd, | sed 's/,/, /g'
}

containers_of() { compose ps --quiet "$@"; } # SLOT...

ask() { # one recommendation; sets ANSWER
    ANSWER=$(curl --silent --show-error --fail --include --max-time 2 "$URL/recommend/42")
    show "user 42 gets $(tail -1 <<<"$ANSWER" | cut -c1-60)… from version $(header X-Model-Version) in $(header X-Slot)"
}

# A developer's change that every test of the image lets pass: each answer waits 300 ms.
push_slow_change() {
    quietly git clone "$REMOTES/origin.git" "$PLACE/desk"
    git -C "$PLACE/desk" apply scripts/demo/slow.patch
    quietly git -C "$PLACE/desk" commit --all --message "Ask the fraud check first"
    quietly git -C "$PLACE/desk" push
}

model_of() { # IMAGE-TAG DIRECTORY: the model that an image serves
    local container
    container=$(docker create "$PROJECT:$1")
    quietly docker cp "$container:/srv/marquee/model" "$2"
    docker rm "$container" >/dev/null
}
