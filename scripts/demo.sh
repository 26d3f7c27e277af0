#!/usr/bin/env bash
# Demonstrate the whole lifecycle of the system in containers, in under ten minutes.
set -Eeuo pipefail

usage() {
    cat <<'EOF'
USAGE
  demo.sh [up|down]

Starts the stack and the simulator as the compose project marquee-demo and runs through nine steps:
serve version 1, collect events, watch a movie, retrain, release through a canary, promote, measure the
utility of both versions, abort a slow version, list the notifications. Each step prints a command or URL
to try. All files are in build/demo. The stack keeps running at the end.

COMMANDS
  up     (default) run the demo with this clone's HEAD; refuses if a demo is running
  down   remove the demo's containers, volumes, networks, images and files, if there are any

OPTIONS
  -h, --help   show this help

ENVIRONMENT
  DEMO_VISITS        recommendation requests to collect before retraining, at 20 a second (1500)
  DEMO_WINDOW        analysis window of the canary in seconds (60)
  MARQUEE_BUILD_CA   file with additional certificate authorities for image builds

EXAMPLES
  scripts/demo.sh
  DEMO_VISITS=400 DEMO_WINDOW=30 scripts/demo.sh
  scripts/demo.sh down

EXIT STATUS
  0  done
  1  refused, or a step failed (reason on standard error; the containers keep running)
  2  invalid arguments or environment variables
EOF
}

main() {
    local file
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    for file in lib demo/{common,setup,release_helpers,steps}; do
        # shellcheck source=/dev/null
        source "scripts/$file.sh"
    done
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    case ${1:-up} in
        up | down) reject_arguments "${@:2}" ;;
        *) usage_error "unknown command $1" ;;
    esac
    read_environment
    "demo_${1:-up}"
}

main "$@"
