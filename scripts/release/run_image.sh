# shellcheck shell=bash
# What the container `test` of a smoke test runs on Kubernetes, in the image of a service: run_image.sh inspect|test
# SMOKE-TEST. Verifies the hashes of the model; with `test`, also requests recommendations from the container beside it,
# which runs the image's own command. Its result is the termination message: a JSON object.
set -Eeuo pipefail

describe() { # prints version, commit and model of the image
    python -c 'import json, os, sys
lists = json.load(open(sys.argv[1]))["lists"]
print(json.dumps({"version": str(lists["version"]), "commit": os.environ.get("MARQUEE_COMMIT", "unknown"),
                  "model_hash": lists.get("model_hash", "unknown")}))' /tmp/manifests.json
}

main() {
    local version description
    marquee verify --json >/tmp/manifests.json
    description=$(describe)
    version=$(python -c 'import json, sys; print(json.loads(sys.argv[1])["version"])' "$description")
    [[ $1 != test ]] || python -c "$2" "$version"
    printf '%s\n' "$description" >/dev/termination-log
}

main "$@"
