# shellcheck shell=bash
# The verdict: asks Prometheus each query of one file and lets judge.jq hold it against its limit.

readonly QUERIES=monitoring/prometheus/release/verdict.yml

# The file's queries for one window and version, as a rules file.
queries() { # WINDOW-SECONDS VERSION
    local text
    text=$(<"$QUERIES")
    text=${text//\$WINDOW/"${1}s"}
    text=${text//\$SECONDS/"$1"}
    text=${text//\$SCRAPE/"$RELEASE_SCRAPE_INTERVAL_SECONDS"}
    printf '%s\n' "${text//\$VERSION/"$2"}"
}

rules() { # WINDOW-SECONDS VERSION -> a JSON object a line
    queries "$@" | "${RELEASE_MARQUEE%/*}/python" -c \
        'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)' |
        jq -c '.groups[].rules[]'
}

ask() { # EXPRESSION TIME -> Prometheus' answer as JSON, or what came instead as a JSON string
    { curl --silent --show-error --max-time 5 --get --data-urlencode "query=$1" \
        --data-urlencode "time=$2" "$RELEASE_PROMETHEUS_URL/api/v1/query" 2>&1 9>&- || true; } |
        head -c 1000000 | jq -Rs '. as $text | try fromjson catch "not JSON: \($text[:200])"'
}

# Evaluated at one fixed moment, whenever it is asked: a verdict can be repeated.
evaluate() { # verdict|guard WINDOW-SECONDS TIME -> the evaluation as JSON
    local rule version answer='{}'
    version=$(field .version)
    while read -r rule; do
        # When one got no answer, the others are not waited for.
        [[ $answer == \"* ]] || answer=$(ask "$(jq -r .expr <<<"$rule")" "$3")
        jq -nc --argjson rule "$rule" --argjson answer "$answer" '$ARGS.named'
    done < <(rules "$2" "$version") |
        jq -cs --arg kind "$1" --argjson window "$2" --argjson at "$3" \
            --argjson settings "$(settings_as_json)" -f scripts/release/judge.jq
}

# A Prometheus that is just starting must not decide: it is asked again for a while.
evaluate_patiently() { # as evaluate
    local evaluation deadline
    deadline=$(($(epoch) + $(seconds_of "$RELEASE_PROMETHEUS_TIMEOUT")))
    while :; do
        evaluation=$(evaluate "$@")
        ! jq -e 'any(.checks[]; .unreachable)' <<<"$evaluation" >/dev/null || (($(epoch) >= deadline)) || {
            nap 2
            continue
        }
        printf '%s\n' "$evaluation"
        return
    done
}

prometheus_answers() { [[ $(ask 'vector(1)' "$(epoch)" | jq -r '.data.result[0].value[1]' 2>/dev/null) == 1 ]]; }

# Whether Prometheus has seen this version in the canary's slot since a moment.
scraped_since() { # TIME
    local expression
    expression="timestamp(marquee_model_info{slot=\"canary\", version=\"$(field .version)\"}) > $1"
    ask "$expression" "$(epoch)" | jq -e '.data.result | length > 0' >/dev/null 2>&1
}
