# shellcheck shell=bash
# The commands of canary_release.sh.

command_start() {
    local again=no
    while (($#)); do
        case $1 in
            --again) again=yes ;;
            *) misused "start takes no $1" ;;
        esac
        shift
    done
    need_commands
    check_state
    take_lock start || make_way
    if unfinished; then
        [[ $RELEASE_ON_CONFLICT == supersede ]] ||
            fail "release $(field .id) was interrupted in phase $(field .phase); resume goes on with it"
        give_order supersede "superseded by commit $(git rev-parse HEAD)"
        run_release
    fi
    preflight "$again"
    begin release
    run_release
    ended_well || exit 1
}

# Another release holds the lock: refuse, or have it end.
make_way() {
    [[ $RELEASE_ON_CONFLICT == supersede ]] || fail "busy: $(who_holds); see status"
    say "superseding the release of $(who_holds)"
    give_order supersede "superseded by commit $(git rev-parse HEAD)"
    flock --timeout 3600 9 || fail "still busy: $(who_holds)"
    note_holder start
}

command_resume() {
    (($# == 0)) || misused "resume takes no arguments"
    need_commands
    check_state
    take_lock resume || fail "busy: $(who_holds); see status"
    unfinished || { say "nothing to resume"; return 0; }
    run_release
    ended_well || exit 1
}

command_abort() {
    check_state
    unfinished || fail "no release is in progress; rollback goes back to the version before"
    [[ ! $(field .phase) =~ ^(promoting|restoring|telling)$ ]] ||
        fail "too late: the release is $(field .phase); rollback goes back afterwards"
    give_order abort "aborted by $(id -un)${*:+: $*}"
    be_heard
    [[ $(field .outcome) == aborted ]] || exit 1
}

command_promote() {
    (($# == 0)) || misused "promote takes no arguments"
    check_state
    [[ $(field .phase) == watching ]] || fail "no canary is being watched"
    give_order promote "promoted by $(id -un), before the verdict"
    be_heard
    ended_well || exit 1
}

# The process that runs the release obeys within a second; without one, this one does.
be_heard() {
    need_commands
    if take_lock order; then
        run_release
    else
        say "told $(who_holds); waiting for the end"
        while unfinished; do
            nap 1
            if ! holder_lives && take_lock order; then run_release; fi
        done
    fi
    say "the release ended: $(field .outcome)"
}

command_rollback() {
    (($# == 0)) || misused "rollback takes no arguments"
    local image
    need_commands
    check_state
    take_lock rollback || fail "busy: $(who_holds); abort it first"
    ! unfinished || fail "release $(field .id) was interrupted in phase $(field .phase); resume or abort it first"
    image=$(image_of_tag "$(image_name):previous") || fail "there is no $(image_name):previous to go back to"
    [[ $image != "$(image_of_tag "$(image_name):stable")" ]] || fail "the previous image is the one in service"
    begin rollback "$image"
    run_release
    ended_well || exit 1
}
