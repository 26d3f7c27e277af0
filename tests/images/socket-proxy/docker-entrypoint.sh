#!/bin/bash
# Write the configuration of HAProxy from the environment and start it. A section of Docker's API is
# allowed if its variable is 1 (CONTAINERS=1), for GET requests only unless POST=1.
set -Eeuo pipefail

readonly SECTIONS=(AUTH BUILD COMMIT CONFIGS CONTAINERS DISTRIBUTION EVENTS EXEC GRPC IMAGES INFO
    NETWORKS NODES PLUGINS SECRETS SERVICES SESSION SWARM SYSTEM TASKS VERSION VOLUMES)

write_configuration() {
    local section
    cat <<EOF
global
    log stdout format raw local0 ${LOG_LEVEL:-info}
    maxconn 1000
defaults
    mode http
    log global
    option httplog
    option dontlognull
    timeout connect 10s
    timeout client 10m
    timeout server 10m
    timeout http-request 10s
backend docker
    server socket unix@${SOCKET_PATH:-/var/run/docker.sock}
frontend proxy
    bind [::]:2375 v4v6
    default_backend docker
EOF
    [[ ${POST:-0} == 1 ]] || echo '    http-request deny unless METH_GET'
    [[ ${PING:-0} != 1 ]] || echo '    http-request allow if { path,url_dec -m reg ^(/v[0-9.]+)?/_ping$ }'
    for section in "${SECTIONS[@]}"; do
        [[ ${!section:-0} != 1 ]] ||
            echo "    http-request allow if { path,url_dec -m reg ^(/v[0-9.]+)?/${section,,}(/|\$) }"
    done
    echo '    http-request deny'
}

main() {
    write_configuration >/tmp/haproxy.cfg
    [[ ${1:-} != -* ]] || set -- haproxy "$@"
    [[ $1 != haproxy ]] || set -- haproxy -W -db "${@:2}"
    exec "$@"
}

main "$@"
