# shellcheck shell=bash disable=SC2016 # what looks like a variable of the shell is one of jq
# How a release ends: all slots get the image, or none, and people are told.

phase_promoting() {
    local slot image build digest
    image=$(field .candidate)
    build=$(field .build)
    digest=$(field .digest)
    change '.placed = true'
    if [[ -z $(image_of_tag "$image") ]]; then
        end_with failed "the image of build $build is gone"
        return
    fi
    for slot in stable-1 stable-2 canary; do
        if ! put_into_slot "$slot" "$image" "$build" "$digest"; then
            # Docker would start it again and again, and each time NGINX would send requests there.
            compose stop --timeout 5 "$slot" >/dev/null 2>&1 || true
            go restoring '.outcome = "failed" | .reason = $reason' \
                --arg reason "$slot did not get ready with build $build"
            return
        fi
        nap "$(seconds_of "$RELEASE_PROMOTION_DELAY")"
    done
    name_records "$image"
    go telling '.outcome = (if .kind == "rollback" then "rolled-back" else "promoted" end)'
}

name_records() { # IMAGE: `stable` is what serves, `previous` the way back
    local name stable
    name=$(image_name)
    stable=$(field .stable)
    [[ $stable == "$1" ]] || docker tag "$stable" "$name:previous"
    docker tag "$1" "$name:stable"
}

# Both stables get back what they had, the one that failed before the one that answers with the new
# version; the canary follows in the next phase.
phase_restoring() {
    local slot
    for slot in stable-2 stable-1; do
        put_into_slot "$slot" "$(field ".slots[\"$slot\"].image")" \
            "$(field ".slots[\"$slot\"].build")" "$(field ".slots[\"$slot\"].digest")" || {
            change '.reason += "; \($slot) did not get ready with its earlier image either"' --arg slot "$slot"
        }
        nap "$(seconds_of "$RELEASE_PROMOTION_DELAY")"
    done
    go aborting
}

phase_aborting() {
    if [[ $RELEASE_ON_ABORT == empty ]]; then
        docker tag "$(field .stable)" "$(image_name):canary"
        empty_canary
    else
        put_into_slot canary "$(field .stable)" "$(field '.slots["stable-1"].build')" \
            "$(field '.slots["stable-1"].digest')" ||
            change '.reason += "; the canary slot did not get ready with the stable image either"'
    fi
    go telling
}

phase_telling() {
    # No tag stays on an image that was given up.
    if [[ $(field .kind) == release && $(field .outcome) != promoted && -n $(field .build) &&
        $(field .candidate) != "$(field .stable)" ]]; then
        forget_build "$(field .build)"
    fi
    tell "$(subject)" "$(report)" || say "nobody could be told how the release ended"
    record ended "$(jq '{outcome, reason, version, build, commit, kind}' "$STATE")"
    go ended '.ended = $now | .totals[.outcome] += 1
        | (if .outcome == "promoted" then .images[.candidate] = {build, digest, content}
           elif .outcome == "aborted" and .kind == "release" then .refused += [{content, version, reason, time: $now}]
           elif .outcome == "rolled-back" then
             .refused += [{content: .images[.stable].content, version: null, reason: "rolled back", time: $now}]
           else . end)
        | .refused |= (map(select(.content)) | .[-100:])'
    prune_images
    prune_history
}
