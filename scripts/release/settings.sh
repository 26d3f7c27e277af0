# shellcheck shell=bash
# Settings of a release: defaults (settings.env), then release.env, then the environment.

readonly DEFAULT_SETTINGS_FILE=$CODE_DIR/scripts/release/settings.env
readonly LOCAL_SETTINGS_FILE=release.env

# Settings of earlier versions.
declare -grA RENAMED_SETTINGS=(
    [RELEASE_MAX_SUCCESS_DECREASE]=RELEASE_FAILURE_MARGIN
    [RELEASE_MAX_FALLBACK_INCREASE]=RELEASE_POPULAR_MARGIN
    [RELEASE_MAX_MEAN_INCREASE_SECONDS]=RELEASE_MAX_LATENCY_INCREASE_SECONDS
)

# Print the settings of a file as NAME=VALUE lines, without comments and quotes. A missing file is an empty one.
read_settings_file() { # FILE
    local line value
    [[ -e $1 ]] || return 0
    while IFS= read -r line || [[ -n $line ]]; do
        line=${line#"${line%%[![:space:]]*}"}
        [[ -n $line && $line != '#'* ]] || continue
        value=${line#*=}
        case $value in
            \"*\"*) value=${value#\"} value=${value%%\"*} ;;
            \'*\'*) value=${value#\'} value=${value%%\'*} ;;
            *) value=${value%%[[:space:]]#*} value=${value%"${value##*[![:space:]]}"} ;;
        esac
        printf '%s=%s\n' "${line%%=*}" "$value"
    done <"$1"
}

# Set a variable for each setting. The defaults define which settings exist and their types.
load_settings() {
    local name line
    declare -gA SETTINGS=()
    while read -r line; do SETTINGS[${line%%=*}]=${line#*=}; done < <(read_settings_file "$DEFAULT_SETTINGS_FILE")
    while read -r line; do
        line=${line/#RELEASE_P99_SECONDS=/RELEASE_MAX_P99_SECONDS=} # its name in version 0.2.0
        set_setting "${line%%=*}" "${line#*=}" "$LOCAL_SETTINGS_FILE"
    done < <(read_settings_file "$LOCAL_SETTINGS_FILE")
    for name in "${!RELEASE_@}"; do set_setting "$name" "${!name}" "the environment"; done
    jq -en --arg min "${SETTINGS[RELEASE_MIN_TRAFFIC_SHARE]}" \
        --arg max "${SETTINGS[RELEASE_MAX_TRAFFIC_SHARE]}" \
        '($min | tonumber) < ($max | tonumber)' >/dev/null ||
        usage_error "RELEASE_MIN_TRAFFIC_SHARE must be below RELEASE_MAX_TRAFFIC_SHARE"
    for name in "${!SETTINGS[@]}"; do declare -g "$name=${SETTINGS[$name]}"; done
}

set_setting() { # NAME VALUE SOURCE
    local default=${SETTINGS[$1]-} pattern='.+' value=$2 reason=
    [[ ! -v RENAMED_SETTINGS[$1] ]] || usage_error "$3: $1 was replaced by ${RENAMED_SETTINGS[$1]} (docs/releasing.md, Settings of the verdict)"
    [[ -v SETTINGS[$1] ]] || usage_error "$3: unknown setting $1"
    if [[ $1 == RELEASE_ON_ABORT ]]; then pattern='(stable|empty)'
    elif [[ $1 == RELEASE_ON_CONFLICT ]]; then pattern='(refuse|supersede)'
    elif [[ $1 == RELEASE_PLATFORM ]]; then pattern='(compose|kubernetes)'
    elif [[ $1 == RELEASE_KUBERNETES_* ]]; then pattern='[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?' reason='a name of Kubernetes'
    elif [[ $1 == RELEASE_PROMETHEUS_URL ]]; then
        pattern='(auto|https?://[^[:space:]]+)' reason='an http URL'
    elif [[ $1 =~ ^RELEASE_(ANALYSIS_(WINDOW|TIMEOUT)|GUARD_(WINDOW|INTERVAL)|MAX_BURST_DURATION)$ ]]; then
        pattern='0*[1-9][0-9]{0,8}[smhd]?' reason='a duration above 0'
    elif [[ $1 =~ ^RELEASE_(MAX_LATENCY|FAILURE_MARGIN|FAILURE_TOLERANCE)_RATIO$ ]]; then
        pattern='[0-9]{1,9}(\.[0-9]{1,9})?' reason='a multiple'
    elif [[ $1 =~ _(RATIO|SHARE|TOLERANCE|MARGIN)$ ]]; then
        pattern='0*(0|0?\.[0-9]{1,9}|1(\.0{1,9})?)' reason='a share from 0 to 1'
    elif [[ $default =~ ^[0-9]+[smhd]$ ]]; then pattern='[0-9]{1,9}[smhd]?'
    elif [[ $default =~ ^[0-9]+$ ]]; then pattern='[0-9]{1,9}'
    elif [[ $default =~ ^[0-9.]+$ ]]; then pattern='[0-9]{1,9}(\.[0-9]{1,9})?'
    fi
    [[ $value =~ ^$pattern$ ]] || usage_error "$3: invalid value $1=$2 (${reason:+$reason; }default: $default)"
    # Bash would read a number with leading zeros as octal, and jq would refuse it.
    [[ $default != [0-9]* || ! $value =~ ^0+([0-9].*)$ ]] || value=${BASH_REMATCH[1]}
    SETTINGS[$1]=$value
}

duration_seconds() { # DURATION, such as 90, 30s, 5m, 12h or 2d
    local number=$((10#${1%[smhd]})) # decimal: 08 is not an octal number
    case $1 in
        *m) echo $((number * 60)) ;;
        *h) echo $((number * 3600)) ;;
        *d) echo $((number * 86400)) ;;
        *) echo "$number" ;;
    esac
}
