# shellcheck shell=bash disable=SC2016,SC2153 # what looks like a variable of the shell is one of jq
# Before anything is changed: is everything there, and may this version be tried?

preflight() { # AGAIN
    local slot free version
    say "looking whether a release can begin"
    [[ -w $HOME_OF_RELEASES && -w ${METRICS%/*} ]] || fail "$HOME_OF_RELEASES or ${METRICS%/*} cannot be written"
    tree_is_clean || fail "files that an image is made of are changed and not committed (git status)"
    version=$(<version.txt)
    [[ $version =~ ^[0-9]+$ ]] || fail "version.txt does not hold a number"
    prometheus_answers || fail "Prometheus does not answer at $RELEASE_PROMETHEUS_URL: nothing could be judged"
    for slot in stable-1 stable-2; do
        answers "$(container_of "$slot")" || fail "$slot does not answer; mend the stack first (docker compose up -d --wait)"
    done
    free=$(df --output=avail --block-size=1M "$(docker info --format '{{.DockerRootDir}}')" | tail -1)
    ((free >= RELEASE_MIN_FREE_DISK_MB)) || fail "only ${free// /} MiB of disk are free, $RELEASE_MIN_FREE_DISK_MB are needed (docker system df)"
    [[ $1 == yes ]] || worth_trying
}

# Neither what was given up before, nor what is in service already (a commit to the documentation).
worth_trying() {
    local before content
    [[ -e $STATE ]] || return 0
    content=$(content_of_tree)
    if [[ $(field ".images[\"$(image_of_tag "$(image_name):stable")\"].content") == "$content" ]]; then
        say "this very version is in service: nothing to release"
        exit 0
    fi
    before=$(jq -r --arg content "$content" '[.refused[]? | select(.content == $content)] | last
        | select(.) | "\(.time | strflocaltime("%F %T")): \(.reason)"' "$STATE")
    [[ -z $before ]] || fail "this very version was given up before ($before); start --again tries it all the same"
}

begin() { # KIND [IMAGE]
    local name before='{}' image=${2-} phase=building state
    name=$(image_name)
    image_of_tag "$name:stable" >/dev/null || docker tag "$(image_of_slot stable-1)" "$name:stable"
    [[ ! -e $STATE ]] || before=$(<"$STATE")
    [[ $1 == release ]] || phase=testing
    rm -f "$ORDER_FILE"
    state=$(jq -n --arg kind "$1" --arg phase "$phase" --arg image "$image" --argjson before "$before" \
        --arg version "$(<version.txt)" --arg commit "$(git rev-parse HEAD)" \
        --arg content "$(content_of_tree)" --arg stable "$(image_of_tag "$name:stable")" \
        --argjson slots "$(slots_as_json)" --argjson now "$(epoch)" --arg by "$(id -un)" '
        ($before.images // {} | .[$stable] //= ($slots["stable-1"] | {build, digest})) as $images
        | {id: "\($now | strftime("%Y%m%dT%H%M%SZ"))-\(if $kind == "release" then "v\($version)" else $kind end)",
           kind: $kind, phase: $phase, since: $now, started: $now, by: $by,
           version: $version, commit: $commit, content: $content, stable: $stable, slots: $slots,
           images: $images, refused: ($before.refused // []), totals: ($before.totals // {})}
        | if $kind == "rollback"
          then . + {candidate: $image, version: "previous", content: $images[$image].content,
                    build: ($images[$image].build // "unknown"), digest: ($images[$image].digest // "unknown")}
          else . end') || fail "the state of a new release could not be made"
    keep "$STATE" "$state"
    record started "$(jq '{kind, version, commit, stable, by}' "$STATE")"
    write_metrics
}
