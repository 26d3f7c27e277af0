#!/bin/bash
# Kafka's commands: each is this script under another name. As kafka-run-class.sh it runs a class.
set -Eeuo pipefail

readonly HOME_OF_KAFKA=/opt/kafka

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
    local logging="$HOME_OF_KAFKA/config/log4j2.properties"
    [[ $class == kafka.Kafka ]] || logging="$HOME_OF_KAFKA/config/tools-log4j2.properties"
    # Both variables hold several options.
    # shellcheck disable=SC2086
    exec java ${KAFKA_HEAP_OPTS:-$heap} "-Dlog4j2.configurationFile=$logging" ${KAFKA_OPTS:-} \
        -cp "$HOME_OF_KAFKA/libs/*" "$class" "$@"
}

main "$@"
