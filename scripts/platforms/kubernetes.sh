# shellcheck shell=bash disable=SC2016,SC2034 # variables in single quotes are jq's; others use the constants
# Kubernetes: images into slots, one slot at a time. A slot is a Deployment, which is made of the definition in the
# chart's ConfigMap (kubernetes/templates/slots.yaml), and an image by digest. Helm neither creates nor changes it.
# An image is not built here: it is given to `start`, and says itself which version and commit it is.

readonly REQUIRED_COMMANDS=(kubectl jq curl flock)
readonly TAGS_DIR=$STATE_DIR/tags # the image of record, and the one to roll back to
readonly SOURCE_FILE=$STATE_DIR/source.json
readonly PLACED_FILE=$STATE_DIR/placed # exists when all slots have been ready once
readonly KUBERNETES_ATTEMPTS=4
readonly REPAIR_ADVICE="repair it first (kubectl describe deployment)"
readonly DEFINITIONS_ERROR="the ConfigMap with the slots' definitions cannot be read"
readonly JQ_BUILD='.spec.template.spec.containers[0].env | from_entries
    | {build_id: .MARQUEE_BUILD_ID, image_digest: .MARQUEE_IMAGE_DIGEST}'
IMAGE_NAME=$RELEASE_KUBERNETES_NAME

kube() { kubectl --namespace "$RELEASE_KUBERNETES_NAMESPACE" --request-timeout=20s "$@"; }

object() { echo "$RELEASE_KUBERNETES_NAME-$1"; } # NAME

load_stack() {
    mkdir -p "$TAGS_DIR" "${METRICS_FILE%/*}"
    load_prometheus_url
}

require_platform() {
    kube get configmap "$(object slots)" >/dev/null 2>&1 ||
        fail "the API server of Kubernetes does not respond; the release is resumed when it does"
}

check_platform() { kube get configmap "$(object slots)" >/dev/null || fail "$DEFINITIONS_ERROR"; }

get_published_prometheus() { echo "http://$(object prometheus):9090"; }

# -- images: names with digests --------------------------------------------------------------------

get_tagged() { cat "$TAGS_DIR/$1" 2>/dev/null; } # TAG

tag_image() { [[ -n $1 ]] && write_file "$TAGS_DIR/$2" "$1"; } # IMAGE TAG

image_exists() { [[ -n $1 ]]; } # IMAGE; whether a node can pull it shows when it is placed

check_source() { # IMAGE; finds out its version and commit
    local source
    [[ ${1-} =~ ^[^[:space:]@]+@sha256:[0-9a-f]{64}$ ]] || usage_error "start: not an image with a digest: ${1-}"
    log "reading the version of $1"
    source=$(run_image "$1" inspect "$(read_definitions)") || fail "$1 cannot be run"
    write_file "$SOURCE_FILE" "$(jq -c --arg image "$1" '. + {content_hash: ($image | sub(".*@sha256:"; "")), given_image: $image}' \
        <<<"$source")" || fail "cannot write $SOURCE_FILE: $WRITE_ERROR"
}

describe_source() { # release|rollback
    if [[ $1 == release ]]; then cat "$SOURCE_FILE"; else echo '{"version": "previous", "commit": "unknown"}'; fi
}

describe_next_source() { echo "another image"; }

build_candidate() { get_state .given_image; }

prepare_tree() { true; } # the code of releases is that of this image
in_release_tree() { true; }
continue_in_tree() { true; }
remove_tree() { true; }
keep_build() { true; } # the registry keeps images
remove_build_tag() { true; }

prune_images() {
    update_state '.images |= with_entries(select(.key | IN($stable, $previous)))' --arg stable "$(get_tagged stable)" \
        --arg previous "$(get_tagged previous || true)"
}

smoke_test() { # IMAGE; prints its version
    run_image "$1" test "$(get_definitions .definitions)" | jq -er .version
}

# Run an image in a pod that gets no traffic, with a slot's restrictions and without its volumes. Prints a JSON object
# with the version, the commit and the hash of the model.
run_image() { # IMAGE inspect|test DEFINITIONS
    local pod name state='' deadline status=1
    name=$(object smoke-test)
    pod=$(build_pod "$name" "$@") || return 1
    deadline=$(($(now) + $(duration_seconds "$RELEASE_READINESS_TIMEOUT")))
    until kube create --validate=false --filename - <<<"$pod" >/dev/null 2>&1; do # until that of an earlier run is gone
        (($(now) < deadline)) || { log "the pod $name cannot be created"; return 1; }
        delete_pod "$name"
        wait_seconds 1
    done
    # The container `test` ends; the other one serves.
    until [[ -n $state ]] || (($(now) >= deadline)); do
        wait_seconds 1
        pod=$(kube get pod "$name" --output json) || pod='{}'
        state=$(jq -c '.status | (.containerStatuses[]? | select(.name == "test").state.terminated),
            (select(.phase == "Failed") | {reason: (.reason // "Failed")}) | values' <<<"$pod" | head -1)
    done
    if [[ $(jq -r '.reason // empty' <<<"$state") == Completed ]]; then
        jq -er '.message | fromjson' <<<"$state" && status=0
    else
        log "the pod $name: $(jq -r '.status | .phase, (.containerStatuses[]?.state[] | .reason, .message) | strings' <<<"$pod" | tr '\n' ' ')"
        kube logs --all-containers --tail=20 "$name" >&2 || true
    fi
    delete_pod "$name"
    return "$status"
}

delete_pod() { kube delete pod "$1" --ignore-not-found --wait=false --grace-period=0 --force >/dev/null 2>&1 || true; } # NAME

# Print the pod: the container `test` verifies the model, and requests recommendations from the container `service`.
build_pod() { # NAME IMAGE inspect|test DEFINITIONS
    jq -c --arg name "$1" --arg image "$2" --arg mode "$3" --argjson owner "$(read_owner canary)" \
        --rawfile test "$CODE_DIR/scripts/release/smoke_test.py" --rawfile script "$CODE_DIR/scripts/release/run_image.sh" '
        .canary | .spec.template.spec as $spec
        | ($spec.containers[0] | {imagePullPolicy, securityContext, resources, image: $image,
            env: (.env | map(select(.name | IN("MARQUEE_PROVENANCE_ENABLED", "MARQUEE_RECENT_ENABLED") | not))
                + [{name: "MARQUEE_PROVENANCE_ENABLED", value: "false"}, {name: "MARQUEE_RECENT_ENABLED", value: "false"}]),
            volumeMounts: [.volumeMounts[] | select(.name == "tmp")]}) as $container
        | {apiVersion: "v1", kind: "Pod",
           metadata: {name: $name, namespace: .metadata.namespace, ownerReferences: [$owner],
               labels: (.spec.template.metadata.labels | with_entries(select(.key | startswith("app.")))
                   | .["app.kubernetes.io/component"] = "smoke-test")},
           spec: ($spec | del(.topologySpreadConstraints) | . + {restartPolicy: "Never", activeDeadlineSeconds: 600,
               terminationGracePeriodSeconds: 1, volumes: [$spec.volumes[] | select(.name == "tmp")],
               containers: ([$container + {name: "test", command: ["bash", "-c", $script, "run_image", $mode, $test]}]
                   + if $mode == "test" then [$container + {name: "service"}] else [] end)})}' <<<"$4"
}

# -- definitions -------------------------------------------------------------------------------------

# Print the definitions of all slots in the chart's ConfigMap as a JSON object.
read_definitions() {
    kube get configmap "$(object slots)" --output json | jq -c '.data | map_values(fromjson)'
}

read_slot() { kube get deployment "$(object "$1")" --ignore-not-found --output json; } # SLOT

# Print what is in force, without what the API server adds.
get_definition() { # SLOT
    read_slot "$1" | jq -c 'select(.kind) | {apiVersion, kind, metadata: (.metadata | {name, namespace, labels, ownerReferences}), spec}'
}

get_slot_image() { read_slot "$1" | jq -er '.spec.template.spec.containers[0].image'; } # SLOT

set_build() { # SLOT DEFINITIONS BUILD-ID IMAGE-DIGEST IMAGE; prints the definition of that slot
    jq -c --arg slot "$1" --arg build_id "${3:-unknown}" --arg digest "${4:-unknown}" --arg image "$5" '
        {MARQUEE_BUILD_ID: $build_id, MARQUEE_IMAGE_DIGEST: $digest} as $build
        | .[$slot] | .spec.template.spec.containers[0] |= (.image = $image
            | .env |= map(.value = ($build[.name] // .value)))' <<<"$2"
}

read_owner() { # SLOT; its Service, with which the chart removes the slot
    kube get service "$(object "$1")" --output json | jq -c '{apiVersion, kind, name: .metadata.name, uid: .metadata.uid}'
}

slots_are_pinned() {
    local slot
    for slot in "${SLOTS[@]}"; do [[ -n $(read_slot "$slot") ]] || return 1; done
}

# Create the slots that do not exist, with the image of the chart's values, and wait until they are ready.
pin_slots() {
    local slot definitions image
    local -a created=()
    definitions=$(read_definitions) || fail "$DEFINITIONS_ERROR"
    for slot in "${SLOTS[@]}"; do
        [[ -z $(read_slot "$slot") ]] || continue
        image=$(jq -r --arg slot "$slot" '.[$slot].spec.template.spec.containers[0].image' <<<"$definitions")
        log "creating $slot with $image"
        place "$slot" "$(set_build "$slot" "$definitions" unknown "${image##*@}" "$image")" || fail "$slot cannot be created"
        created+=("$slot")
    done
    [[ -e $PLACED_FILE ]] || created=("${SLOTS[@]}")
    for slot in "${created[@]}"; do wait_until_ready "$slot" || fail "$slot does not become ready"; done
    touch "$PLACED_FILE"
}

# -- slots -------------------------------------------------------------------------------------------

# Put an image into a slot and wait until the slot is ready. Idempotent: the API server compares, and pods
# with an equal definition stay. The number of pods is the slot's own, which an autoscaler may have set.
deploy_slot() { # SLOT IMAGE BUILD-ID IMAGE-DIGEST DEFINITIONS
    log "deploying build $3 to $1"
    place "$1" "$(set_build "$1" "$5" "$3" "$4" "$2")" && wait_until_ready "$1"
}

place() { # SLOT DEFINITION
    local attempts=0 output
    until output=$(try_to_place "$@" 2>&1); do
        ((++attempts < KUBERNETES_ATTEMPTS)) || { log "$1 cannot be changed: $output"; return 1; }
        wait_seconds 2
    done
}

# Create or replace a slot. Fails if another process has changed it since it was read.
try_to_place() { # SLOT DEFINITION
    local current
    current=$(read_slot "$1") || return 1
    if [[ -z $current ]]; then
        jq -c --argjson owner "$(read_owner "$1")" '.metadata.ownerReferences = [$owner] | del(.status)' <<<"$2" |
            kube create --validate=false --filename -
    else
        jq -c --argjson current "$current" '.metadata = $current.metadata
            | .spec.replicas = ([$current.spec.replicas, .spec.replicas, 1] | map(select(. > 0)) | first)' <<<"$2" |
            kube replace --validate=false --filename -
    fi
}

# Whether all pods of a slot have its definition and are ready.
is_slot_ready() { # SLOT
    read_slot "$1" | jq -e '.spec.replicas as $n | $n > 0 and .status.observedGeneration >= .metadata.generation
        and (.status | [.replicas, .updatedReplicas, .availableReplicas] | all(. == $n))' >/dev/null 2>&1
}

wait_until_ready() { # SLOT; fails early if a container of its definition restarts or cannot be started
    local deadline build problem='' pod
    deadline=$(($(now) + $(duration_seconds "$RELEASE_READINESS_TIMEOUT")))
    until is_slot_ready "$1"; do
        build=$(get_definition "$1" | jq -r "$JQ_BUILD | .build_id") || build=''
        problem=$(list_pods "$1" | jq -r --arg build "$build" '[.items[]
            | select(.metadata.deletionTimestamp | not)
            | select(.spec.containers[0].env | any(.name == "MARQUEE_BUILD_ID" and .value == $build))
            | .metadata.name as $pod | .status.containerStatuses[]?
            | select(.restartCount > 0 or ((.state.waiting.reason // "") | IN("ImagePullBackOff", "InvalidImageName",
                "CreateContainerConfigError", "CrashLoopBackOff")))
            | "\($pod) \(.state.waiting.reason // "restarted")"] | first // empty') || problem=''
        if [[ -n $problem ]] || (($(now) >= deadline)); then break; fi
        wait_seconds 1
    done
    ! is_slot_ready "$1" || return 0
    log "$1 is not ready (${problem:-not in time}); its last log lines:"
    pod=${problem%% *}
    [[ -n $pod ]] || pod=$(list_pods "$1" | jq -r '.items | sort_by(.metadata.creationTimestamp) | last | .metadata.name // empty')
    [[ -z $pod ]] || kube logs --tail=20 "$pod" >&2 || true
    return 1
}

list_pods() { kube get pods --selector "marquee/slot=$1,app.kubernetes.io/instance" --output json; } # SLOT

scale() { # SLOT PODS
    read_slot "$1" | jq -c --argjson pods "$2" '.spec.replicas = $pods' | kube replace --validate=false --filename - >/dev/null
}

remove_canary() { scale canary 0 || log "the canary could not be removed"; }

is_canary_empty() { [[ $(read_slot canary | jq '.spec.replicas') == 0 ]]; }

# The pods of the earlier definition serve until those of the new one are ready.
stop_slot() { true; } # SLOT

# Empty the canary if it runs the candidate.
stop_candidate() {
    [[ $(get_slot_image canary) == "$(get_state .candidate_image)" ]] || return 0
    log "stopping the canary"
    scale canary 0 || log "the canary could not be stopped"
}

can_place() { true; } # nothing of it is on this disk
