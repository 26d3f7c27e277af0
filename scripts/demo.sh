#!/usr/bin/env bash
# The whole life of the system in containers, in under ten minutes and without a question.
set -Eeuo pipefail

usage() {
    cat <<'EOF'
USAGE
  demo.sh [up|down]

Starts the stack with the simulator as a project of its own (marquee-demo) and shows, in eight steps:
version 1 serving, lines collected, a retraining, its release through the canary, the promotion, what
the new version is truly worth, a slow version given up, and the mails about all that. Each step says
what to look at. Everything lies in build/demo and stays up at the end; `down` removes it all.

COMMANDS
  up     (default) run the demo of this clone's HEAD; refused where one is up
  down   remove its containers, volumes, networks, images and files; nothing to remove is fine

OPTIONS
  -h, --help   this text

ENVIRONMENT
  DEMO_VISITS        visits to be collected before the retraining (1500, at 20 a second)
  DEMO_WINDOW        seconds that a canary is watched (60)
  MARQUEE_BUILD_CA   file with further certificate authorities that image builds need

EXAMPLES
  scripts/demo.sh
  DEMO_VISITS=400 DEMO_WINDOW=30 scripts/demo.sh
  scripts/demo.sh down

EXIT STATUS
  0 done; 1 refused, or a step failed (said on standard error; what runs is left up); 2 wrong usage
EOF
}

main() {
    local part
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    for part in base world versions steps; do
        # shellcheck source=/dev/null
        source "scripts/demo/$part.sh"
    done
    case ${1:-up} in
        -h | --help) usage; exit 0 ;;
        up | down) (($# < 2)) || misused "$1 takes no arguments" ;;
        *) misused "there is no command $1" ;;
    esac
    read_environment
    "demo_${1:-up}"
}

main "$@"
