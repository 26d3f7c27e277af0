# shellcheck shell=bash
# Deploy images into slots, one slot at a time. A slot's image tag and its variables in .env are
# changed together, so that `docker compose up -d` recreates no slot afterwards.

compose() { docker compose "$@"; }

# Read the name of our images (MARQUEE_IMAGE) once, because it must be quick to get between moving a
# slot's tag and recreating the slot.
load_image_name() {
    local tag
    tag=$(compose config --images canary) || fail "docker compose rejects its configuration"
    readonly IMAGE_NAME=${tag%:canary}
}

get_image_id() { docker image inspect --format '{{.Id}}' "$1" 2>/dev/null; } # TAG
get_container() { compose ps --all --quiet "$1" 2>/dev/null | head -1; }     # SLOT
get_slot_image() { docker inspect --format '{{.Image}}' "$(get_container "$1")" 2>/dev/null; }

get_env() { # NAME; its value in .env
    read_env_file .env | sed -n "s/^$1=//p" | tail -1
}

set_env() { # NAME=VALUE...; the other lines of .env stay unchanged
    local pair names=''
    for pair in "$@"; do names+="|${pair%%=*}"; done
    touch .env
    cp --preserve=mode,ownership .env .env.tmp # write_file overwrites it and keeps mode and owner
    write_file ./.env "$(grep -Ev "^(${names:1})=" .env || true; printf '%s\n' "$@")"
}

env_suffix() { local name=${1^^}; echo "${name//-/_}"; } # SLOT

# Put an image into a slot and wait until the slot is ready. Idempotent: a slot that runs the image
# already is left alone, so this can be repeated after a kill at any line.
deploy_slot() { # SLOT IMAGE BUILD-ID IMAGE-DIGEST
    local suffix attempts=0
    suffix=$(env_suffix "$1")
    local variables=("MARQUEE_BUILD_$suffix=$3" "MARQUEE_DIGEST_$suffix=$4")
    [[ $1 != canary ]] || variables+=("MARQUEE_CANARY_REPLICAS=1")
    log "deploying build $3 to $1"
    set_env "${variables[@]}"
    docker tag "$2" "$IMAGE_NAME:$1" || return 1
    # A concurrent `docker compose up` makes one of the two commands fail: retry.
    until compose up -d --no-deps --no-build --quiet-pull "$1" >"$STATE_DIR/compose.log" 2>&1; do
        ((++attempts < 4)) || { cat "$STATE_DIR/compose.log" >&2; return 1; }
        wait_seconds 2
    done
    wait_until_ready "$1"
}

# Run the image's health check at once: Docker would run it ten seconds later.
is_ready() { docker exec "$1" python -m app.service.healthcheck >/dev/null 2>&1; } # CONTAINER

wait_until_ready() { # SLOT; fails early if its container restarts or exits
    local container status deadline
    deadline=$(($(now) + $(duration_seconds "$RELEASE_READINESS_TIMEOUT")))
    while :; do
        container=$(get_container "$1")
        if [[ -n $container ]]; then
            ! is_ready "$container" || return 0
            status=$(docker inspect --format '{{.State.Status}} {{.RestartCount}}' "$container") || status=removed
            [[ $status =~ ^(created|running)\ 0$ || $status == removed ]] || break
        fi
        (($(now) < deadline)) || break
        wait_seconds 1
    done
    log "$1 is not ready (container status and restarts: ${status:-no container}); its last log lines:"
    [[ -z $container ]] || docker logs --tail 20 "$container" >&2 || true
    return 1
}

remove_canary() {
    set_env MARQUEE_CANARY_REPLICAS=0
    compose rm --stop --force canary >/dev/null 2>&1
}

slots_as_json() { # what runs in each slot, to be restored if a promotion fails
    local slot suffix
    for slot in stable-1 stable-2 canary; do
        suffix=$(env_suffix "$slot")
        jq -n --arg slot "$slot" --arg image "$(get_slot_image "$slot" || true)" \
            --arg build_id "$(get_env "MARQUEE_BUILD_$suffix")" \
            --arg image_digest "$(get_env "MARQUEE_DIGEST_$suffix")" '{($slot): {image: $image,
                build_id: ($build_id | if . == "" then "unknown" else . end),
                image_digest: ($image_digest | if . == "" then "unknown" else . end)}}'
    done | jq -s add
}
