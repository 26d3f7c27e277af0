#!/usr/bin/env bash
# Resolve the dependencies of pyproject.toml and pin them, with hashes, in requirements/*.txt.
set -Eeuo pipefail

usage() {
    cat <<'EOF'
USAGE
  lock.sh

Writes requirements/*.txt with `uv pip compile`. Needs uv in PATH (`make lock` provides it).

OPTIONS
  -h, --help   show this help

EXIT STATUS
  0  done
  1  the dependencies cannot be resolved (reason on standard error)
  2  invalid arguments
EOF
}

compile() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header "$@"
}

main() {
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    # shellcheck source=scripts/lib.sh
    source scripts/lib.sh
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    reject_arguments "$@"
    compile requirements/uv.in --output-file requirements/uv.txt
    compile requirements/audit.in --output-file requirements/audit.txt
    compile requirements/docs.in --output-file requirements/docs.txt
    compile requirements/browser.in --output-file requirements/browser.txt
    compile requirements/kubernetes.in --output-file requirements/kubernetes.txt
    # dev.txt contains all other sets: resolve it first, and constrain the others by it.
    compile pyproject.toml --all-extras --group dev --output-file requirements/dev.txt
    # Beside training.txt, on request: pyspark has 400 MB.
    compile requirements/spark.in --constraints requirements/dev.txt \
        --output-file requirements/spark.txt
    compile pyproject.toml --all-extras --constraints requirements/dev.txt \
        --output-file requirements/deployment.txt
    compile pyproject.toml --extra training --extra provenance --constraints requirements/dev.txt \
        --output-file requirements/training.txt
    compile pyproject.toml --extra provenance --constraints requirements/dev.txt \
        --output-file requirements/provenance.txt
    compile pyproject.toml --constraints requirements/dev.txt --output-file requirements/service.txt
}

main "$@"
