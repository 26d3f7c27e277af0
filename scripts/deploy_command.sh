#!/usr/bin/env bash
# The only command that the deploy key may run. sshd starts it by a line of ~/.ssh/authorized_keys:
#   restrict,command="/srv/marquee/scripts/deploy_command.sh" ssh-ed25519 AAAA... pipeline
set -Eeuo pipefail

usage() {
    cat <<'EOF'
USAGE
  deploy_command.sh

sshd runs it with the client's command in SSH_ORIGINAL_COMMAND, which has to be

  deploy COMMIT

or what scripts/deploy_over_ssh.sh sends with DEPLOY_PATH, the path of this clone. COMMIT is the whole id of a
commit of the upstream branch. It runs scripts/deploy.sh COMMIT.

OPTIONS
  -h, --help   show this help

EXIT STATUS
  0  the release has started, or the version is already in service
  1  it has not (reason on standard error)
  2  any other command
EOF
}

# Print the commit of the client's command.
parse_command() { # COMMAND CLONE
    local deploy
    printf -v deploy 'cd %q && scripts/deploy.sh' "$2"
    for deploy in deploy "$deploy"; do
        if [[ $1 == "$deploy "* && ${1#"$deploy "} =~ ^[0-9a-f]{40}([0-9a-f]{24})?$ ]]; then
            echo "${1#"$deploy "}"
            return
        fi
    done
    usage_error "this key may only deploy a commit"
}

main() {
    local clone commit
    clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    cd "$clone"
    # shellcheck source=scripts/lib.sh
    source scripts/lib.sh
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    reject_arguments "$@"
    commit=$(parse_command "${SSH_ORIGINAL_COMMAND-}" "$clone")
    git fetch --quiet --prune || fail "git fetch failed"
    git merge-base --is-ancestor "$commit" "@{upstream}" 2>/dev/null ||
        fail "$commit is not a commit of $(git rev-parse --abbrev-ref "@{upstream}"); nothing was changed"
    unset SSH_ORIGINAL_COMMAND
    exec scripts/deploy.sh "$commit"
}

main "$@"
