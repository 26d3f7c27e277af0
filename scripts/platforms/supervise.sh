#!/usr/bin/env bash
# Main process of the container `release` on Kubernetes: create the slots, then run `supervise` every few seconds.
set -Eeuo pipefail

readonly INTERVAL_SECONDS=5

usage() {
    cat <<'EOF'
USAGE
  supervise.sh

Runs canary_release.sh pin until all slots exist and are ready, then creates the file /tmp/ready and runs
canary_release.sh supervise every 5 seconds, until SIGTERM. A release that it runs is resumed by the next process.

OPTIONS
  -h, --help   show this help

EXIT STATUS
  0  SIGTERM
  2  invalid arguments
EOF
}

run() { "$CODE_DIR/scripts/canary_release.sh" "$@" & wait $!; } # COMMAND; a signal ends the wait

main() {
    CODE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
    readonly CODE_DIR
    # shellcheck source=scripts/lib.sh
    source "$CODE_DIR/scripts/lib.sh"
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    reject_arguments "$@"
    trap 'exit 0' TERM
    local metrics=${MARQUEE_CLONE:-$CODE_DIR}/monitoring/release
    mkdir -p "$metrics"
    touch "$metrics"/{release,host}.prom # Prometheus reads them before there is a release
    until run pin; do sleep "$INTERVAL_SECONDS" & wait $!; done
    touch /tmp/ready
    while :; do
        run supervise || true
        sleep "$INTERVAL_SECONDS" & wait $!
    done
}

main "$@"
