#!/usr/bin/env bash
# On the server: update this clone to a commit, restore data and model from DVC, bring the services beside
# the slots to that commit, and start a release.
set -Eeuo pipefail

readonly DEPLOY_LOCK=data/release/deploy.lock
readonly START_TIMEOUT_SECONDS=120 # for the release to start, or to refuse

usage() {
    cat <<'EOF'
USAGE
  deploy.sh [COMMIT]
  deploy.sh --scheduler
  RELEASE_PLATFORM=kubernetes deploy.sh IMAGES-FILE

Run this in the server's clone. It fetches, fast-forwards to COMMIT (default: the upstream of the
current branch), restores data and model of that version from DVC if dvc.lock exists, brings every
service except for the slots to that commit, if the stack is running, and starts
scripts/canary_release.sh in the background. It returns as soon as the release has started; the release
sends a notification when it is completed, and `scripts/canary_release.sh status` shows its state.
docs/upgrade.md describes the steps. After a failure, run it again.

On Kubernetes: IMAGES-FILE is what scripts/push_images.sh has printed. It upgrades the chart to this tree, with
these images and otherwise the values in force, and starts the release of the image `service` in the cluster. Needs
helm and kubectl, and a kubeconfig of the cluster (docs/kubernetes.md).

OPTIONS
  --scheduler  only replace the scheduler, when no retraining is running; a deployment starts this in the
               background if it finds a retraining in progress
  -h, --help   show this help

ENVIRONMENT
  RELEASE_...  settings of the release, see scripts/release/settings.env

GIT CONFIGURATION
  marquee.allowedSigners  file of allowed signers (ssh-keygen(1)); only commits that they have signed are deployed

EXAMPLES
  scripts/deploy.sh
  ssh -o StrictHostKeyChecking=yes deploy@server 'cd /srv/marquee && scripts/deploy.sh'

EXIT STATUS
  0  the release has started, or the version is already in service (or the scheduler is up to date)
  1  the release has not started (reason on standard error)
  2  invalid arguments or settings
EOF
}

# One deployment at a time. Its commands inherit the lock (descriptor 8), except for those that may leave a
# process behind: the release, and git, which collects garbage in the background.
acquire_deploy_lock() {
    mkdir -p "${DEPLOY_LOCK%/*}"
    [[ /proc/self/fd/8 -ef $DEPLOY_LOCK ]] || exec 8>>"$DEPLOY_LOCK"
    flock --nonblock 8 || fail "another deployment is running; nothing was changed"
}

# The tree must not change while a release builds an image from it.
require_no_release() {
    [[ $RELEASE_ON_CONFLICT == supersede ]] || ! in_progress ||
        fail "release $(get_state .id) is in progress (scripts/canary_release.sh status); nothing was changed"
}

# Where `git config marquee.allowedSigners` names a file of allowed signers (ssh-keygen), only a commit that one
# of them has signed is deployed. It is checked before anything of the commit runs.
verify_signature() { # COMMIT
    local signers
    signers=$(git config --path marquee.allowedSigners) || return 0
    git -c gpg.ssh.allowedSignersFile="$signers" verify-commit "$1" 2>/dev/null ||
        fail "$1 is not signed by one of $signers; nothing was changed"
}

fast_forward() { # COMMIT
    log "updating to $1"
    git fetch --quiet --prune 8>&- || fail "git fetch failed"
    verify_signature "$1"
    git merge --quiet --ff-only "$1" 8>&- || fail "cannot fast-forward to $1; nothing was changed"
}

restore_version() {
    [[ ! -x .venv/bin/marquee ]] || make .venv/.deployment >&2 # changed requirements
    [[ -e dvc.lock ]] || { log "no dvc.lock: the image build trains on the sample data"; return; }
    log "restoring data and model of version $(<version.txt)"
    make .venv/.deployment >&2
    .venv/bin/marquee restore >&2
}

# Upgrade the chart, which changes no slot, and start the release in the cluster.
deploy_to_cluster() { # IMAGES-FILE
    local image name=$RELEASE_KUBERNETES_NAME
    local -a target=(--namespace "$RELEASE_KUBERNETES_NAMESPACE")
    image=$(sed -n 's/^  service: *//p' "$1") || fail "$1 cannot be read"
    [[ $image == *@sha256:* ]] || fail "$1 names no image \`service\` with a digest (scripts/push_images.sh)"
    log "upgrading the chart"
    helm upgrade "$name" kubernetes "${target[@]}" --reset-then-reuse-values --values "$1" --wait --timeout 15m >&2 ||
        fail "the chart could not be upgraded; no release has started"
    kubectl "${target[@]}" exec "deployment/$name-release" --container release -- \
        /srv/marquee/scripts/deploy.sh --release "$image"
}

# Start the release in a session of its own and without our standard streams; otherwise the SSH
# connection would stay open until the release is completed.
start_release() { # [IMAGE]
    local previous_id process deadline=$(($(now) + START_TIMEOUT_SECONDS))
    previous_id=$(get_state .id)
    mkdir -p "${LOG_FILE%/*}"
    log "starting the release; its log is $LOG_FILE"
    : >"$LOG_FILE"
    # Appended, because a release that is being superseded may write to it, too.
    setsid nohup "$CODE_DIR/scripts/canary_release.sh" start "$@" >>"$LOG_FILE" 2>&1 </dev/null 8>&- &
    process=$!
    while (($(now) < deadline)); do
        if [[ $(get_state .id) != "$previous_id" ]]; then
            log "release $(get_state .id) has started"
            return
        fi
        kill -0 "$process" 2>/dev/null || break
        sleep 0.5
    done
    cat "$LOG_FILE" >&2
    if kill -0 "$process" 2>/dev/null; then
        log "the release is waiting for the previous one to end"
    else
        wait "$process" || fail "the release has not started"
    fi
}

main() {
    local before
    CODE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    readonly CODE_DIR
    cd "${MARQUEE_CLONE:-$CODE_DIR}"
    # shellcheck source=scripts/lib.sh
    source "$CODE_DIR/scripts/lib.sh"
    # shellcheck source=scripts/release/settings.sh
    source "$CODE_DIR/scripts/release/settings.sh"
    # shellcheck source=scripts/release/state.sh
    source "$CODE_DIR/scripts/release/state.sh"
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    load_settings
    if [[ $RELEASE_PLATFORM == kubernetes ]]; then
        if [[ ${1-} == --release ]]; then # in the cluster
            start_release "${@:2}"
        else
            [[ ${1-} != -* && $# == 1 ]] || usage_error "which file of images?"
            deploy_to_cluster "$1"
        fi
        return
    fi
    # shellcheck source=scripts/release/slots.sh
    source "$CODE_DIR/scripts/release/slots.sh"
    # shellcheck source=scripts/platforms/compose.sh
    source "$CODE_DIR/scripts/platforms/compose.sh"
    # shellcheck source=scripts/release/stack.sh
    source "$CODE_DIR/scripts/release/stack.sh"
    [[ ${1-} != -* || $1 == --scheduler ]] || usage_error "unknown option $1"
    reject_arguments "${@:2}"
    [[ ${1-} != --scheduler ]] || { replace_scheduler_after_retraining; return 0; }
    acquire_deploy_lock
    check_state
    require_no_release
    require_unchanged version.txt dvc.lock
    # Before the merge, so that `docker compose up -d` changes no slot until its release does. Also refuses
    # a clone whose project or images belong to another one.
    scripts/canary_release.sh pin
    before=$(git rev-parse HEAD)
    fast_forward "${1:-@{upstream\}}"
    # The new commit knows its own services: continue with its script.
    [[ $(git rev-parse HEAD) == "$before" ]] || exec scripts/deploy.sh "$@"
    restore_version
    update_stack
    start_release
}

main "$@"
