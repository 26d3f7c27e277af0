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
    deadline=$((ready + $(seconds_of "$RELEASE_READINESS_TIMEOUT")))
    until scraped_since "$ready" || (($(epoch) >= deadline)); do nap 1; done
    go watching '.opened = $now | .window = $window | .deadline = $now + $window
        | .extended = false | .failures = 0' --argjson window "$(seconds_of "$RELEASE_ANALYSIS_WINDOW")"
}

phase_watching() {
    local deadline next
    deadline=$(field .deadline)
    next=$(($(epoch) + $(seconds_of "$RELEASE_GUARD_INTERVAL")))
    while (($(epoch) < deadline)); do
        ! obey || return 0
        if (($(epoch) >= next)); then
            ! guard_fails || return 0
            next=$((next + $(seconds_of "$RELEASE_GUARD_INTERVAL")))
        fi
        nap 1
    done
    nap "$((RELEASE_SCRAPE_INTERVAL_SECONDS + 1))" # until the window's last scrape is stored
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
    (($(field .failures) >= RELEASE_GUARD_MIN_FAILURES)) || return 1
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
