# shellcheck shell=bash
# Canary analysis: run the queries of queries.yml in Prometheus; verdict.jq compares the results with
# the limits in the settings.

readonly QUERIES_FILE=$CODE_DIR/monitoring/prometheus/release/queries.yml

render_queries() { # WINDOW-SECONDS VERSION; prints a Prometheus rules file
    local text
    text=$(<"$QUERIES_FILE")
    text=${text//\$WINDOW/"${1}s"}
    text=${text//\$SECONDS/"$1"}
    text=${text//\$SCRAPE_INTERVAL/"$RELEASE_SCRAPE_INTERVAL_SECONDS"}
    printf '%s\n' "${text//\$VERSION/"$2"}"
}

list_rules() { # WINDOW-SECONDS VERSION; prints two lines a rule: its expression, and the rule as JSON
    render_queries "$@" | "${RELEASE_MARQUEE%/*}/python" -c \
        'import json, sys; from ruamel.yaml import YAML; json.dump(YAML(typ="safe").load(sys.stdin), sys.stdout)' |
        jq -r '.groups[].rules[] | (.expr | split("\n") | join(" ")), tojson'
}

# Set PROMETHEUS_URL: RELEASE_PROMETHEUS_URL, or where the stack publishes Prometheus.
load_prometheus_url() {
    local url=$RELEASE_PROMETHEUS_URL
    [[ $url != auto ]] || url=$(compose config --format json | jq -r '.services.prometheus.ports[]? | select(.target == 9090)
        | "http://\(.host_ip // "127.0.0.1" | if . == "0.0.0.0" then "127.0.0.1" else . end):\(.published)"' | head -1) || url=''
    PROMETHEUS_URL=${url:-${PROMETHEUS_URL:-http://127.0.0.1:9090}}
}

# Evaluate an expression at a time. Prints the response, or the error of the request, in one line.
query_prometheus() { # EXPRESSION TIME
    { curl --silent --show-error --max-time 5 --get --data-urlencode "query=$1" \
        --data-urlencode "time=$2" "$PROMETHEUS_URL/api/v1/query" 2>&1 9>&- || true; } |
        head -c 1000000 | tr '\n\0' '  '
    echo
}

# Evaluate all checks at a fixed time, so that an evaluation can be reproduced later. Prints JSON.
evaluate() { # verdict|guard WINDOW-SECONDS TIME
    local expression rule version response='{'
    version=$(get_state .version)
    load_prometheus_url # a changed port arrives by `docker compose up -d`, also during a release
    while IFS= read -r expression && IFS= read -r rule; do
        # After a failed request the remaining queries are skipped and get the same error.
        [[ $response != '{'* ]] || response=$(query_prometheus "$expression" "$3")
        printf '%s\n' "$rule" "$response"
    done < <(list_rules "$2" "$version") |
        jq -Rnc '[inputs] | [range(0; length; 2) as $i | {rule: (.[$i] | fromjson),
            response: (.[$i + 1] as $text | try ($text | fromjson) catch "not JSON: \($text[:200])")}]' |
        jq -c --arg kind "$1" --argjson window_seconds "$2" --argjson evaluated_at "$3" \
            --argjson settings "$(settings_as_json)" -f "$CODE_DIR/scripts/release/verdict.jq"
}

# Evaluate, and retry while Prometheus does not respond (it may be restarting).
evaluate_with_retry() { # as evaluate
    local evaluation deadline
    deadline=$(($(now) + $(duration_seconds "$RELEASE_PROMETHEUS_TIMEOUT")))
    while :; do
        evaluation=$(evaluate "$@")
        ! jq -e 'any(.checks[]; .query_failed)' <<<"$evaluation" >/dev/null || (($(now) >= deadline)) || {
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
