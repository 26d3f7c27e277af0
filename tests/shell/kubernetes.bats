# canary_release.sh on Kubernetes: kubectl and Prometheus are fakes (tests/shell/fakes). What is shared with Docker
# Compose is tested in canary_release.bats and supervise.bats.

load fakes/setup.bash
bats_require_minimum_version 1.5.0

setup() {
    setup_fakes
    OLD_IMAGE=registry.example/marquee@$OLD_IMAGE
    export NEW_IMAGE=registry.example/marquee@$NEW_IMAGE
    ln -s "$root/tests/shell/fakes/kubectl" "$FAKES/bin"
    export RELEASE_PLATFORM=kubernetes RELEASE_READINESS_TIMEOUT=60s MARQUEE_CLONE=$BATS_TEST_TMPDIR/work
    mkdir -p "$FAKES/kube/deployment" "$FAKES/kube/pod" "$MARQUEE_CLONE/monitoring/release"
    jq -n --arg image "$OLD_IMAGE" '["stable-1", "stable-2", "canary"] | map({(.): ({apiVersion: "apps/v1", kind: "Deployment",
        metadata: {name: "marquee-\(.)", namespace: "default", labels: {"marquee/slot": .}}, spec: {replicas: 2,
          selector: {matchLabels: {"marquee/slot": .}}, template: {
            metadata: {labels: {"app.kubernetes.io/name": "marquee", "app.kubernetes.io/component": "slot"}},
            spec: {securityContext: {runAsNonRoot: true}, volumes: [{name: "spool"}, {name: "tmp"}],
              containers: [{name: "slot", image: $image, resources: {}, securityContext: {}, imagePullPolicy: "IfNotPresent",
                env: [{name: "MARQUEE_SLOT", value: .}, {name: "MARQUEE_BUILD_ID", value: "unknown"},
                      {name: "MARQUEE_IMAGE_DIGEST", value: "unknown"}],
                volumeMounts: [{name: "spool"}, {name: "tmp"}]}]}}}} | tojson)}) | add' >"$FAKES/kube/slots"
}

release() { run --separate-stderr scripts/canary_release.sh "$@"; }
image() { jq -r '.spec.template.spec.containers[0].image' "$FAKES/kube/deployment/marquee-$1"; }        # SLOT
variable() { jq -r --arg name "$2" '.spec.template.spec.containers[0].env[] | select(.name == $name).value' "$FAKES/kube/deployment/marquee-$1"; } # SLOT NAME
replicas() { jq .spec.replicas "$FAKES/kube/deployment/marquee-$1"; }                                   # SLOT
state() { jq -r "$1" "$MARQUEE_CLONE/data/release/state.json"; }                                        # JQ-PATH
notified() { grep -q -- "$1" "$FAKES/notifications"; }

@test "pin: creates the slots from the chart's definitions, owned by their Services, and leaves existing ones" {
    release pin
    [[ $status == 0 ]]
    [[ $(image canary) == "$OLD_IMAGE" && $(replicas stable-1) == 2 ]]
    [[ $(jq -r '.metadata.ownerReferences[0] | "\(.kind) \(.uid)"' "$FAKES/kube/deployment/marquee-stable-2") == "Service uid-marquee-stable-2" ]]
    [[ $(variable stable-1 MARQUEE_IMAGE_DIGEST) == "sha256:${OLD_IMAGE##*:}" ]]
    changes=$(<"$FAKES/changes")
    release pin
    [[ $status == 0 && $(<"$FAKES/changes") == "$changes" ]]
}

@test "start: releases an image by digest through the same phases, and rollback goes back" {
    release pin
    release start "$NEW_IMAGE"
    [[ $status == 0 && $(state .outcome) == promoted && $(state .commit) == c0ffee ]]
    [[ $(image stable-1) == "$NEW_IMAGE" && $(image stable-2) == "$NEW_IMAGE" && $(image canary) == "$NEW_IMAGE" ]]
    [[ $(variable canary MARQUEE_BUILD_ID) == 2-000000000000 && $(variable canary MARQUEE_SLOT) == canary ]]
    [[ $(jq -r 'select(.event == "phase_started").phase' "$MARQUEE_CLONE"/data/release/history/*.jsonl | tr '\n' ' ') == \
        "verifying deploying analyzing promoting finalizing completed " ]]
    [[ $(tail -n +4 "$FAKES/changes" | cut -d' ' -f1 | tr '\n' ' ') == "canary stable-1 stable-2 canary " ]]
    [[ $(<"$FAKES/smoke_tests") == "inspect $NEW_IMAGE"$'\n'"test $NEW_IMAGE" && ! -e $FAKES/kube/pod/marquee-smoke-test ]]
    notified "Successfully deployed new model: version 2"
    release start "$NEW_IMAGE"
    [[ $status == 0 && $stderr == *"already in service"* ]]
    release rollback
    [[ $status == 0 && $(image stable-1) == "$OLD_IMAGE" && $(image canary) == "$OLD_IMAGE" ]]
}

@test "start: a bad canary is aborted, and rejected until --again" {
    release pin
    echo slow >"$FAKES/prometheus"
    release start "$NEW_IMAGE"
    [[ $status == 1 && $(state .outcome) == aborted && $(image canary) == "$OLD_IMAGE" && $(image stable-1) == "$OLD_IMAGE" ]]
    release start "$NEW_IMAGE"
    [[ $status == 1 && $stderr == *"already rejected"* ]]
    echo good >"$FAKES/prometheus"
    release start --again "$NEW_IMAGE"
    [[ $status == 0 && $(image stable-2) == "$NEW_IMAGE" ]]
}

@test "start: an image without a digest is refused, and one that fails its smoke test reaches no slot" {
    release pin
    for arguments in "" "marquee:1" "$NEW_IMAGE $NEW_IMAGE"; do
        # shellcheck disable=SC2086 # several words
        release start $arguments
        [[ $status == 2 ]]
    done
    SMOKE_FAILS=1 release start "$NEW_IMAGE"
    [[ $status == 1 && $(state .reason) == "the image failed its smoke test" && $(wc -l <"$FAKES/changes") == 3 ]]
}

@test "a slot that does not become ready is restored, and says why" {
    release pin
    echo stable-2 >"$FAKES/unready_slots"
    release start "$NEW_IMAGE"
    [[ $status == 1 && $(state .outcome) == failed && $stderr == *"stable-2 is not ready (marquee-stable-2-pod restarted)"* ]]
    [[ $(image stable-1) == "$OLD_IMAGE" && $(image stable-2) == "$OLD_IMAGE" && $(image canary) == "$OLD_IMAGE" ]]
    [[ $stderr == *"the log of marquee-stable-2-pod"* ]]
}

@test "the number of pods is the slot's own, and a changed definition arrives with a release" {
    release pin
    jq '.spec.replicas = 5' "$FAKES/kube/deployment/marquee-stable-1" >"$FAKES/new" && mv "$FAKES/new" "$FAKES/kube/deployment/marquee-stable-1"
    jq 'map_values(fromjson | .spec.template.spec.containers[0].env += [{name: "MARQUEE_WORKERS", value: "3"}] | tojson)' \
        "$FAKES/kube/slots" >"$FAKES/new" && mv "$FAKES/new" "$FAKES/kube/slots"
    [[ $(variable stable-1 MARQUEE_WORKERS) == "" ]]
    CONFLICT=1 release start "$NEW_IMAGE"
    [[ $status == 0 && $(replicas stable-1) == 5 && $(replicas canary) == 2 ]]
    [[ $(variable stable-1 MARQUEE_WORKERS) == 3 && -e $FAKES/conflicted ]]
}

@test "RELEASE_ON_ABORT=empty: the canary has no pods after an abort, and the next release places it again" {
    release pin
    echo slow >"$FAKES/prometheus"
    RELEASE_ON_ABORT=empty release start "$NEW_IMAGE"
    [[ $status == 1 && $(replicas canary) == 0 ]]
    grep -q 'marquee_release_slot_empty{slot="canary"} 1' "$MARQUEE_CLONE/monitoring/release/release.prom"
    echo good >"$FAKES/prometheus"
    release start --again "$NEW_IMAGE"
    [[ $status == 0 && $(replicas canary) == 2 ]]
}

@test "supervise: a release that is killed is resumed; in each phase in the long form" {
    release pin
    for phase in $(! is_soak || echo verifying deploying finalizing) analyzing promoting; do
        rm -rf "$MARQUEE_CLONE/data/release" "$FAKES"/kube/deployment/*
        release pin
        echo "$phase" >"$FAKES/kill_in"
        run scripts/canary_release.sh start "$NEW_IMAGE"
        [[ $(state .phase) == "$phase" ]]
        release supervise
        [[ $status == 0 && $(state .outcome) == promoted && $(image stable-2) == "$NEW_IMAGE" ]]
    done
}

@test "supervise: waits where the API server does not respond" {
    release pin
    echo analyzing >"$FAKES/kill_in"
    run scripts/canary_release.sh start "$NEW_IMAGE"
    touch "$FAKES/api_down"
    release supervise
    [[ $status == 1 && $stderr == *"the API server of Kubernetes does not respond"* && $(state .phase) == analyzing ]]
    rm "$FAKES/api_down"
    release supervise
    [[ $status == 0 && $(state .outcome) == promoted ]]
}

@test "deploy.sh: upgrades the chart with the images, then starts the release in the cluster" {
    cp "$root/scripts/deploy.sh" scripts
    printf '#!/bin/sh\necho "$*" >>"$FAKES/helm"\n' >"$FAKES/bin/helm"
    chmod +x "$FAKES/bin/helm"
    printf 'images:\n  service: %s\n  release: r@sha256:1\n' "$NEW_IMAGE" >images.yaml
    unset MARQUEE_CLONE
    run --separate-stderr scripts/deploy.sh images.yaml
    [[ $status == 0 && $(<"$FAKES/helm") == "upgrade marquee kubernetes --namespace default --reset-then-reuse-values --values images.yaml "* ]]
    [[ $(<"$FAKES/executed") == "/srv/marquee/scripts/deploy.sh --release $NEW_IMAGE" ]]
    printf 'images:\n  service: marquee:1\n' >images.yaml
    run --separate-stderr scripts/deploy.sh images.yaml
    [[ $status == 1 && $stderr == *"names no image"* && $(wc -l <"$FAKES/helm") == 1 ]]
    run --separate-stderr scripts/deploy.sh
    [[ $status == 2 ]]
}

@test "deploy.sh --release: starts the release in the background" {
    cp "$root/scripts/deploy.sh" scripts
    scripts/canary_release.sh pin
    run --separate-stderr scripts/deploy.sh --release "$NEW_IMAGE"
    [[ $status == 0 && $stderr == *"has started"* ]]
    cd "$MARQUEE_CLONE"
    wait_until is_in completed
    [[ $(image stable-1) == "$NEW_IMAGE" ]]
}
