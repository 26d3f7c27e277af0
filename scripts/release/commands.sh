# shellcheck shell=bash disable=SC2016 # variables in single quotes are jq's
# The commands of canary_release.sh that change something; status.sh has the others.

check_requirements() {
    local name
    for name in "${REQUIRED_COMMANDS[@]}"; do
        command -v "$name" >/dev/null || fail "$name is not installed (scripts/install_system.sh shell docker)"
    done
    load_stack
    [[ -x $RELEASE_MARQUEE ]] || fail "$RELEASE_MARQUEE is not installed (make .venv/.deployment)"
}

# Run a release to its end. Exits with 1 unless it was promoted or rolled back.
run_to_completion() {
    continue_in_tree
    run_release
    succeeded || exit 1
}

command_start() {
    local again=no argument
    local -a image=()
    for argument in "$@"; do
        if [[ $argument == --again ]]; then
            again=yes
        elif [[ $RELEASE_PLATFORM == kubernetes && $argument != -* && ${#image[@]} == 0 ]]; then
            image=("$argument")
        else
            usage_error "start: unknown argument $argument"
        fi
    done
    [[ $RELEASE_PLATFORM != kubernetes || ${#image[@]} == 1 ]] || usage_error "start: which image? name@sha256:digest"
    check_requirements
    check_state
    acquire_lock start || supersede_running_release
    if in_progress; then
        [[ $RELEASE_ON_CONFLICT == supersede ]] ||
            fail "release $(get_state .id) was interrupted in phase $(get_state .phase); resume it first"
        request_supersede
        complete_release
    fi
    check_preconditions "${image[@]}"
    [[ $again == yes ]] || exit_if_already_evaluated
    create_release release
    run_to_completion
}

request_supersede() { request_action supersede "superseded by $(describe_next_source)"; }

supersede_running_release() {
    [[ $RELEASE_ON_CONFLICT == supersede ]] || fail_locked
    log "superseding the running release: $(describe_lock_holder)"
    request_supersede
    acquire_lock start 3600 || fail_locked
}

fail_locked() { fail "another release is running: $(describe_lock_holder); see status"; }

command_resume() {
    reject_arguments "$@"
    check_requirements
    check_state
    acquire_lock resume || fail_locked
    in_progress || { log "nothing to resume"; return 0; }
    in_release_tree || pin_slots # a release that an earlier version of this script has started
    run_to_completion
}

# Resume a release whose process has ended; run every few seconds by marquee-release@.timer. Prints
# nothing if there is nothing to do.
command_supervise() {
    local attempts order
    reject_arguments "$@"
    flush_outbox
    refresh_host_metrics
    check_state
    order=$(take_orders)
    [[ -z $order ]] || { roll_back_as_ordered "$order"; return; }
    in_progress || return 0
    require_platform
    acquire_lock supervise || return 0 # a process runs it
    in_progress || return 0            # it has ended meanwhile
    attempts=$(jq -r '.attempts // 1' "$LOCK_HOLDER_FILE")
    log "release $(get_state .id): its process has ended in phase $(get_state .phase); resuming it (attempt $attempts), log: $LOG_FILE"
    # On a full disk the messages remain on standard error.
    if printf '\nresumed by supervise, attempt %s\n' "$attempts" 2>/dev/null >>"$LOG_FILE"; then
        exec >>"$LOG_FILE" 2>&1
    fi
    if ((attempts > RELEASE_MAX_ATTEMPTS)); then
        end_phase "$attempts"
        check_requirements
        run_release
        succeeded || exit 1
    else
        check_requirements
        in_release_tree || pin_slots
        run_to_completion
    fi
}

# End a phase in which the process of a release has ended again and again, with the code of this clone: the
# next phase restores, aborts or completes. So the number of attempts is bounded. The canary is stopped,
# because that phase may fail too.
end_phase() { # ATTEMPT
    local phase reason
    phase=$(get_state .phase)
    reason="$RELEASE_MAX_ATTEMPTS attempts to resume it in phase $phase have failed (see $LOG_FILE)"
    log "$reason"
    case $phase in
        promoting) transition restoring '.outcome = "failed" | .reason = $reason' --arg reason "$reason" ;;
        restoring) transition aborting '.reason += "; " + $reason' --arg reason "$reason" ;;
        aborting) transition finalizing '.reason += "; " + $reason' --arg reason "$reason" ;;
        finalizing) complete_state ;;
        *) end_release failed "$reason" ;;
    esac
    [[ ! $phase =~ ^(deploying|analyzing|restoring|aborting)$ ]] || stop_candidate
    # Once, also where this process fails too.
    (($1 > RELEASE_MAX_ATTEMPTS + 1)) || send_notification "Release of version $(get_state .version): $reason" "$(format_summary)"
}

command_abort() {
    check_state
    in_progress || fail "no release is in progress; rollback restores the previous version"
    [[ ! $(get_state .phase) =~ ^(promoting|restoring|finalizing)$ ]] ||
        fail "too late to abort: the release is in phase $(get_state .phase); roll back after it"
    request_action abort "aborted by $(id -un)${*:+: $*}"
    wait_for_outcome
    [[ $(get_state .outcome) == aborted ]] || exit 1
}

command_promote() {
    reject_arguments "$@"
    check_state
    [[ $(get_state .phase) == analyzing ]] || fail "no canary is being analyzed"
    request_action promote "promoted by $(id -un), before the verdict"
    wait_for_outcome
    succeeded || exit 1
}

# Run a release to its end in a process of its own, whatever its outcome.
complete_release() { ("$CODE_DIR/scripts/canary_release.sh" resume) || ! in_progress; }

# The process that runs the release handles a request within a second; without one, run it here.
wait_for_outcome() {
    check_requirements
    if acquire_lock request; then
        complete_release
    else
        log "request sent ($(describe_lock_holder)); waiting for the release to complete"
        while in_progress; do
            wait_seconds 1
            if ! is_lock_holder_alive && acquire_lock request; then complete_release; fi
        done
        acquire_lock request 60 || true # until that process has cleaned up, so that the next can start
    fi
    log "outcome: $(get_state .outcome)"
}

command_rollback() {
    reject_arguments "$@"
    local image
    check_requirements
    check_state
    acquire_lock rollback || fail_locked
    ! in_progress || fail "release $(get_state .id) was interrupted in phase $(get_state .phase); resume or abort it first"
    image=$(get_tagged previous) || fail "no image $IMAGE_NAME:previous to roll back to"
    [[ $image != "$(get_tagged stable)" ]] || fail "the previous image is already in service"
    pin_slots
    create_release rollback "$image"
    run_to_completion
}

command_pin() {
    reject_arguments "$@"
    check_requirements
    check_state
    slots_are_pinned || acquire_lock pin || fail_locked
    pin_slots
}
