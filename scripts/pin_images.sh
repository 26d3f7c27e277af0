#!/usr/bin/env bash
# Pin the images of others by digest: IMAGE:TAG becomes IMAGE:TAG@sha256:... where it is used.
set -Eeuo pipefail

readonly FILES=(docker-compose.yml app/Dockerfile)
readonly IMAGE='[a-z0-9][a-z0-9./_-]*:[A-Za-z0-9._-]+' DIGEST='sha256:[0-9a-f]{64}'

usage() {
    cat <<'EOF'
USAGE
  pin_images.sh [--check]

Reads the digest of the tag of each image in docker-compose.yml and app/Dockerfile from its registry, and writes it
behind the tag, so that a tag that is moved changes nothing. Run it on a machine that reaches the registries, look
at the difference, and commit it. Digests that are there already are read again: that is the update. If a
registry does not answer, nothing is written. No digest comes from anywhere else.

OPTIONS
  --check      change nothing; exit with 1 if an image has no digest, or another than its registry has
  -h, --help   show this help

EXIT STATUS
  0  every image is pinned to the digest that its registry has
  1  one is not (--check), or a registry does not answer
  2  invalid arguments
EOF
}

# Print the images of others, without digests: those of our own have a variable for a name or no tag.
list_images() {
    sed -nE "s/^ +image: ($IMAGE)(@$DIGEST)?( *#.*)?$/\1/p; s/^FROM ($IMAGE)(@$DIGEST)?( AS .*)?$/\1/p" "${FILES[@]}" |
        sort -u
}

read_digest() { # IMAGE
    local digest
    digest=$(docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}') ||
        fail "the registry of $1 does not answer; nothing was changed"
    [[ $digest =~ ^$DIGEST$ ]] || fail "not a digest of $1: $digest; nothing was changed"
    echo "$digest"
}

main() {
    local image check=0 pattern
    local -A digests=()
    local -a script=()
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    # shellcheck source=scripts/lib.sh
    source scripts/lib.sh
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    if [[ ${1-} == --check ]]; then
        check=1
        shift
    fi
    reject_arguments "$@"
    while read -r image; do
        digests[$image]=$(read_digest "$image")
    done < <(list_images)
    ((${#digests[@]})) || fail "no image was found in ${FILES[*]}"
    for image in "${!digests[@]}"; do
        pattern=${image//./\\.}
        script+=(-e "s#^( +image: |FROM )$pattern(@$DIGEST)?( |\$)#\1$image@${digests[$image]}\3#")
    done
    if ((check)); then
        diff <(cat "${FILES[@]}") <(sed -E "${script[@]}" "${FILES[@]}") >&2 ||
            fail "images are not pinned to what their registries have"
    else
        sed -i -E "${script[@]}" "${FILES[@]}"
    fi
    log "${#digests[@]} images have the digests that their registries have"
}

main "$@"
