#!/usr/bin/env bash
# CI job: run scripts/deploy.sh in the server's clone over SSH, with host key verification.
set -Eeuo pipefail

usage() {
    cat <<'EOF'
USAGE
  deploy_over_ssh.sh

OPTIONS
  -h, --help           show this help

ENVIRONMENT (protected CI variables; the first two of type "file")
  DEPLOY_KEY           file with the private SSH key of the deploying user
  DEPLOY_KNOWN_HOSTS   file with the server's host key in the format of ssh-keyscan; no other is accepted
  DEPLOY_TARGET        user@host
  DEPLOY_PATH          path of the clone on the server, such as /srv/marquee; not needed where the key's line
                       in authorized_keys has command="…/scripts/deploy_command.sh"
  DEPLOY_PORT          SSH port (22)
  CI_COMMIT_SHA        commit to deploy (HEAD)

EXAMPLES
  DEPLOY_TARGET=deploy@server DEPLOY_KEY=key DEPLOY_KNOWN_HOSTS=hosts scripts/deploy_over_ssh.sh

EXIT STATUS
  0  the release has started on the server
  1  it has not (reason on standard error)
  2  invalid arguments, or a variable is not set
EOF
}

main() {
    local name commit command
    # shellcheck source=scripts/lib.sh
    source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    reject_arguments "$@"
    for name in DEPLOY_KEY DEPLOY_KNOWN_HOSTS DEPLOY_TARGET; do
        [[ -n ${!name-} ]] || usage_error "$name is not set"
    done
    # GitLab makes variables of type "file" readable by everyone, and ssh rejects such a key.
    key_directory=$(mktemp -d)
    trap 'rm -r "$key_directory"' EXIT
    install -m 600 "$DEPLOY_KEY" "$key_directory/key"
    commit=${CI_COMMIT_SHA:-$(git rev-parse HEAD)}
    printf -v command 'deploy %q' "$commit"
    [[ -z ${DEPLOY_PATH-} ]] || printf -v command 'cd %q && scripts/deploy.sh %q' "$DEPLOY_PATH" "$commit"
    ssh -F none -i "$key_directory/key" -p "${DEPLOY_PORT:-22}" -o IdentitiesOnly=yes -o BatchMode=yes \
        -o StrictHostKeyChecking=yes -o "UserKnownHostsFile=$DEPLOY_KNOWN_HOSTS" \
        -o ServerAliveInterval=15 "$DEPLOY_TARGET" "$command" || exit 1
}

main "$@"
