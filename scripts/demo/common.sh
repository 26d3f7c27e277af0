# shellcheck shell=bash disable=SC2034 # the variables are used by the other files of the demo
# Paths, URLs, output, error handling and queries of the demo.

readonly PROJECT=marquee-demo
DEMO_DIR=$PWD/build/demo
readonly DEMO_DIR
readonly SERVER_DIR=$DEMO_DIR/server   # the clone that runs the stack and the releases
readonly REMOTES_DIR=$DEMO_DIR/remotes # git repository and DVC remote
readonly DEMO_LOG=$DEMO_DIR/demo.log
readonly URL=http://127.0.0.1:8082 PROMETHEUS_URL=http://127.0.0.1:9090 MAILDEV_URL=http://127.0.0.1:1080
readonly SERVER_PATH=build/demo/server # as printed in hints
# Address of the mail server on the host; in containers it is maildev:1025.
readonly SMTP_HOST=127.0.0.1:1025
readonly SIMULATION_START=2026-10-31 # where data/sample ends
readonly NEW_USER=900000001          # whom neither the model nor the simulator knows

# -- output -------------------------------------------------------------------------------------

print_step() { # NUMBER TITLE
    CURRENT_STEP="step $1 ($2)"
    printf '\n==> %s/9 %s\n' "$1" "$2"
}
print_hint() { printf '    try: %s\n' "$*"; }
print_result() { printf '    %02d:%02d %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

run_logged() { "$@" >>"$DEMO_LOG" 2>&1; }

# -- errors -------------------------------------------------------------------------------------

report_step_failure() { # FUNCTIONS LINE
    ((BASH_SUBSHELL == 0)) || exit 1 # the parent shell reports it
    trap - ERR INT TERM
    printf '\ndemo.sh: %s failed, at line %s (%s). Last lines of the log:\n' "$CURRENT_STEP" "$2" "$1" >&2
    [[ ! -e $DEMO_LOG ]] || tail -n 15 "$DEMO_LOG" >&2
    printf 'demo.sh: full log: %s; the containers keep running: cd %s && docker compose logs SERVICE; make demo-down removes them\n' \
        "${DEMO_LOG#"$PWD/"}" "$SERVER_PATH" >&2
    exit 1
}

report_interrupt() {
    trap - ERR INT TERM
    printf '\ndemo.sh: interrupted in %s; make demo-down removes everything\n' "$CURRENT_STEP" >&2
    exit 130
}

fail_step() { # REASON
    printf '%s\n' "$*" >>"$DEMO_LOG"
    false
}

# -- settings -----------------------------------------------------------------------------------

# Read the demo's settings and remove those of other stacks and releases from the environment.
read_environment() {
    local name
    VISITS=${DEMO_VISITS:-1500}
    WINDOW_SECONDS=${DEMO_WINDOW:-60}
    BUILD_CA=${MARQUEE_BUILD_CA:-}
    BUILD_NETWORK=${MARQUEE_BUILD_NETWORK:-}
    if [[ -n $BUILD_CA ]]; then
        BUILD_CA=$(realpath -e "$BUILD_CA" 2>/dev/null) || usage_error "MARQUEE_BUILD_CA=$MARQUEE_BUILD_CA does not exist"
    fi
    for name in VISITS WINDOW_SECONDS; do
        [[ ${!name} =~ ^[1-9][0-9]{0,5}$ ]] || usage_error "DEMO_${name%_SECONDS}=${!name} is not a number"
    done
    readonly VISITS WINDOW_SECONDS BUILD_CA BUILD_NETWORK
    unset "${!MARQUEE_@}" "${!RELEASE_@}" "${!COMPOSE_@}" "${!GIT_@}" MAKEFLAGS MAKELEVEL MFLAGS
    # Containers write to the same repository as another user, and commits need an author.
    export GIT_CONFIG_GLOBAL=$DEMO_DIR/gitconfig
}

# -- queries ------------------------------------------------------------------------------------

compose() { (cd "$SERVER_DIR" && docker compose "$@" </dev/null); }

wait_until() { # TIMEOUT-SECONDS DESCRIPTION COMMAND...
    local deadline=$((SECONDS + $1)) description=$2
    shift 2
    until "$@"; do
        ((SECONDS < deadline)) || fail_step "timeout while waiting for $description"
        sleep 1
    done
}

# Query one value from Prometheus, passed through a jq filter; 0 if there is none.
query_metric() { # EXPRESSION [JQ-FILTER]
    curl --silent --show-error --fail --max-time 5 --get --data-urlencode "query=$1" \
        "$PROMETHEUS_URL/api/v1/query" 2>>"$DEMO_LOG" |
        jq -r "(.data.result[0].value[1] // \"0\") | tonumber | ${2:-round}" || echo 0
}

get_header() { tr -d '\r' <<<"$RESPONSE" | sed -n "s/^$1: *//Ip"; } # NAME; of the last response
