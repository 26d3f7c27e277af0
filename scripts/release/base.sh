# shellcheck shell=bash
# What every part of a release uses: speaking, failing, time, settings.

readonly DEFAULTS=scripts/release/settings.env
readonly OWN_SETTINGS=release.env

say() { printf '%(%FT%T%z)T ==> %s\n' -1 "$*" >&2; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
misused() { printf '%s: %s (--help explains)\n' "${0##*/}" "$*" >&2; exit 2; }

epoch() { printf '%(%s)T\n' -1; }
at() { printf '%(%F %T%z)T\n' "$1"; }

# Nothing that only waits holds the lock: it would outlive a killed release.
nap() { sleep "$1" 9>&-; }

seconds_of() { # DURATION
    local number=${1%[smhd]}
    case $1 in
        *m) echo $((number * 60)) ;;
        *h) echo $((number * 3600)) ;;
        *d) echo $((number * 86400)) ;;
        *) echo "$number" ;;
    esac
}

# -- settings -----------------------------------------------------------------------------------

# The defaults name and shape every setting; the operator's file, then the environment, change them.
read_settings() {
    local name value line
    declare -gA SETTINGS=()
    while IFS='=' read -r name value; do SETTINGS[$name]=$value; done < <(settings_in "$DEFAULTS")
    if [[ -e $OWN_SETTINGS ]]; then
        while IFS='=' read -r name value; do set_checked "$name" "$value" "$OWN_SETTINGS"
        done < <(settings_in "$OWN_SETTINGS")
    fi
    for line in "${!RELEASE_@}"; do set_checked "$line" "${!line}" "the environment"; done
    for name in "${!SETTINGS[@]}"; do declare -g "$name=${SETTINGS[$name]}"; done
}

settings_in() { grep -Ev '^[[:space:]]*(#|$)' "$1" || true; }

set_checked() { # NAME VALUE SOURCE
    local default=${SETTINGS[$1]-} shape='.+'
    [[ -v SETTINGS[$1] ]] || misused "$3: there is no setting $1"
    if [[ $1 == RELEASE_ON_ABORT ]]; then shape='(stable|empty)'
    elif [[ $1 == RELEASE_ON_CONFLICT ]]; then shape='(refuse|supersede)'
    elif [[ $default =~ ^[0-9]+[smhd]$ ]]; then shape='[0-9]{1,9}[smhd]?'
    elif [[ $default =~ ^[0-9]+$ ]]; then shape='[0-9]{1,9}'
    elif [[ $default =~ ^[0-9.]+$ ]]; then shape='[0-9]{1,9}(\.[0-9]{1,9})?'
    fi
    [[ $2 =~ ^$shape$ ]] || misused "$3: $1=$2 is not what it must be (such as ${default})"
    SETTINGS[$1]=$2
}

settings_as_json() {
    local name
    for name in "${!SETTINGS[@]}"; do printf '%s\t%s\n' "$name" "${SETTINGS[$name]}"; done |
        jq -Rn '[inputs | split("\t") | {(.[0]): .[1]}] | add'
}

need_commands() { # and what they say first
    local name
    for name in docker jq curl git flock; do
        command -v "$name" >/dev/null || fail "there is no $name here (scripts/install_system.sh shell docker)"
    done
    find_image_name
    [[ -x $RELEASE_MARQUEE && -x ${RELEASE_MARQUEE%/*}/python ]] ||
        fail "$RELEASE_MARQUEE is not here: make .venv/.deployment"
}
