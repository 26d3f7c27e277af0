"""`manifest.json`: what an artifact is, what it was made from, and the hash of each file."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

FORMAT = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1_000_000
_FILE_NAME = re.compile(r"^[a-z][a-z0-9_]*\.npy$")
_SHA256 = r"^[0-9a-f]{64}$"

Kind = Literal["lists", "factors"]


class ArtifactError(Exception):
    """An artifact that must not be used; the message says which file and why."""


class FileEntry(BaseModel):
    """One array of an artifact."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=_SHA256)
    bytes: int = Field(ge=0)
    dtype: str
    shape: tuple[int, ...]


class Manifest(BaseModel):
    """What stands in `manifest.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    kind: Kind
    version: int = Field(ge=0)
    created: str
    users: int = Field(ge=0)
    items: int = Field(ge=1)
    parameters: dict[str, Any]
    metrics: dict[str, Any]
    data: dict[str, Any]
    code: dict[str, Any]
    files: dict[str, FileEntry]
    model_hash: str = Field(pattern=_SHA256)

    @field_validator("files")
    @classmethod
    def _plain_names(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            if not _FILE_NAME.match(name):
                raise ValueError(f"not a name for an array file: {name!r}")
        return files

    def to_json(self) -> bytes:
        """The file's content: readable JSON, closed by a seal over everything else."""
        content = self.model_dump(mode="json")
        return (json.dumps({**content, "seal": _seal(content)}, indent=1) + "\n").encode()


def content_hash(files: dict[str, FileEntry]) -> str:
    """One hash for all arrays: equal exactly when every file is equal."""
    lines = (f"{name} {files[name].sha256}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_manifest(directory: Path, kind: Kind) -> Manifest:
    """Read and check `directory/manifest.json`.

    Raises:
        ArtifactError: no such directory or file, not JSON, an unknown format, another kind,
            missing or unknown fields, or content that does not agree with its seal.
    """
    if not directory.is_dir():
        raise ArtifactError(f"{directory}: no such model directory")
    content = _load(directory / MANIFEST)
    seal = content.pop("seal", None)
    where = directory / MANIFEST
    if content.get("format") != FORMAT:
        raise ArtifactError(
            f"{where}: format {content.get('format')!r}; this program reads format {FORMAT}"
        )
    if content.get("kind") != kind:
        raise ArtifactError(f"{where}: kind {content.get('kind')!r}, expected {kind!r}")
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"{where}: {field}: {first['msg']}") from error
    if seal != _seal(content) or manifest.model_hash != content_hash(manifest.files):
        raise ArtifactError(f"{where}: was changed after it was written (its seal does not match)")
    return manifest


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise ArtifactError(f"{path}: larger than {MAX_MANIFEST_BYTES} bytes")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path}: not a JSON object")
    return content


def _seal(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
