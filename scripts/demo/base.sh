# shellcheck shell=bash disable=SC2034 # what stands here is used by the other parts
# What every part of the demo uses: where things are, speaking, failing, waiting.

readonly PROJECT=marquee-demo
PLACE=$PWD/build/demo
readonly PLACE
readonly SERVER=$PLACE/server   # the clone that runs the stack and releases
readonly REMOTES=$PLACE/remotes # what everyone pushes to and fetches from
readonly LOG=$PLACE/demo.log
readonly URL=http://127.0.0.1:8082 PROMETHEUS=http://127.0.0.1:9090 MAILS=http://127.0.0.1:1080
readonly HERE=build/demo/server # as said to people
# The host's way to the mail catcher; containers know it as maildev:1025.
readonly SMARTHOST=127.0.0.1:1025

fail() { printf 'demo.sh: %s\n' "$*" >&2; exit 1; }
misused() { printf 'demo.sh: %s (--help explains)\n' "$*" >&2; exit 2; }

# -- speaking -----------------------------------------------------------------------------------

step() { # NUMBER WHAT
    CURRENT="step $1 ($2)"
    printf '\n==> %s/8 %s\n' "$1" "$2"
}
look() { printf '    look: %s\n' "$*"; }
show() { printf '    %02d:%02d %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

quietly() { "$@" >>"$LOG" 2>&1; }

# -- failing ------------------------------------------------------------------------------------

broken() { # FUNCTIONS LINE
    ((BASH_SUBSHELL == 0)) || exit 1 # whoever waits for it says so
    trap - ERR INT TERM
    printf '\ndemo.sh: %s failed, at line %s (%s). The last words:\n' "$CURRENT" "$2" "$1" >&2
    [[ ! -e $LOG ]] || tail -n 15 "$LOG" >&2
    printf 'demo.sh: all of it: %s; the containers are left up: cd %s && docker compose logs SERVICE; make demo-down removes them\n' \
        "${LOG#"$PWD/"}" "$HERE" >&2
    exit 1
}

interrupted() {
    trap - ERR INT TERM
    printf '\ndemo.sh: interrupted in %s; make demo-down removes what is there\n' "$CURRENT" >&2
    exit 130
}

give_up() { # WHY: a step's result is not what it must be
    printf '%s\n' "$*" >>"$LOG"
    false
}

# -- settings -----------------------------------------------------------------------------------

# Nothing of this shell's settings of a stack or a release may reach the demo's.
read_environment() {
    local name
    VISITS=${DEMO_VISITS:-1500}
    WINDOW=${DEMO_WINDOW:-60}
    BUILD_CA=${MARQUEE_BUILD_CA:-}
    BUILD_NETWORK=${MARQUEE_BUILD_NETWORK:-}
    if [[ -n $BUILD_CA ]]; then
        BUILD_CA=$(realpath -e "$BUILD_CA" 2>/dev/null) || misused "MARQUEE_BUILD_CA=$MARQUEE_BUILD_CA is not there"
    fi
    for name in VISITS WINDOW; do
        [[ ${!name} =~ ^[1-9][0-9]{0,5}$ ]] || misused "DEMO_$name=${!name} is not a number"
    done
    readonly VISITS WINDOW BUILD_CA BUILD_NETWORK
    unset "${!MARQUEE_@}" "${!RELEASE_@}" "${!COMPOSE_@}" "${!GIT_@}" MAKEFLAGS MAKELEVEL MFLAGS
    # Containers write to the same repository as another user; and somebody commits.
    export GIT_CONFIG_GLOBAL=$PLACE/gitconfig
}

# -- asking -------------------------------------------------------------------------------------

compose() { (cd "$SERVER" && docker compose "$@" </dev/null); }

until_true() { # SECONDS WHAT COMMAND...
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS < deadline)) || give_up "waited in vain for $what"
        sleep 1
    done
}

# One figure of Prometheus, through a jq filter; 0 where there is none.
figure() { # EXPRESSION [JQ-FILTER]
    curl --silent --show-error --fail --max-time 5 --get --data-urlencode "query=$1" \
        "$PROMETHEUS/api/v1/query" 2>>"$LOG" |
        jq -r "(.data.result[0].value[1] // \"0\") | tonumber | ${2:-round}" || echo 0
}

header() { tr -d '\r' <<<"$ANSWER" | sed -n "s/^$1: *//Ip"; } # NAME, of the last answer
