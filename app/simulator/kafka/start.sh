#!/usr/bin/env bash
# Start the demo's Kafka: format the data directory at the first start, then run the broker.
set -Eeuo pipefail
trap 'echo "start.sh: failed at line ${LINENO}" >&2' ERR

readonly CONFIGURATION=/etc/marquee/server.properties

main() {
    # A fixed cluster id: with --ignore-formatted a later start changes nothing.
    /opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id bWFycXVlZS1kZW1vLWthZg \
        --config "$CONFIGURATION"
    local overrides=()
    # Clients on the host connect to the published port.
    [[ -z ${HOST_PORT:-} ]] ||
        overrides=(--override "advertised.listeners=STACK://kafka:9092,HOST://127.0.0.1:$HOST_PORT")
    exec /opt/kafka/bin/kafka-server-start.sh "$CONFIGURATION" "${overrides[@]}"
}

main "$@"
