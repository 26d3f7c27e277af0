# shellcheck shell=bash disable=SC2016 # variables in single quotes are jq's
# A release from its preconditions to its notification, as a state machine. Each phase is idempotent:
# after a kill at any line `resume` runs it again. It ends with the transition to the next phase.
#
#   building -> verifying -> deploying -> analyzing -> promoting -> finalizing -> completed
#   building, verifying: failure -> finalizing
#   deploying, analyzing: failure or abort -> aborting -> finalizing
#   promoting: failure -> restoring -> aborting -> finalizing

# -- preconditions --------------------------------------------------------------------------------

check_preconditions() { # [IMAGE], on Kubernetes
    local slot
    pin_slots
    log "checking the preconditions of a release"
    [[ -w $STATE_DIR && -w ${METRICS_FILE%/*} ]] || fail "$STATE_DIR or ${METRICS_FILE%/*} is not writable"
    check_source "$@"
    prometheus_responds || fail "Prometheus does not respond at $PROMETHEUS_URL; the canary could not be analyzed"
    check_analysis
    for slot in stable-1 stable-2; do
        is_slot_ready "$slot" || fail "$slot is not ready; $REPAIR_ADVICE"
    done
    check_platform
}

# Exit if this content is in service (a commit that changes only documentation), or was rejected.
exit_if_already_evaluated() {
    local content_hash rejection
    [[ -e $STATE_FILE ]] || return 0
    content_hash=$(describe_source release | jq -r .content_hash)
    if [[ $(get_state ".images[\"$(get_tagged stable)\"].content_hash") == "$content_hash" ]]; then
        log "this version is already in service; nothing to release"
        exit 0
    fi
    rejection=$(jq -r --arg content_hash "$content_hash" '[.rejected_versions[]? | select(.content_hash == $content_hash)]
        | last | select(.) | "\(.rejected_at | strflocaltime("%F %T")): \(.reason)"' "$STATE_FILE")
    [[ -z $rejection ]] || fail "this version was already rejected ($rejection); start --again releases it anyway"
}

create_release() { # release|rollback [IMAGE]
    local previous='{}' image=${2-} phase=building state
    get_tagged stable >/dev/null || tag_image "$(get_slot_image stable-1)" stable
    [[ ! -e $STATE_FILE ]] || previous=$(<"$STATE_FILE")
    [[ $1 == release ]] || phase=verifying
    rm -f "$REQUEST_FILE"
    state=$(jq -n --arg kind "$1" --arg phase "$phase" --arg image "$image" --argjson previous "$previous" \
        --argjson source "$(describe_source "$1")" --argjson format "$STATE_FORMAT" --arg stable_image "$(get_tagged stable)" \
        --argjson slots "$(slots_as_json)" --argjson now "$(now)" --arg user "$(id -un)" '
        ($previous.images // {} | .[$stable_image] //= ($slots["stable-1"] | {build_id, image_digest})
            | .[$stable_image].definitions //= ($slots | map_values(.definition | del(.scale)))) as $images
        | {format: $format, id: "\($now | strftime("%Y%m%dT%H%M%SZ"))-\(if $kind == "release" then "v\($source.version)" else $kind end)",
           kind: $kind, phase: $phase, phase_started_at: $now, started_at: $now, started_by: $user,
           stable_image: $stable_image,
           previous_slots: $slots, images: $images, rejected_versions: ($previous.rejected_versions // []),
           outcome_counts: ($previous.outcome_counts // {})} + $source
        | if $kind == "rollback"
          then . + {candidate_image: $image, version: "previous", content_hash: $images[$image].content_hash,
                    definitions: ($images[$image].definitions // $images[$stable_image].definitions),
                    build_id: ($images[$image].build_id // "unknown"),
                    image_digest: ($images[$image].image_digest // "unknown")}
          else . end') || fail "cannot create the state of a new release"
    write_file "$STATE_FILE" "$state" || fail "cannot write $STATE_FILE: $WRITE_ERROR"
    append_history release_started '{kind, version, commit, stable_image, started_by}'
    write_metrics
}

# -- state machine --------------------------------------------------------------------------------

run_release() {
    local id phase
    while read -r id phase < <(get_state '"\(.id) \(.phase)"') && [[ $phase != completed ]]; do
        log "release $id: $phase"
        # Restoring and aborting do not wait for space on a full disk; whatever deploys a candidate does, so
        # that a kill cannot lose its state.
        [[ ! $phase =~ ^(building|verifying|deploying|promoting)$ ]] || wait_until_saved
        "phase_$phase"
    done
}

end_release() { # OUTCOME REASON; before a promotion
    local next=finalizing
    [[ $(get_state .canary_deployed) != true ]] || next=aborting
    log "$1: $2"
    transition "$next" '.outcome = $outcome | .reason = $reason' --arg outcome "$1" --arg reason "$2"
}

# Do what an operator has requested. Fails without a request, or where it does not apply.
handle_request() {
    local action reason
    take_orders >/dev/null # none to roll back is accepted during a release
    action=$(get_requested_action) || return 1
    reason=$(jq -r .reason "$REQUEST_FILE")
    case $action in
        abort) end_release aborted "$reason" ;;
        supersede) end_release superseded "$reason" ;;
        promote)
            [[ $(get_state .phase) == analyzing ]] && can_write || return 1
            transition promoting '.reason = $reason' --arg reason "$reason"
            ;;
    esac
}

phase_building() {
    local image digest definitions
    ! handle_request || return 0
    if ! prepare_tree; then
        end_release failed "commit $(get_state .commit) and its model could not be copied to $TREE"
    elif ! definitions=$(read_definitions "$(get_state .commit)"); then
        end_release failed "$DEFINITIONS_ERROR"
    elif ! image=$(build_candidate); then
        end_release failed "the image could not be built (see $STATE_DIR/build.log)"
    else
        digest=${image##*@} # an image id, where it is not of a registry
        transition verifying '.candidate_image = $image | .image_digest = $digest | .build_id = $build_id
            | .definitions = $definitions' --argjson definitions "$definitions" --arg image "$image" \
            --arg digest "$digest" --arg build_id "$(get_state .version)-${digest:7:12}"
    fi
}

phase_verifying() {
    local version image
    ! handle_request || return 0
    image=$(get_state .candidate_image)
    if [[ $(get_state .kind) == release ]]; then
        keep_build "$image" "$(get_state .build_id)"
    fi
    if ! version=$(smoke_test "$image"); then
        end_release aborted "the image failed its smoke test"
    elif [[ $(get_state .kind) == rollback ]]; then
        transition promoting '.version = $version' --arg version "$version"
    elif [[ $version != "$(get_state .version)" ]]; then
        end_release failed "version.txt contains $(get_state .version), but the model has version $version"
    else
        transition deploying
    fi
}

phase_deploying() {
    local ready_at deadline
    ! handle_request || return 0
    update_state '.canary_deployed = true'
    wait_until_saved
    if ! deploy_slot canary "$(get_state .candidate_image)" "$(get_state .build_id)" "$(get_state .image_digest)" \
        "$(get_definitions .definitions)"; then
        end_release aborted "the canary did not become ready"
        return
    fi
    # The analysis window starts with the first scrape, because nothing earlier can be analyzed. Without
    # a scrape until the timeout the verdict will be INCONCLUSIVE.
    ready_at=$(now)
    deadline=$((ready_at + $(duration_seconds "$RELEASE_READINESS_TIMEOUT")))
    until canary_scraped_since "$ready_at" || (($(now) >= deadline)); do wait_seconds 1; done
    transition analyzing '.analysis_started_at = $now | .analysis_window_seconds = $window
        | .analysis_deadline = $now + $window | .window_extended = false' \
        --argjson window "$(($(count_intervals "$RELEASE_ANALYSIS_WINDOW") * $(duration_seconds "$RELEASE_GUARD_INTERVAL")))"
}

phase_analyzing() {
    # After a resume the guards are evaluated at once, if they are due.
    NEXT_GUARD=$(jq_state --argjson interval "$(duration_seconds "$RELEASE_GUARD_INTERVAL")" \
        '([.analysis_started_at, .last_evaluation.evaluated_at // 0] | max) + $interval')
    guard_until deadline_passed "$(get_state .analysis_deadline)" || return 0
    wait_seconds "$((RELEASE_SCRAPE_INTERVAL_SECONDS + 1))" # until the window's last scrape is stored
    apply_verdict
}

# Wait until a command succeeds, and evaluate the guards meanwhile. Fails if a guard or an operator has
# ended the analysis.
guard_until() { # COMMAND...
    until "$@"; do
        ! handle_request || return 1
        if (($(now) >= NEXT_GUARD)); then
            ! guards_abort || return 1
            NEXT_GUARD=$(($(now) + $(duration_seconds "$RELEASE_GUARD_INTERVAL")))
        fi
        wait_seconds 1
    done
}

deadline_passed() { (($(now) >= $1)); } # UNIX-TIME

readonly FAILED_LOOKS_TO_REPORT=5 # in a row

# Evaluate the guards; fails if none of them aborts the canary.
guards_abort() {
    local evaluation
    evaluation=$(evaluate guard)
    save_evaluation "$evaluation"
    write_metrics
    (($(get_state .failed_looks) != FAILED_LOOKS_TO_REPORT)) || send_notification \
        "Release of version $(get_state .version): the canary is not guarded" "$(format_summary)"
    [[ $(jq -r .verdict <<<"$evaluation") == ABORT ]] || return 1
    end_release aborted "$(jq -r .reason <<<"$evaluation")"
}

# Most evaluations decide nothing: history keeps their reason, and `marquee analyze` the samples. The state keeps
# the queries of the last one, which the console links to.
save_evaluation() { # JSON
    append_history evaluation '$e | del(.queries) | if .verdict == "CONTINUE" then del(.checks) else . end' --argjson e "$1"
    update_state '.last_evaluation = $e | .failed_looks = (if $e.query_failed then .failed_looks + 1 else 0 end)' \
        --argjson e "$1"
}

apply_verdict() {
    local evaluation verdict reason
    evaluation=$(evaluate_with_retry)
    verdict=$(jq -r .verdict <<<"$evaluation")
    reason=$(jq -r .reason <<<"$evaluation")
    save_evaluation "$evaluation"
    log "verdict: $verdict: $reason"
    case $verdict in
        PROMOTE)
            guard_until can_write || return 0
            transition promoting '.reason = $reason' --arg reason "$reason"
            ;;
        ABORT) end_release aborted "$reason" ;;
        *)
            if [[ $(get_state .window_extended) == true ]]; then
                end_release inconclusive "$reason"
            else
                extend_window "$reason"
            fi
            ;;
    esac
}

# Analyze for one more window, once. A release that is resumed late gets a whole window too.
extend_window() { # REASON
    transition analyzing '.window_extended = true | .reason = $reason
        | .analysis_deadline = ([.analysis_deadline, $now] | max) + .analysis_window_seconds' --arg reason "$1"
    send_notification "Release of version $(get_state .version) is inconclusive, analysis window extended" \
        "$(format_summary)"
}

phase_promoting() {
    local slot image build_id digest definitions
    image=$(get_state .candidate_image)
    build_id=$(get_state .build_id)
    digest=$(get_state .image_digest)
    definitions=$(get_definitions .definitions)
    update_state '.canary_deployed = true'
    wait_until_saved
    if ! image_exists "$image"; then
        end_release failed "the image of build $build_id no longer exists"
        return
    fi
    for slot in stable-1 stable-2 canary; do
        if ! deploy_slot "$slot" "$image" "$build_id" "$digest" "$definitions"; then
            stop_slot "$slot"
            transition restoring '.outcome = "failed" | .reason = $reason' \
                --arg reason "$slot did not become ready with build $build_id"
            return
        fi
        wait_seconds "$(duration_seconds "$RELEASE_PROMOTION_DELAY")"
    done
    tag_stable_previous "$image"
    transition finalizing '.outcome = (if .kind == "rollback" then "rolled-back" else "promoted" end)'
}

tag_stable_previous() { # IMAGE; `stable` is the image in service, `previous` the one to roll back to
    local stable_image
    stable_image=$(get_state .stable_image)
    [[ $stable_image == "$1" ]] || tag_image "$stable_image" previous
    tag_image "$1" stable
}

# Put the earlier images back into both stable slots. stable-2 comes first: it is the one that failed
# while stable-1 serves the new version. The canary follows in the next phase.
phase_restoring() {
    local slot
    for slot in stable-2 stable-1; do
        deploy_slot "$slot" "$(get_state ".previous_slots[\"$slot\"].image")" \
            "$(get_state ".previous_slots[\"$slot\"].build_id")" \
            "$(get_state ".previous_slots[\"$slot\"].image_digest")" \
            "$(get_definitions '.previous_slots | map_values(.definition) | if all(.) then . else null end')" || {
            update_state '.reason += "; \($slot) did not become ready with its earlier image"' --arg slot "$slot"
        }
        wait_seconds "$(duration_seconds "$RELEASE_PROMOTION_DELAY")"
    done
    transition aborting
}

phase_aborting() {
    if [[ $RELEASE_ON_ABORT == empty ]]; then
        remove_canary
    elif ! deploy_slot canary "$(get_state .stable_image)" "$(get_state '.previous_slots["stable-1"].build_id')" \
        "$(get_state '.previous_slots["stable-1"].image_digest')" \
        "$(get_definitions '.images[.stable_image].definitions')"; then
        stop_candidate
        update_state '.reason += "; the canary did not become ready with the stable image"'
    fi
    transition finalizing
}

phase_finalizing() {
    local notified=yes
    # The image of a version that was not promoted keeps no tag.
    if [[ $(get_state .kind) == release && $(get_state .outcome) != promoted && -n $(get_state .build_id) &&
        $(get_state .candidate_image) != "$(get_state .stable_image)" ]]; then
        remove_build_tag "$(get_state .build_id)"
    fi
    notify "$(format_subject)" "$(format_summary)" || notified=no
    complete_state
    [[ $notified == yes ]] || send_notification "$(format_subject)" "$(format_summary)"
    prune_images
    prune_history
    remove_tree
}

# Write the end of a release to history, state and metrics, once the disk has space for it.
complete_state() {
    wait_until_saved
    append_history release_completed '{outcome, reason, version, build_id, commit, kind}'
    transition completed '.completed_at = $now | .outcome_counts[.outcome] += 1
        | (if .outcome == "promoted" then .images[.candidate_image] = {build_id, image_digest, content_hash, definitions}
           elif .outcome == "aborted" and .kind == "release" then
             .rejected_versions += [{content_hash, version, reason, rejected_at: $now}]
           elif .outcome == "rolled-back" then
             .rejected_versions += [{content_hash: .images[.stable_image].content_hash, version: null,
                reason: "rolled back", rejected_at: $now}]
           else . end)
        | .rejected_versions |= (map(select(.content_hash)) | .[-100:])'
    wait_until_saved
}
