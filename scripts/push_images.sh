#!/usr/bin/env bash
# Build the images of this tree's version for Kubernetes, push them, and print them by digest as values of the chart.
set -Eeuo pipefail

readonly TARGETS=(service provenance deployment release)

usage() {
    cat <<'EOF'
USAGE
  push_images.sh [--no-push] REPOSITORY

Builds REPOSITORY/service, /provenance, /deployment and /release of the committed tree, with the model in `model`
if there is one, pushes them with the tag <version>-<commit>, and prints them with digests as values of the chart
(kubernetes/values.yaml). `docker login` first. The image `service` is what a release is given:

  kubectl exec deployment/marquee-release -- canary_release.sh start REPOSITORY/service@sha256:...

OPTIONS
  --no-push    only build; prints the names with tags
  -h, --help   show this help

ENVIRONMENT
  MARQUEE_BUILD_CA       additional certificate authorities for package sources (app/build-ca.pem)
  MARQUEE_BUILD_NETWORK  network of the build steps (default)

EXAMPLES
  scripts/push_images.sh registry.example.org/team/marquee >images.yaml

EXIT STATUS
  0  built and pushed
  1  failed (reason on standard error)
  2  invalid arguments
EOF
}

build_image() { # TARGET NAME:TAG REPOSITORY
    local file=app/Dockerfile
    [[ $1 != release ]] || file=kubernetes/Dockerfile # on the image `deployment` of the same commit
    log "building $2"
    docker buildx build --quiet --load --file "$file" --target "$1" --tag "$2" --build-arg "DEPLOYMENT=$3/deployment:${2##*:}" \
        --network "${MARQUEE_BUILD_NETWORK:-default}" --secret "id=build_ca,src=${MARQUEE_BUILD_CA:-app/build-ca.pem}" \
        --build-arg "COMMIT=$(git rev-parse HEAD)" --build-arg "VERSION_NUMBER=$(<version.txt)" \
        --build-arg "DATA_HASH=$(get_manifest .data.data_hash)" --build-arg "MODEL_HASH=$(get_manifest .model_hash)" . >&2
}

main() {
    local target name reference push=yes
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    # shellcheck source=scripts/lib.sh
    source scripts/lib.sh
    # shellcheck source=scripts/release/sources.sh
    source scripts/release/sources.sh
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    [[ ${1-} != --no-push ]] || { push=no; shift; }
    [[ ${1-} =~ ^[^-[:space:]@][^[:space:]@]*$ ]] || usage_error "which repository?"
    reject_arguments "${@:2}"
    check_version
    require_committed "${SOURCES[@]}" kubernetes monitoring scripts # which the images beside `service` contain
    echo "images:"
    for target in "${TARGETS[@]}"; do
        name=$1/$target:$(<version.txt)-$(git rev-parse --short=12 HEAD)
        build_image "$target" "$name" "$1"
        if [[ $push == yes ]]; then
            docker push --quiet "$name" >&2
            # An image may have been pushed to other repositories, too.
            reference=$(docker image inspect "$name" | jq -er --arg name "$1/$target@" \
                '.[0].RepoDigests[] | select(startswith($name))') || fail "the registry gave $name no digest"
            name=$reference
        fi
        echo "  $target: $name"
    done
}

main "$@"
