#!/usr/bin/env bash
# On the server: bring this clone to a commit, its data and model from DVC, and start the release.
set -Eeuo pipefail
trap 'echo "deploy.sh: ${FUNCNAME[0]:-main} failed at line ${LINENO}" >&2' ERR

readonly LOG=data/release/release.log
readonly PATIENCE=120 # seconds for a release to have begun, or to have said why not

usage() {
    cat <<'EOF'
USAGE
  deploy.sh [COMMIT]

Run in the server's clone: fetches, goes forward to COMMIT (default: the upstream of this branch),
restores data and model of that version from DVC where the tree names them (dvc.lock), starts
scripts/canary_release.sh on its own, and returns once that has begun. The release tells people how
it ends; `scripts/canary_release.sh status` says where it is.

OPTIONS
  -h, --help   this text

ENVIRONMENT
  RELEASE_...  settings of the release, see scripts/release/settings.env

EXAMPLES
  ssh -o StrictHostKeyChecking=yes deploy@server 'cd /srv/marquee && scripts/deploy.sh'

EXIT STATUS
  0 the release has begun; 1 it has not (said on standard error); 2 wrong usage
EOF
}

# A tree that changes under a release that builds would be released half.
not_during_a_release() {
    [[ $RELEASE_ON_CONFLICT == supersede ]] || ! unfinished ||
        fail "release $(field .id) is in progress (scripts/canary_release.sh status); nothing was changed"
}

forward() { # COMMIT
    say "going forward to $1"
    git fetch --quiet --prune || fail "git fetch failed"
    git merge --quiet --ff-only "$1" || fail "this clone cannot go forward to $1; nothing was changed"
}

restore() {
    [[ -e dvc.lock ]] || { say "no dvc.lock: the image trains on the sample"; return; }
    say "restoring data and model of version $(<version.txt)"
    make .venv/.deployment >&2
    .venv/bin/marquee restore >&2
}

# Detached from this session in every way, or an SSH connection would stay open until the end.
release() {
    local before process deadline=$(($(epoch) + PATIENCE))
    before=$(field .id)
    mkdir -p "${LOG%/*}"
    say "starting the release; it writes to $LOG"
    setsid nohup scripts/canary_release.sh start >"$LOG" 2>&1 </dev/null &
    process=$!
    while (($(epoch) < deadline)); do
        if [[ $(field .id) != "$before" ]]; then
            say "release $(field .id) has begun"
            return
        fi
        kill -0 "$process" 2>/dev/null || break
        sleep 0.5
    done
    cat "$LOG" >&2
    if kill -0 "$process" 2>/dev/null; then
        say "the release waits for the one before it"
    else
        wait "$process" || fail "the release did not begin"
    fi
}

main() {
    [[ ! ${1-} =~ ^(-h|--help)$ ]] || { usage; exit 0; }
    if (($# > 1)) || [[ ${1-} == -* ]]; then usage >&2; exit 2; fi
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    # shellcheck source=scripts/release/base.sh
    source scripts/release/base.sh
    # shellcheck source=scripts/release/state.sh
    source scripts/release/state.sh
    read_settings
    check_state
    not_during_a_release
    forward "${1:-@{upstream\}}"
    restore
    release
}

main "$@"
