#!/usr/bin/env bash
# Start the demo's Kafka: format its data directory the first time, then become the broker.
set -Eeuo pipefail
trap 'echo "start.sh: failed at line ${LINENO}" >&2' ERR

readonly CONFIGURATION=/etc/marquee/server.properties

main() {
    # The id is fixed: one node, formatted once; a repeated start changes nothing.
    /opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id bWFycXVlZS1kZW1vLWthZg \
        --config "$CONFIGURATION"
    exec /opt/kafka/bin/kafka-server-start.sh "$CONFIGURATION"
}

main "$@"
