#!/usr/bin/env bash
# Take a new version from image to all traffic, or give it up, without anyone watching.
set -Eeuo pipefail
trap 'echo "canary_release.sh: ${FUNCNAME[0]:-main} failed at line ${LINENO} of ${BASH_SOURCE[0]}; resume goes on" >&2' ERR

usage() {
    cat <<'EOF'
USAGE
  canary_release.sh [COMMAND]

Builds the version of this tree, tries it out alone, gives it a fifth of the traffic for a while,
asks Prometheus, and then gives it all traffic or none. docs/releasing.md explains each step.

COMMANDS
  start [--again]   (default) release the version of this tree; --again: though it was given up before
  resume            go on with a release that was interrupted; nothing to do is fine
  status [--json]   where the release is
  abort [REASON]    give up the canary now: its slot gets the stable image back
  promote           give the canary all traffic now, before the verdict
  rollback          back to the image before (the tag `previous`), one slot at a time
  history [ID]      releases and how they ended; with an ID every evaluation of one
  queries [--window 12h] [--version N]   the verdict's queries, filled in, as a rules file

OPTIONS
  -h, --help        this text

SETTINGS
  scripts/release/settings.env names and explains each; what differs goes into release.env or the
  environment.

EXAMPLES
  scripts/canary_release.sh
  RELEASE_ANALYSIS_WINDOW=2h scripts/canary_release.sh start
  scripts/canary_release.sh abort "complaints about empty lists"
  scripts/canary_release.sh history

EXIT STATUS
  0 done: promoted, rolled back, aborted as told, nothing to resume; 1 not: refused, failed, or a
  version that was given up (said on standard error); 2 wrong usage or a wrong setting
EOF
}

main() {
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    local part command=${1:-start}
    for part in base state slots image judge tell begin phases endings commands looking; do
        # shellcheck source=/dev/null
        source "scripts/release/$part.sh"
    done
    case $command in
        -h | --help) usage ;;
        start | resume | status | abort | promote | rollback | history | queries)
            shift $(($# > 0))
            [[ ! ${1-} =~ ^(-h|--help)$ ]] || { usage; exit 0; }
            read_settings
            "command_$command" "$@"
            ;;
        *) misused "there is no command $command" ;;
    esac
}

main "$@"
