# shellcheck shell=bash
# Functions shared by all scripts: log messages, errors, arguments, time, environment files.

# A log on a full disk must not end the process.
log() { printf '%(%FT%T%z)T ==> %s\n' -1 "$*" >&2 2>/dev/null || true; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2 || true; exit 1; }
usage_error() { printf '%s: %s (see --help)\n' "${0##*/}" "$*" >&2; exit 2; }

# Print usage() and exit if the first argument is -h or --help.
handle_help() {
    [[ ! ${1-} =~ ^(-h|--help)$ ]] || { usage; exit 0; }
}

reject_arguments() {
    (($# == 0)) || usage_error "unexpected argument: $1"
}

# Name the function and line of a command that failed: trap 'report_error "$LINENO"' ERR
report_error() { # LINE
    printf '%s: %s failed at line %s of %s\n' \
        "${0##*/}" "${FUNCNAME[1]:-main}" "$1" "${BASH_SOURCE[1]}" >&2
}

# Exit if a tracked file that only a retraining changes was changed by hand.
require_unchanged() { # FILE...
    local file
    for file in "$@"; do
        git diff --quiet HEAD -- "$file" ||
            fail "$file has uncommitted changes; only a retraining changes it (undo: git checkout HEAD -- $file)"
    done
}

now() { printf '%(%s)T\n' -1; } # seconds since 1970

# Print the variables of a .env file, each as NAME=VALUE and a NUL character, because values can have
# several lines. Docker Compose itself reads it: no other parser has its syntax (quotes, export, ${A:-b}).
# A missing file is an empty one.
read_env_file() { # FILE
    local project
    [[ -e $1 ]] || return 0
    project=$(jq -n --arg file "$PWD/$1" '{name: "settings", services: {settings: {image: "none", env_file: [$file]}}}')
    # Compose prints $ as $$.
    docker compose --file - config --format json <<<"$project" | jq -j '.services.settings.environment // {} | to_entries[] |
        "\(.key)=\(.value // "" | gsub("\\$\\$"; "$"))\u0000"' || { log "$1 cannot be read (docker compose)"; return 1; }
}
