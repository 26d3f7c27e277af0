# shellcheck shell=bash disable=SC2016,SC2034 # variables in single quotes are jq's; others use the constants
# Docker Compose: images into slots, one slot at a time. What each slot runs stands in SLOTS_FILE, which Docker
# Compose merges with docker-compose.yml by itself: the definition (settings, mounts, limits) of the
# commit that the slot's image was built from, without a build section. So `docker compose up -d`, also
# with --build or after a merge, changes no slot. Variables of the operator's .env stay variables.

readonly SLOTS_FILE=docker-compose.override.yml
readonly SLOTS_HEADER='# Written by scripts/canary_release.sh (format 1): what each slot runs. Do not edit.'
readonly REQUIRED_COMMANDS=(docker jq curl git flock)
readonly REPAIR_ADVICE="repair the stack first (docker compose up -d --wait)"
# The build in the definition of a slot.
readonly JQ_BUILD='{build_id: .environment.MARQUEE_BUILD_ID, image_digest: .environment.MARQUEE_IMAGE_DIGEST}'

# shellcheck source=scripts/release/image.sh
source "$CODE_DIR/scripts/release/image.sh"

compose() { docker compose "$@"; }

# Read what makes this stack different from others on the host, which stands in .env: project, name of the
# images, address of Prometheus.
load_stack() {
    local config
    config=$(compose config --format json) || fail "docker compose rejects its configuration"
    IFS=$'\t' read -r PROJECT IMAGE_NAME < <(jq -r '[.name, (.services.canary.image | rtrimstr(":canary"))] | @tsv' <<<"$config")
    readonly PROJECT IMAGE_NAME
    load_prometheus_url
    require_own_stack
}

# Refuse a clone whose containers or image tags belong to another clone on this host.
require_own_stack() {
    local -a containers
    local project directory image advice='in .env (docs/operations.md, Two stacks on one host)'
    mapfile -t containers < <(docker ps --all --quiet --filter label=com.docker.compose.service=stable-1)
    ((${#containers[@]})) || return 0
    while IFS='|' read -r project directory image; do
        if [[ $project == "$PROJECT" ]]; then
            [[ $directory -ef $PWD ]] || is_missing "$directory" ||
                fail "the containers of the project $PROJECT belong to the clone in $directory; set another COMPOSE_PROJECT_NAME $advice"
        elif [[ $image == "$IMAGE_NAME:"* ]]; then
            fail "the project $project ($directory) uses the image tags $IMAGE_NAME:..., too; set another MARQUEE_IMAGE $advice"
        fi
    done < <(docker inspect --format '{{index .Config.Labels "com.docker.compose.project"}}|{{index .Config.Labels "com.docker.compose.project.working_dir"}}|{{.Config.Image}}' "${containers[@]}")
}

is_missing() { [[ $(LC_ALL=C stat -- "$1" 2>&1) == *"No such file or directory"* ]]; } # PATH; a directory that cannot be read is not

require_platform() { timeout 20 docker info >/dev/null 2>&1 || fail "Docker does not respond; the release is resumed when it does"; }

check_platform() {
    local free
    free=$(df --output=avail --block-size=1M "$(docker info --format '{{.DockerRootDir}}')" | tail -1)
    ((free >= RELEASE_MIN_FREE_DISK_MB)) ||
        fail "only ${free// /} MiB of disk space are free, $RELEASE_MIN_FREE_DISK_MB are required (docker system df)"
}

get_published_prometheus() {
    compose config --format json | jq -r '.services.prometheus.ports[]? | select(.target == 9090)
        | "http://\(.host_ip // "127.0.0.1" | if . == "0.0.0.0" then "127.0.0.1" else . end):\(.published)"' | head -1
}

get_image_id() { docker image inspect --format '{{.Id}}' "$1" 2>/dev/null; } # TAG or image id

get_tagged() { get_image_id "$IMAGE_NAME:$1"; } # TAG

tag_image() { docker tag "$1" "$IMAGE_NAME:$2"; } # IMAGE TAG

image_exists() { [[ -n $(get_image_id "$1") ]]; } # IMAGE

get_container() { list_containers --all --quiet "$1" | head -1; } # SERVICE

# Print what `docker compose ps` prints. It fails if a container disappears meanwhile, such as that of a slot
# which a release replaces: retry, because no output means that there is no container.
list_containers() { # OPTION... [SERVICE]
    local attempts=0 containers
    until containers=$(compose ps "$@" 2>/dev/null); do
        ((++attempts < 4)) || return 1
        wait_seconds 1
    done
    printf '%s' "${containers:+$containers$'\n'}"
}

get_slot_image() { docker inspect --format '{{.Image}}' "$(get_container "$1")" 2>/dev/null; }

get_creation_time() { docker inspect --format '{{.Created}}' "$(get_container "$1")" 2>/dev/null; } # SLOT

get_slot_variable() { # SLOT NAME; an environment variable of the slot's container
    docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$(get_container "$1")" 2>/dev/null |
        sed -n "s/^$2=//p"
}

# -- definitions ------------------------------------------------------------------------------------

readonly DEFINITIONS_ERROR="docker compose rejects docker-compose.yml"

# Print the definitions of all slots at a commit as a JSON object. Variables are not replaced.
read_definitions() { # COMMIT
    local file=$STATE_DIR/docker-compose.yml
    git show "$1:docker-compose.yml" >"$file" || return 1
    compose --project-directory . --file "$file" config --no-interpolate --no-path-resolution --format json |
        jq -c '.services | {"stable-1", "stable-2", canary} | map_values(del(.build, .depends_on, .scale))'
}

get_definition() { sed -n "s/^  $1: !override //p" "$SLOTS_FILE"; } # SLOT; what is in force

# Write what slots run; a slot that is not named keeps what it has. Fails if the disk is full.
write_definitions() { # JSON: definitions by slot
    local lines current=''
    [[ ! -e $SLOTS_FILE ]] || current=$(<"$SLOTS_FILE")
    # The volumes and networks of a definition may be missing from a later docker-compose.yml.
    lines=$(jq -r --arg current "$current" '
        def declare($kind; $names): if $names == [] then empty else "\($kind): \($names | map({(.): {}}) | add | tojson)" end;
        ([$current | scan("(?:^|\n)  ([a-z0-9-]+): !override ([^\n]+)") | {(.[0]): (.[1] | fromjson)}] | add // {}) + .
        | ($ARGS.positional[] as $slot | "  \($slot): !override \(.[$slot] | tojson)"),
          declare("volumes"; [.[].volumes[]? | select(.type == "volume" and .source) | .source] | unique),
          declare("networks"; [.[].networks // {} | keys[]] | unique)' --args "${SLOTS[@]}" <<<"$1") || return
    write_slots_file "$SLOTS_HEADER"$'\n'"services:"$'\n'"$lines"
}

write_slots_file() { # CONTENT
    write_file "$SLOTS_FILE" "$1" && chmod 644 "$SLOTS_FILE" # secrets are in files of their own
}

wait_until_definitions_written() { # JSON: definitions by slot
    until write_definitions "$1"; do
        report_full_disk "$SLOTS_FILE"
        [[ $(get_state .phase) == promoting ]] || stop_candidate
        wait_seconds "$FULL_DISK_RETRY_SECONDS"
    done
}

# Whether SLOTS_FILE can be written, which a promotion does.
can_place() {
    write_slots_file "$(<"$SLOTS_FILE")" || { report_full_disk "$SLOTS_FILE"; return 1; }
}

slots_are_pinned() { [[ -e $SLOTS_FILE ]]; }

# Write SLOTS_FILE if there is none yet, from what runs. Idempotent.
pin_slots() {
    local slot commit definitions canary pinned=''
    if [[ -e $SLOTS_FILE ]]; then
        [[ $(head -1 "$SLOTS_FILE") == "$SLOTS_HEADER" ]] ||
            fail "$SLOTS_FILE was not written by this script; rename yours and list it in COMPOSE_FILE (docs/releasing.md)"
    else
        commit=$(get_slot_variable stable-1 MARQUEE_COMMIT)
        # An image that no release has built does not name its commit: take that of the clone at the time.
        git cat-file -e "${commit:-unknown}^{commit}" 2>/dev/null ||
            commit=$(git rev-parse --verify --quiet "HEAD@{$(get_creation_time stable-1)}" 2>/dev/null) || commit=HEAD
        definitions=$(read_definitions "$commit") || fail "docker compose rejects docker-compose.yml of $commit"
        for slot in "${SLOTS[@]}"; do
            pinned+=$(set_build "$slot" "$definitions" "$(get_slot_variable "$slot" MARQUEE_BUILD_ID)" \
                "$(get_slot_variable "$slot" MARQUEE_IMAGE_DIGEST)")
        done
        canary=$(get_container canary) || fail "docker compose cannot list the containers"
        pinned=$(jq -cs --arg canary "$canary" 'add | if $canary == "" then .canary.scale = 0 else . end' <<<"$pinned")
        write_definitions "$pinned" || fail "cannot write $SLOTS_FILE: $WRITE_ERROR"
    fi
    [[ $(compose config --format json | jq -r '.services["stable-1"] | .build // .environment.MARQUEE_BUILD_ID') == \
        "$(get_definition stable-1 | jq -r .environment.MARQUEE_BUILD_ID)" ]] ||
        fail "docker compose does not read $SLOTS_FILE: add it to COMPOSE_FILE (docs/releasing.md)"
}

set_build() { # SLOT DEFINITIONS BUILD-ID IMAGE-DIGEST; prints the definition of that slot, by its name
    jq -c --arg slot "$1" --arg build_id "${3:-unknown}" --arg digest "${4:-unknown}" '
        {($slot): .[$slot]} | .[$slot].environment += {MARQUEE_BUILD_ID: $build_id, MARQUEE_IMAGE_DIGEST: $digest}' <<<"$2"
}

# -- slots ------------------------------------------------------------------------------------------

# Put an image into a slot and wait until the slot is ready. Idempotent: a slot that runs the image
# already is left alone, so this can be repeated after a kill at any line.
deploy_slot() { # SLOT IMAGE BUILD-ID IMAGE-DIGEST DEFINITIONS
    local attempts=0 tag output
    log "deploying build $3 to $1"
    wait_until_definitions_written "$(set_build "$1" "$5" "$3" "$4")"
    # By its definition: that of an earlier commit may have another name for the images.
    tag=$(compose config --images "$1") || return 1
    docker tag "$2" "$tag" || return 1
    # A concurrent `docker compose up` makes one of the two commands fail: retry.
    until output=$(compose up -d --no-deps --no-build --quiet-pull "$1" 2>&1); do
        ((++attempts < 4)) || { log "docker compose up $1: $output"; return 1; }
        wait_seconds 2
    done
    wait_until_ready "$1"
}

# Run the image's health check at once: Docker would run it ten seconds later.
is_ready() { docker exec "$1" python -m app.service.healthcheck >/dev/null 2>&1; } # CONTAINER

is_slot_ready() { is_ready "$(get_container "$1")"; } # SLOT

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
    tag_image "$(get_state .stable_image)" canary || log "the tag of the canary could not be moved"
    wait_until_definitions_written "{\"canary\": $(get_definition canary | jq -c '.scale = 0')}"
    compose rm --stop --force canary >/dev/null 2>&1
}

# Docker would restart it forever, and NGINX would send requests to it after each restart.
stop_slot() { compose stop --timeout 5 "$1" >/dev/null 2>&1 || true; } # SLOT

is_canary_empty() { [[ $(get_definition canary) == *'"scale":0'* ]]; }

# Stop the canary if it runs the candidate. `docker compose up` starts it again, which the callers do later.
stop_candidate() {
    local container
    container=$(get_container canary) || true
    # Also where Docker Compose rejects its configuration.
    [[ -n $container ]] || container=$(docker ps --quiet --filter label=com.docker.compose.service=canary \
        --filter "label=com.docker.compose.project.working_dir=$PWD")
    [[ -n $container && $(docker inspect --format '{{.State.Running}} {{.Image}}' "$container") == \
        "true $(get_state .candidate_image)" ]] || return 0
    log "stopping the canary"
    docker stop "$container" >/dev/null || log "the canary could not be stopped"
}
