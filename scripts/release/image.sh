# shellcheck shell=bash disable=SC2016 # variables in single quotes are jq's
# The image of a version with Docker: check out its commit, build it, smoke-test it, remove old ones.

# shellcheck source=scripts/release/sources.sh
source "$CODE_DIR/scripts/release/sources.sh"

readonly TREE=$STATE_DIR/tree
readonly TREE_COMMIT_FILE=$STATE_DIR/tree_commit # exists while TREE is complete

# Hash of everything the image is built from, and of the slots' definitions. Two commits with the same
# hash are the same version.
compute_content_hash() {
    {
        git ls-tree -r HEAD -- "${SOURCES[@]}"
        read_definitions HEAD
        [[ ! -e $MODEL_MANIFEST ]] || jq -r .model_hash "$MODEL_MANIFEST"
    } | sha256sum | cut -c1-64
}

check_source() {
    reject_arguments "$@"
    check_version
    require_committed "${SOURCES[@]}"
}

# Print what a release of this tree, or a rollback, releases.
describe_source() { # release|rollback
    jq -n --arg version "$(<version.txt)" --arg commit "$(git rev-parse HEAD)" --arg content_hash "$(compute_content_hash)" \
        --arg model_hash "$(get_manifest .model_hash)" '$ARGS.named'
}

describe_next_source() { echo "commit $(git rev-parse HEAD)"; } # of the release that supersedes another

# Check out the commit of the release, with its model, in a directory of its own: a deployment that
# arrives during the release changes the clone. Idempotent.
prepare_tree() {
    local commit model_hash
    commit=$(get_state .commit)
    model_hash=$(get_state .model_hash)
    [[ ! -e $TREE_COMMIT_FILE || $(<"$TREE_COMMIT_FILE") != "$commit" ]] || return 0
    remove_tree
    git worktree add --quiet --force --detach "$TREE" "$commit" || return 1
    if [[ $(get_state .kind) == release && $model_hash != unknown ]]; then
        cp -a --reflink=auto model "$TREE" || return 1
        [[ -z $model_hash || $(get_manifest .model_hash "$TREE") == "$model_hash" ]] ||
            { log "the model in ${MODEL_MANIFEST%%/*} was replaced"; return 1; }
    fi
    write_file "$TREE_COMMIT_FILE" "$commit"
}

in_release_tree() { [[ $CODE_DIR -ef $TREE ]]; }

# Run a release with the code of its commit. Returns if that is this code, or of a version whose script runs in
# its own clone only.
continue_in_tree() {
    ! in_release_tree && prepare_tree && grep -q MARQUEE_CLONE "$TREE/scripts/canary_release.sh" || return 0
    MARQUEE_CLONE=$PWD exec "$TREE/scripts/canary_release.sh" resume
}

remove_tree() {
    rm -rf "$TREE_COMMIT_FILE" "$TREE"
    git worktree prune
}

# Build the tree under a separate image name. Prints the image id.
build_candidate() {
    local env_file=.env ca_file
    [[ -e $env_file ]] || env_file=/dev/null
    ca_file=$(compose config --format json | jq -r .secrets.build_ca.file) # an absolute path
    MARQUEE_IMAGE=$IMAGE_NAME-candidate MARQUEE_BUILD_CA=$ca_file MARQUEE_COMMIT=$(get_state .commit) \
        MARQUEE_VERSION_NUMBER=$(get_state .version) MARQUEE_DATA_HASH=$(get_manifest .data.data_hash "$TREE") \
        MARQUEE_MODEL_HASH=$(get_state .model_hash) \
        compose --project-directory "$TREE" --file "$TREE/docker-compose.yml" --env-file "$env_file" \
        --progress plain build canary >"$STATE_DIR/build.log" 2>&1 ||
        { tail -n 20 "$STATE_DIR/build.log" >&2; return 1; }
    get_image_id "$IMAGE_NAME-candidate:canary"
}

# Verify the hashes of the image's model, then request recommendations from a container of it without
# a network and with a slot's restrictions. Prints the version the container serves.
smoke_test() { # IMAGE
    local options container manifests version status=0
    # shellcheck disable=SC2054 # the comma is part of tmpfs's options
    options=(--network=none --read-only --tmpfs=/tmp:size=32m,mode=1777 --cap-drop=ALL
        --security-opt=no-new-privileges:true --memory=512m --env=MARQUEE_PROVENANCE_ENABLED=false)
    manifests=$(docker run --rm "${options[@]}" "$1" marquee verify --json) || return 1
    version=$(jq -er .lists.version <<<"$manifests") || return 1
    container=$(compose config --format json | jq -r .name)-smoke-test
    docker rm --force "$container" >/dev/null 2>&1 || true
    docker run --detach --name "$container" "${options[@]}" "$1" >/dev/null || return 1
    docker exec --interactive "$container" python - "$version" <"$CODE_DIR/scripts/release/smoke_test.py" >&2 || status=1
    ((status == 0)) || docker logs --tail 20 "$container" >&2
    docker rm --force "$container" >/dev/null
    ((status == 0)) && echo "$version"
}

keep_build() { # IMAGE BUILD-ID
    tag_image "$1" "$2"
    docker image rm "$IMAGE_NAME-candidate:canary" >/dev/null 2>&1 || true
}

list_build_ids() { # newest first
    docker image ls --format '{{.Tag}}' "$IMAGE_NAME" | grep -E '^[0-9]+-[0-9a-f]{12}$' || true
}

remove_build_tag() { # BUILD-ID; an image that must not run keeps no tag
    docker image rm "$IMAGE_NAME:$1" >/dev/null 2>&1 || true
}

# Remove the images of old builds, except the newest ones and those that are tagged or running.
prune_images() {
    local tag build_id image kept=0 needed
    needed=$(for tag in stable previous stable-1 stable-2 canary; do get_image_id "$IMAGE_NAME:$tag" || true; done
        # A container that is removed meanwhile is an error of inspect, which prints the others.
        docker ps --all --quiet | xargs -r docker inspect --format '{{.Image}}' 2>/dev/null || true)
    while read -r build_id; do
        [[ -n $build_id ]] || continue
        image=$(get_image_id "$IMAGE_NAME:$build_id") || continue
        if grep -qF "$image" <<<"$needed"; then continue; fi
        ((++kept > RELEASE_KEPT_IMAGES)) || continue
        log "removing the image of build $build_id"
        remove_build_tag "$build_id"
    done < <(list_build_ids)
    forget_removed_images
}

# Drop what the state file holds of images that no longer exist, so that it does not grow.
forget_removed_images() {
    local existing
    existing=$(jq_state -r '.images | keys[]' | while read -r image; do get_image_id "$image" || true; done |
        jq -Rn '[inputs]')
    update_state '.images |= with_entries(select(.key | IN($existing[])))' --argjson existing "$existing"
}
