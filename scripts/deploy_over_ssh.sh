#!/usr/bin/env bash
# From the pipeline: run scripts/deploy.sh in the server's clone, over SSH with a checked host key.
set -Eeuo pipefail
trap 'echo "deploy_over_ssh.sh: failed at line ${LINENO}" >&2' ERR

usage() {
    cat <<'EOF'
USAGE
  deploy_over_ssh.sh

ENVIRONMENT (variables of the pipeline, protected; the first two of type "file")
  DEPLOY_KEY           file with the private key of the server's deploying user
  DEPLOY_KNOWN_HOSTS   file with the server's host key, as ssh-keyscan prints it; no other is taken
  DEPLOY_TARGET        user@host
  DEPLOY_PATH          the clone on the server, such as /srv/marquee
  DEPLOY_PORT          default 22
  CI_COMMIT_SHA        the commit to deploy; default HEAD

EXAMPLES
  DEPLOY_TARGET=deploy@server DEPLOY_PATH=/srv/marquee DEPLOY_KEY=key DEPLOY_KNOWN_HOSTS=hosts \
      scripts/deploy_over_ssh.sh

EXIT STATUS
  0 the release has begun on the server; 1 it has not; 2 a variable is missing
EOF
}

main() {
    (($# == 0)) || { usage; [[ $1 =~ ^(-h|--help)$ ]] || exit 2; exit 0; }
    local name
    for name in DEPLOY_KEY DEPLOY_KNOWN_HOSTS DEPLOY_TARGET DEPLOY_PATH; do
        [[ -n ${!name-} ]] || { echo "deploy_over_ssh.sh: $name is not set (--help explains)" >&2; exit 2; }
    done
    # GitLab's file variables are readable by all, which ssh refuses.
    private=$(mktemp -d)
    trap 'rm -r "$private"' EXIT
    install -m 600 "$DEPLOY_KEY" "$private/key"
    ssh -F none -i "$private/key" -p "${DEPLOY_PORT:-22}" -o IdentitiesOnly=yes -o BatchMode=yes \
        -o StrictHostKeyChecking=yes -o "UserKnownHostsFile=$DEPLOY_KNOWN_HOSTS" \
        -o ServerAliveInterval=15 "$DEPLOY_TARGET" \
        "$(printf 'cd %q && scripts/deploy.sh %q' "$DEPLOY_PATH" "${CI_COMMIT_SHA:-$(git rev-parse HEAD)}")" || exit 1
}

main "$@"
