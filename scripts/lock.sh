#!/usr/bin/env bash
# Resolve the dependencies of pyproject.toml and write them, pinned and hashed, to requirements/.
set -Eeuo pipefail
trap 'echo "lock.sh: failed at line ${LINENO}" >&2' ERR

compile() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header "$@"
}

main() {
    cd "$(dirname "$0")/.."
    compile requirements/uv.in --output-file requirements/uv.txt
    # The developer's set contains the others: it is resolved first and constrains them.
    compile pyproject.toml --all-extras --group dev --output-file requirements/dev.txt
    compile pyproject.toml --all-extras --constraints requirements/dev.txt \
        --output-file requirements/deployment.txt
    compile pyproject.toml --extra training --extra provenance --constraints requirements/dev.txt \
        --output-file requirements/training.txt
    compile pyproject.toml --extra provenance --constraints requirements/dev.txt \
        --output-file requirements/provenance.txt
    compile pyproject.toml --constraints requirements/dev.txt --output-file requirements/service.txt
}

main "$@"
