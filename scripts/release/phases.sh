# shellcheck shell=bash disable=SC2016 # what looks like a variable of the shell is one of jq
# A release, phase by phase. Each phase can be begun again after a kill at any of its lines, and ends
# by writing the next one down.
#
#   building -> testing -> placing -> watching -> promoting -> telling -> ended
#        any of the first four may go to aborting -> telling; promoting to restoring -> aborting

run_release() {
    local phase
    while phase=$(field .phase); [[ $phase != ended ]]; do
        say "release $(field .id): $phase"
        "phase_$phase"
    done
}

ended_well() { [[ $(field .outcome) =~ ^(promoted|rolled-back)$ ]]; }

end_with() { # OUTCOME REASON
    local next=telling
    [[ $(field .placed) != true ]] || next=aborting
    say "$1: $2"
    go "$next" '.outcome = $outcome | .reason = $reason' --arg outcome "$1" --arg reason "$2"
}

# An operator's word, between any two steps before the promotion.
obey() {
    local order
    order=$(order_given) || return 1
    case $order in
        abort) end_with aborted "$(jq -r .reason "$ORDER_FILE")" ;;
        supersede) end_with superseded "$(jq -r .reason "$ORDER_FILE")" ;;
        promote)
            [[ $(field .phase) == watching ]] || return 1
            go promoting '.reason = $reason' --arg reason "$(jq -r .reason "$ORDER_FILE")"
            ;;
    esac
}

phase_building() {
    local image
    ! obey || return 0
    if [[ $(git rev-parse HEAD) != $(field .commit) ]]; then
        end_with failed "the tree is no longer at commit $(field .commit)"
    elif ! image=$(build_candidate); then
        end_with failed "the image could not be built ($HOME_OF_RELEASES/build.log)"
    else
        go testing '.candidate = $image | .digest = $image | .build = $build' --arg image "$image" \
            --arg build "$(field .version)-${image:7:12}"
    fi
}

phase_testing() {
    local version image name
    ! obey || return 0
    image=$(field .candidate)
    name=$(image_name)
    if [[ $(field .kind) == release ]]; then
        docker tag "$image" "$name:$(field .build)"
        docker image rm "$name-candidate:canary" >/dev/null 2>&1 || true
    fi
    if ! version=$(smoke_test "$image"); then
        end_with aborted "the image failed its test before it took traffic"
    elif [[ $(field .kind) == rollback ]]; then
        go promoting '.version = $version' --arg version "$version"
    elif [[ $version != "$(field .version)" ]]; then
        end_with failed "version.txt says $(field .version), the model is of version $version"
    else
        go placing
    fi
}

phase_placing() {
    local ready deadline
    ! obey || return 0
    change '.placed = true'
    if ! put_into_slot canary "$(field .candidate)" "$(field .build)" "$(field .digest)"; then
        end_with aborted "the canary did not get ready"
        return
    fi
    # The window begins with the first scrape, since nothing before it can be judged. When there is
    # none in time the verdict will say so.
    ready=$(epoch)
    deadline=$((ready + $(seconds_of "$RELEASE_READY")))
    until scraped_since "$ready" || (($(epoch) >= deadline)); do nap 1; done
    go watching '.opened = $now | .window = $window | .deadline = $now + $window
        | .extended = false | .failures = 0' --argjson window "$(seconds_of "$RELEASE_WINDOW")"
}

phase_watching() {
    local deadline next
    deadline=$(field .deadline)
    next=$(($(epoch) + $(seconds_of "$RELEASE_GUARD_EVERY")))
    while (($(epoch) < deadline)); do
        ! obey || return 0
        if (($(epoch) >= next)); then
            ! guard_fails || return 0
            next=$((next + $(seconds_of "$RELEASE_GUARD_EVERY")))
        fi
        nap 1
    done
    nap "$((RELEASE_SCRAPE_SECONDS + 1))" # until the window's last scrape is stored
    conclude
}

guard_fails() { # several looks in a row
    local evaluation now window
    now=$(epoch)
    window=$((now - $(field .opened)))
    ((window < $(seconds_of "$RELEASE_GUARD_WINDOW"))) || window=$(seconds_of "$RELEASE_GUARD_WINDOW")
    evaluation=$(evaluate guard "$window" "$now")
    record evaluation "$evaluation"
    change '.failures = (if $e.verdict == "ABORT" then .failures + 1 else 0 end) | .last = $e' \
        --argjson e "$evaluation"
    write_metrics
    (($(field .failures) >= RELEASE_GUARD_FAILURES)) || return 1
    end_with aborted "guard: $(jq -r .reason <<<"$evaluation")"
}

conclude() {
    local evaluation verdict reason deadline opened
    deadline=$(field .deadline)
    opened=$(field .opened)
    evaluation=$(evaluate_patiently verdict "$((deadline - opened))" "$deadline")
    verdict=$(jq -r .verdict <<<"$evaluation")
    reason=$(jq -r .reason <<<"$evaluation")
    record evaluation "$evaluation"
    change '.last = $e' --argjson e "$evaluation"
    say "verdict: $verdict ${reason}"
    case $verdict in
        PROMOTE) go promoting '.reason = "every check holds"' ;;
        ABORT) end_with aborted "$reason" ;;
        *)
            if [[ $(field .extended) == true ]]; then
                end_with inconclusive "$reason"
            else
                extend "$reason"
            fi
            ;;
    esac
}

extend() { # REASON: the window is made as long again, once; a late resume gets a whole one too
    go watching '.extended = true | .reason = $reason | .failures = 0
        | .deadline = ([.deadline, $now] | max) + .window' --arg reason "$1"
    tell "Release of version $(field .version) is inconclusive, its window is extended" \
        "$(report)" || say "nobody could be told; the release goes on"
}

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
            go restoring '.outcome = "failed" | .reason = $reason' \
                --arg reason "$slot did not get ready with build $build"
            return
        fi
        nap "$(seconds_of "$RELEASE_SETTLE")"
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

# Both stables get back what they had; the canary follows in the next phase.
phase_restoring() {
    local slot
    for slot in stable-1 stable-2; do
        put_into_slot "$slot" "$(field ".slots[\"$slot\"].image")" \
            "$(field ".slots[\"$slot\"].build")" "$(field ".slots[\"$slot\"].digest")" || {
            change '.reason += "; \($slot) did not get ready with its earlier image either"' --arg slot "$slot"
        }
        nap "$(seconds_of "$RELEASE_SETTLE")"
    done
    go aborting
}

phase_aborting() {
    if [[ $RELEASE_AFTER_ABORT == empty ]]; then
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
