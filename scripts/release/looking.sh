# shellcheck shell=bash
# The commands of canary_release.sh that only look.

command_status() {
    check_state
    if [[ ! -e $STATE ]]; then
        echo "no release yet"
    elif [[ ${1:-} == --json ]]; then
        jq '. + {running: $running}' --argjson running "$(holder_runs && echo true || echo false)" "$STATE"
    elif (($#)); then
        misused "status takes only --json"
    else
        echo "phase: $(field .phase), since $(at "$(field .since)")"
        if unfinished; then
            holder_runs && echo "process: $(who_holds)" || echo "process: none; resume goes on with it"
        fi
        report
    fi
}

# Whether a process works on the release, found without taking the lock from anyone.
holder_runs() { [[ -e $HOLDER ]] && holder_lives; }

command_history() {
    local file
    if [[ -n ${1:-} ]]; then
        file=$HISTORY/$1.jsonl
        [[ $1 =~ ^[0-9A-Za-z-]+$ && -e $file ]] || fail "there is no release $1 in $HISTORY"
        # The last line may be half written after a power failure.
        jq -rR 'fromjson? | (.time | strflocaltime("%F %T")) as $time
            | if .event == "evaluation" then "\($time) \(.kind): \(.verdict)", (.checks[] |
                "    \(if .ok then "holds" else "FAILS" end)  \(.name) = \(.value // .problem)  (\(.limit))")
              else "\($time) \(.event) \(del(.time, .event) | tojson)" end' "$file"
        return
    fi
    [[ -d $HISTORY ]] || return 0
    find "$HISTORY" -name '*.jsonl' | sort | while read -r file; do
        jq -rRn --arg id "$(basename "$file" .jsonl)" '[inputs | fromjson?] | (map(select(.event == "ended")) | last) as $how
            | "\($id)  \($how.outcome // "in progress")  \($how.reason // "")"' "$file"
    done
}

command_queries() {
    local window=$RELEASE_ANALYSIS_WINDOW version=VERSION
    while (($#)); do
        case $1 in
            --window) window=${2-} ;;
            --version) version=${2-} ;;
            *) misused "queries takes no $1" ;;
        esac
        shift 2 || misused "$1 takes a value"
    done
    [[ $window =~ ^[0-9]{1,9}[smhd]?$ ]] || misused "--window takes a duration such as 12h"
    queries "$(seconds_of "$window")" "$version"
}
