"""What keeps the packages and images that are installed those that were chosen."""

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tests.support.images import TAGS

PIPELINE: dict[str, Any] = YAML(typ="safe").load(ROOT / ".gitlab-ci.yml")
#: Final stages of the Dockerfile; each is an image.
IMAGES = ("deployment", "provenance", "provisioning", "service")


def test_the_pipeline_audits_dependencies_and_keeps_a_bill_of_materials() -> None:
    job = PIPELINE["audit"]
    assert job["script"] == ["make audit"]
    assert job["artifacts"]["reports"] == {"cyclonedx": "build/audit/*.cdx.json"}
    assert job["artifacts"]["when"] == "always"


def test_images_of_others_are_named_down_to_the_patch_release() -> None:
    """tests/images has the same tags, and tests/images/test_images.py compares the versions."""
    files = ("docker-compose.yml", "app/Dockerfile")
    text = "\n".join((ROOT / name).read_text() for name in files)
    used = set(re.findall(r"(?m)^(?: +image:|FROM) ([a-z./-]+:\S+)", text))
    assert len(used) == 11
    for image in used:
        assert re.search(r":v?\d+\.\d+\.\d+(-slim)?(@sha256:[0-9a-f]{64})?$", image), image
    used = {image.partition("@")[0] for image in used}
    # Grafana is in no package of Debian, and no test runs it.
    assert {image for image in used if not image.startswith("grafana/")} <= set(TAGS.values())


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")))
def test_every_package_is_pinned_with_hashes(path: Any) -> None:
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", path.read_text())[1:]
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._\[\],-]+==\S+", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_no_stage_installs_setuid_programs_after_they_were_removed() -> None:
    """tests/e2e/test_security.py searches the images; this finds the cause without building one."""
    stages = re.split(r"(?m)^FROM ", (ROOT / "app" / "Dockerfile").read_text())[1:]
    removal = "find / -xdev -type f -perm /6000 -exec chmod ug-s {} +"
    assert removal in stages[0]
    for stage in stages[1:]:
        name = stage.splitlines()[0].split(" AS ")[-1]
        if name in IMAGES and "apt-get install" in stage:
            assert removal in stage.split("apt-get install", 1)[1], name


def test_the_dockerfile_copies_and_updates_as_the_benchmarks_want() -> None:
    lines = (ROOT / "app" / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    assert not [line for line in lines if line.startswith("ADD ")]
    updates = [line for line in lines if "apt-get update" in line]
    assert updates
    assert all("apt-get install" in line for line in updates)
