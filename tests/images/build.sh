#!/usr/bin/env bash
# Build stand-in images under the tags of docker-compose.yml, for machines without a registry.
set -Eeuo pipefail
trap 'echo "build.sh: ${FUNCNAME[0]:-main} failed at line ${LINENO}" >&2' ERR

readonly LABEL=org.marquee.standin

usage() {
    cat <<'EOF'
USAGE
  build.sh [NAME...]

Builds the stand-in images NAME, by default all in tests/images/images.env. An image whose inputs
have not changed is not rebuilt, and a tag of an original image is never replaced. Logs are written
to build/images/NAME.log. Needs Docker with buildx, debootstrap, and root (or sudo) for debootstrap.

ENVIRONMENT
  JOBS           images built in parallel (2)
  BUILD_NETWORK  network of the build steps (default; host where bridge networks have no access)

EXAMPLES
  build.sh
  build.sh nginx kafka

EXIT STATUS
  0 every image exists, 1 a build failed (the end of its log is printed), 2 wrong usage
EOF
}

tag_of() { sed -n "s/^$1=//p" "$HERE/images.env"; }
names() { sed -n 's/^\([a-z-]*\)=.*/\1/p' "$HERE/images.env"; }

# Print a hash of all that an image is built from: its directory, its tag and its base image.
hash_inputs() {
    {
        tag_of "$1"
        cat "$HERE/debian.sh"
        if [[ -d $HERE/$1 ]]; then
            (cd "$HERE/$1" && find . -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum)
        fi
    } | sha256sum | cut -c 1-16
}

label_of() { docker image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null; }

# Print why an image need not be built; fail when it must be.
skip_reason() {
    local tag=$1 inputs=$2
    docker image inspect "$tag" >/dev/null 2>&1 || return 1
    if [[ $(label_of "$tag" "$LABEL") != true ]]; then
        echo "original image, kept"
    elif [[ $(label_of "$tag" "$LABEL.inputs") == "$inputs" ]]; then
        echo "up to date"
    else
        return 1
    fi
}

build_debian() {
    local as_root=()
    PATH=$PATH:/usr/sbin command -v debootstrap ||
        { echo "debootstrap is missing: scripts/install_system.sh images installs it"; return 1; }
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" "$HERE/debian.sh" "$(tag_of debian)" "$LABEL=true" "$LABEL.inputs=$1"
}

build_on_debian() {
    local name=$1 inputs=$2 variable arguments=() tag
    tag=$(tag_of "$name")
    for variable in http_proxy https_proxy no_proxy; do
        [[ -z ${!variable:-} ]] || arguments+=(--build-arg "$variable")
    done
    docker buildx build --builder default --load --progress plain --provenance=false \
        --network "${BUILD_NETWORK:-default}" "${arguments[@]}" \
        --build-arg "VERSION=$(sed 's/.*:v\{0,1\}//; s/-.*//' <<<"$tag")" \
        --secret "id=apt,src=$SECRETS/apt.sources" --secret "id=ca,src=$SECRETS/ca.crt" \
        --secret "id=clients,src=$SECRETS/clients" --secret "id=maven,src=$SECRETS/maven.xml" \
        --label "$LABEL=true" --label "$LABEL.inputs=$inputs" --tag "$tag" "$HERE/$name"
}

build_one() {
    local name=$1 tag inputs why old start=$SECONDS log=$LOGS/$1.log
    tag=$(tag_of "$name")
    inputs=$(hash_inputs "$name")
    if ! why=$(skip_reason "$tag" "$inputs"); then
        mkdir -p "$LOGS"
        echo "==> building $tag" >&2
        old=$(docker image inspect --format '{{.Id}}' "$tag" 2>/dev/null || true)
        if [[ $name == debian ]]; then build_debian "$inputs"; else build_on_debian "$name" "$inputs"; fi \
            >"$log" 2>&1 || { tail -n 12 "$log" >&2; echo "build.sh: $tag failed, see $log" >&2; exit 1; }
        why="built in $((SECONDS - start)) s"
        [[ -z $old ]] || docker rmi "$old" >/dev/null 2>&1 || true # kept while a container uses it
    fi
    printf '%-42s %6d MB  %s\n' "$tag" \
        "$(($(docker image inspect --format '{{.Size}}' "$tag") / 1000000))" "$why"
}

build_all() {
    local name
    SECRETS=$(mktemp -d)
    export SECRETS
    trap 'rm -rf "$SECRETS"' EXIT
    "$HERE/build_secrets.sh" "$SECRETS"
    build_one debian
    for name in "$@"; do
        [[ $name == debian ]] || printf '%s\n' "$name"
    done | xargs -r -P "${JOBS:-2}" -I NAME "$0" --one NAME
}

main() {
    local name chosen=()
    HERE=$(cd "$(dirname "$0")" && pwd)
    LOGS=$HERE/../../build/images
    case ${1:-} in
        --help) usage; exit 0 ;;
        --one) build_one "$2"; exit 0 ;; # run by build_all
    esac
    for name in "$@"; do
        [[ -n $(tag_of "$name") ]] || { usage >&2; exit 2; }
        chosen+=("$name")
    done
    ((${#chosen[@]})) || mapfile -t chosen < <(names)
    build_all "${chosen[@]}"
}

main "$@"
