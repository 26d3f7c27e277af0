# scripts/audit.sh with fakes of pip-audit and cyclonedx-py.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    mkdir -p "$BATS_TEST_TMPDIR"/{bin,clone/scripts,clone/requirements}
    cd "$BATS_TEST_TMPDIR/clone" || exit
    cp "$root"/scripts/{audit.sh,lib.sh} scripts/
    touch requirements/{service,provenance,deployment}.txt
    # Without --strict, packages that cannot be audited are no error.
    cat >../bin/pip-audit <<'END'
#!/bin/bash
[[ " $* " == *" --require-hashes "*" --strict "* ]] || exit 99
echo "$*" >>../audited
[[ "$*" != *"${VULNERABLE-none}"* ]] || { echo "flask 1.0 PYSEC-1"; exit 1; }
END
    printf '#!/bin/bash\necho "{}" >"${*: -1}"\n' >../bin/cyclonedx-py
    chmod +x ../bin/*
    export PATH=$BATS_TEST_TMPDIR/bin:$PATH
}

@test "audit.sh: audits the packages of every image, and writes a bill of materials of each" {
    run scripts/audit.sh
    [ "$status" -eq 0 ]
    [ "$(wc -l <../audited)" -eq 3 ]
    [ "$(ls build/audit)" = $'deployment.cdx.json\nprovenance.cdx.json\nservice.cdx.json' ]
}

@test "audit.sh: a vulnerability fails at the end, when all sets were audited" {
    VULNERABLE=service run scripts/audit.sh
    [ "$status" -eq 1 ]
    [[ $output == *PYSEC-1*"there are known vulnerabilities"* ]]
    [ "$(ls build/audit | wc -l)" -eq 3 ]
    AUDIT_IGNORE="PYSEC-1 PYSEC-2" run scripts/audit.sh service
    grep -q -- "--ignore-vuln PYSEC-1 --ignore-vuln PYSEC-2" ../audited
    run scripts/audit.sh ../x
    [ "$status" -eq 2 ]
}
