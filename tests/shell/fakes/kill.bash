# shellcheck shell=bash
# Kills the release that runs a fake, in the phase (or: any) that the file $FAKES/kill_in names: once, or each
# time if the file's second word is "always".

kill_release_if_requested() {
    local phase always
    [[ -e $FAKES/kill_in ]] || return 0
    read -r phase always <"$FAKES/kill_in" || true
    [[ $phase == any ]] || grep -qs "^  \"phase\": \"$phase\"" data/release/state.json || return 0
    [[ -n $always ]] || rm "$FAKES/kill_in"
    kill -9 "$(jq -r .pid data/release/lock_holder.json)" 2>/dev/null || true # killed already
}
