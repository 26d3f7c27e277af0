# shellcheck shell=bash
# Slots, their tags and their values in .env, changed together and one slot at a time.

compose() { docker compose "$@"; }

# The name of our images without a tag, as the compose file and .env say.
image_name() { printf '%s\n' "$IMAGE_NAME"; }
find_image_name() { # once: what comes between a slot's tag and its recreation must be short
    local name
    name=$(compose config --images canary) || fail "docker compose does not take its file"
    readonly IMAGE_NAME=${name%:canary}
}

image_of_tag() { docker image inspect --format '{{.Id}}' "$1" 2>/dev/null; }
container_of() { compose ps --all --quiet "$1" 2>/dev/null | head -1; }
image_of_slot() { docker inspect --format '{{.Image}}' "$(container_of "$1")" 2>/dev/null; }

env_value() { # NAME: its value in .env
    [[ ! -e .env ]] || sed -n "s/^$1=//p" .env | tail -1
}

write_env() { # NAME=VALUE...: the other lines of .env stay as they are
    local pair names=''
    for pair in "$@"; do names+="|${pair%%=*}"; done
    touch .env
    cp --preserve=mode,ownership .env .env.aside # `keep` writes into it: mode and owner stay
    keep ./.env "$(grep -Ev "^(${names:1})=" .env || true; printf '%s\n' "$@")"
}

env_suffix() { local name=${1^^}; echo "${name//-/_}"; } # SLOT

# Put an image into a slot and wait until it answers. What is there already is left alone, so that
# this can be repeated after a kill at any line.
put_into_slot() { # SLOT IMAGE BUILD DIGEST
    local suffix tries=0
    suffix=$(env_suffix "$1")
    local values=("MARQUEE_BUILD_$suffix=$3" "MARQUEE_DIGEST_$suffix=$4")
    [[ $1 != canary ]] || values+=("MARQUEE_CANARY_REPLICAS=1")
    say "$1: build $3"
    write_env "${values[@]}"
    docker tag "$2" "$(image_name):$1" || return 1
    # Somebody's `docker compose up` at the same moment makes one of the two fail; try again.
    until compose up -d --no-deps --no-build --quiet-pull "$1" >"$HOME_OF_RELEASES/compose.log" 2>&1; do
        ((++tries < 4)) || { cat "$HOME_OF_RELEASES/compose.log" >&2; return 1; }
        nap 2
    done
    wait_until_ready "$1"
}

# The image's own health check, asked at once: Docker's would come ten seconds later.
answers() { docker exec "$1" python -m app.service.healthcheck >/dev/null 2>&1; } # CONTAINER

wait_until_ready() { # SLOT
    local container condition deadline
    deadline=$(($(epoch) + $(seconds_of "$RELEASE_READINESS_TIMEOUT")))
    while :; do
        container=$(container_of "$1")
        if [[ -n $container ]]; then
            ! answers "$container" || return 0
            condition=$(docker inspect --format '{{.State.Status}} {{.RestartCount}}' "$container") || condition=gone
            [[ $condition =~ ^(created|running)\ 0$ || $condition == gone ]] || break
        fi
        (($(epoch) < deadline)) || break
        nap 1
    done
    say "$1 does not get ready (${condition:-no container}); its last words:"
    [[ -z $container ]] || docker logs --tail 20 "$container" >&2 || true
    return 1
}

empty_canary() {
    write_env MARQUEE_CANARY_REPLICAS=0
    compose rm --stop --force canary >/dev/null 2>&1
}

slots_as_json() { # what stands in each slot, to be put back from
    local slot suffix
    for slot in stable-1 stable-2 canary; do
        suffix=$(env_suffix "$slot")
        jq -n --arg slot "$slot" --arg image "$(image_of_slot "$slot" || true)" \
            --arg build "$(env_value "MARQUEE_BUILD_$suffix")" \
            --arg digest "$(env_value "MARQUEE_DIGEST_$suffix")" '{($slot): {image: $image,
                build: ($build | if . == "" then "unknown" else . end),
                digest: ($digest | if . == "" then "unknown" else . end)}}'
    done | jq -s add
}
