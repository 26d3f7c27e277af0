#!/bin/bash
# All commands of Kafka are links to this script; as kafka-run-class.sh it runs any class.
set -Eeuo pipefail

readonly KAFKA_DIR=/opt/kafka

main() {
    local class heap=-Xmx256M
    case ${0##*/} in
        kafka-broker-api-versions.sh) class=org.apache.kafka.tools.BrokerApiVersionsCommand ;;
        kafka-cluster.sh) class=org.apache.kafka.tools.ClusterTool ;;
        kafka-configs.sh) class=kafka.admin.ConfigCommand ;;
        kafka-console-consumer.sh) class=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
        kafka-console-producer.sh) class=org.apache.kafka.tools.ConsoleProducer ;;
        kafka-consumer-groups.sh) class=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
        kafka-get-offsets.sh) class=org.apache.kafka.tools.GetOffsetShell ;;
        kafka-metadata-quorum.sh) class=org.apache.kafka.tools.MetadataQuorumCommand ;;
        kafka-server-start.sh) class=kafka.Kafka heap='-Xms512M -Xmx512M' ;;
        kafka-storage.sh) class=kafka.tools.StorageTool ;;
        kafka-topics.sh) class=org.apache.kafka.tools.TopicCommand ;;
        *) class=${1:?a class is needed}; shift ;;
    esac
    local logging="$KAFKA_DIR/config/log4j2.properties"
    [[ $class == kafka.Kafka ]] || logging="$KAFKA_DIR/config/tools-log4j2.properties"
    # Both variables may have several options.
    # shellcheck disable=SC2086
    exec java ${KAFKA_HEAP_OPTS:-$heap} "-Dlog4j2.configurationFile=$logging" ${KAFKA_OPTS:-} \
        -cp "$KAFKA_DIR/libs/*" "$class" "$@"
}

main "$@"
