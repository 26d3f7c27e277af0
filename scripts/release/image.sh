# shellcheck shell=bash
# The image of a version: built apart, tried out alone, and removed when it is no longer needed.

# What would be built: the tracked files an image is made of, and the model. Two commits with the
# same content are the same version to us.
content_of_tree() {
    {
        git ls-tree -r HEAD -- app requirements data/sample params.yaml pyproject.toml version.txt
        [[ ! -e model/lists/manifest.json ]] || jq -r .model_hash model/lists/manifest.json
    } | sha256sum | cut -c1-64
}

tree_is_clean() {
    [[ -z $(git status --porcelain -- app requirements data/sample params.yaml pyproject.toml version.txt) ]]
}

model_says() { # JQ-PATH
    if [[ -e model/lists/manifest.json ]]; then
        jq -r "$1 // \"unknown\"" model/lists/manifest.json
    else
        echo unknown
    fi
}

# Built under a name of its own: `docker compose up -d` during the build changes no slot.
build_candidate() {
    local name
    name=$(image_name)
    MARQUEE_IMAGE=$name-candidate MARQUEE_COMMIT=$(field .commit) \
        MARQUEE_VERSION_NUMBER=$(field .version) MARQUEE_DATA_HASH=$(model_says .data.data_hash) \
        MARQUEE_MODEL_HASH=$(model_says .model_hash) \
        docker compose --progress plain build canary >"$HOME_OF_RELEASES/build.log" 2>&1 ||
        { tail -n 20 "$HOME_OF_RELEASES/build.log" >&2; return 1; }
    image_of_tag "$name-candidate:canary"
}

# Alone, without a network, as contained as a slot: the hashes of its model, then a few answers.
smoke_test() { # IMAGE; prints the version it serves
    local alone container verified version outcome=0
    # shellcheck disable=SC2054 # the comma is tmpfs's
    alone=(--network=none --read-only --tmpfs=/tmp:size=32m,mode=1777 --cap-drop=ALL
        --security-opt=no-new-privileges:true --memory=512m --env=MARQUEE_PROVENANCE_ENABLED=false)
    verified=$(docker run --rm "${alone[@]}" "$1" marquee verify --json) || return 1
    version=$(jq -er .lists.version <<<"$verified") || return 1
    container=$(compose config --format json | jq -r .name)-smoke-test
    docker rm --force "$container" >/dev/null 2>&1 || true
    docker run --detach --name "$container" "${alone[@]}" "$1" >/dev/null || return 1
    docker exec --interactive "$container" python - "$version" <scripts/release/smoke_test.py >&2 || outcome=1
    ((outcome == 0)) || docker logs --tail 20 "$container" >&2
    docker rm --force "$container" >/dev/null
    ((outcome == 0)) && echo "$version"
}

tags_of_builds() { # newest first
    docker image ls --format '{{.Tag}}' "$1" | grep -E '^[0-9]+-[0-9a-f]{12}$' || true
}

forget_build() { # BUILD: no tag stays on an image that must not run
    local name
    name=$(image_name)
    docker image rm "$name:$1" >/dev/null 2>&1 || true
}

prune_images() {
    local name tag image kept=0 needed
    name=$(image_name)
    needed=$(for tag in stable previous stable-1 stable-2 canary; do image_of_tag "$name:$tag" || true; done
        docker ps --all --quiet | xargs -r docker inspect --format '{{.Image}}')
    while read -r tag; do
        [[ -n $tag ]] || continue
        image=$(image_of_tag "$name:$tag") || continue
        if grep -qF "$image" <<<"$needed"; then continue; fi
        ((++kept > RELEASE_KEPT_IMAGES)) || continue
        say "removing the image of build $tag"
        docker image rm "$name:$tag" >/dev/null 2>&1 || true
    done < <(tags_of_builds "$name")
}
