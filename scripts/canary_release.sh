#!/usr/bin/env bash
# Release a new version through a canary: build, verify, deploy, analyze, then promote or abort.
set -Eeuo pipefail

usage() {
    cat <<'EOF'
USAGE
  canary_release.sh [COMMAND]

Builds the image of this tree's version, runs a smoke test, deploys it to the canary slot (20 % of the
traffic), analyzes it with Prometheus over a time window, and then promotes it to all slots or restores
the stable image. docs/releasing.md describes each phase.

COMMANDS
  start [--again]   (default) release the version of this tree; --again: even if it was rejected before.
                    On Kubernetes: start [--again] IMAGE@sha256:DIGEST releases that image
  resume            continue an interrupted release; does nothing if there is none
  supervise         resume a release whose process has ended, with its log in data/release/release.log;
                    prints nothing if there is none. Also sends pending notifications, every minute, and
                    carries out orders of the console. Run it every few seconds (marquee-release@.timer)
  status [--json]   show the state of the current or last release
  abort [REASON]    abort the release now; the canary slot gets the stable image
  promote           promote the canary now, without waiting for the verdict
  rollback          deploy the previous image (tag `previous`) to all slots, one at a time
  pin               write what the slots run to docker-compose.override.yml, if there is no such file; on
                    Kubernetes: create the slots that do not exist
  history [ID]      list releases and their outcomes; with an ID: all evaluations of that release
  queries [--window 12h] [--version N]   print what the analysis asks of Prometheus

OPTIONS
  -h, --help        show this help

SETTINGS
  scripts/release/settings.env lists and explains all settings. Override them in release.env or in the
  environment.

EXAMPLES
  scripts/canary_release.sh
  RELEASE_ANALYSIS_WINDOW=2h scripts/canary_release.sh start
  scripts/canary_release.sh abort "complaints about empty lists"
  scripts/canary_release.sh history

EXIT STATUS
  0  done: promoted, rolled back, aborted on request, or nothing to do
  1  refused, failed, aborted or inconclusive (reason on standard error)
  2  invalid arguments or settings
EOF
}

main() {
    # The code of a release is that of its commit, in a tree of its own; everything else is the clone's.
    CODE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    readonly CODE_DIR
    cd "${MARQUEE_CLONE:-$CODE_DIR}"
    local file command=${1:-start}
    for file in lib release/{settings,state,orders,full_disk,slots,analysis,metrics,notify,phases,commands,status}; do
        # shellcheck source=/dev/null
        source "$CODE_DIR/scripts/$file.sh"
    done
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    case $command in
        start | resume | supervise | status | abort | promote | rollback | pin | history | queries)
            shift $(($# > 0))
            handle_help "$@"
            load_settings
            # shellcheck source=/dev/null
            source "$CODE_DIR/scripts/platforms/$RELEASE_PLATFORM.sh"
            "command_$command" "$@"
            ;;
        *) usage_error "unknown command $command" ;;
    esac
}

main "$@"
