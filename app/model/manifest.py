"""`manifest.json`: what an artifact is, what it was trained from, and the hash of each file."""

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from app.cli_errors import MarqueeError
from app.text_files import TextError, parse_json

#: Format that is written. From 2 on, `lists` may have the parts for recent events.
FORMAT = 2
READABLE_FORMATS = (1, 2)
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1_000_000
#: Key of the manifest's own SHA-256, computed over all other keys.
_CHECKSUM = "checksum"
_FILE_NAME = re.compile(r"^[a-z][a-z0-9_]*\.npy$")
_SHA256 = r"^[0-9a-f]{64}$"

Kind = Literal["lists", "factors"]


class ArtifactError(MarqueeError):
    """An artifact is missing, damaged or inconsistent; the message names the file and why."""


class FileEntry(BaseModel):
    """One array file of an artifact."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=_SHA256)
    bytes: int = Field(ge=0)
    dtype: str
    shape: tuple[int, ...]


class Manifest(BaseModel):
    """The content of `manifest.json`, without its checksum."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    kind: Kind
    version: int = Field(ge=0)
    created: str
    users: int = Field(ge=0)
    movies: int = Field(ge=1)
    parameters: dict[str, Any]
    metrics: dict[str, Any]
    data: dict[str, Any]
    code: dict[str, Any]
    files: dict[str, FileEntry]
    model_hash: str = Field(pattern=_SHA256)

    @field_validator("created")
    @classmethod
    def _validate_time(cls, created: str) -> str:
        datetime.fromisoformat(created)
        return created

    @field_validator("files")
    @classmethod
    def _validate_file_names(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            if not _FILE_NAME.match(name):
                raise ValueError(f"not a name for an array file: {name!r}")
        return files

    def compute_hash(self) -> str:
        """Compute the hash of everything that makes this model: see `compute_model_hash`."""
        return compute_model_hash(self.files, self.parameters, self.data)

    def to_json(self) -> bytes:
        """Serialize to indented JSON with the checksum as last key."""
        content = self.model_dump(mode="json")
        return (json.dumps({**content, _CHECKSUM: _checksum(content)}, indent=1) + "\n").encode()


def compute_model_hash(
    files: dict[str, FileEntry], parameters: dict[str, Any], data: dict[str, Any]
) -> str:
    """Compute one SHA-256 of all arrays, the parameters and the training data.

    The parameters contain the rating scale. Version number, time and metrics are no part of it.
    """
    hashes = {name: entry.sha256 for name, entry in files.items()}
    return _checksum({"files": hashes, "parameters": parameters, "data": data})


def _compute_old_model_hash(files: dict[str, FileEntry]) -> str:
    """Compute the model hash of version 0.2.0, which was one of the arrays only."""
    lines = (f"{name} {files[name].sha256}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_manifest(directory: Path, kind: Kind) -> Manifest:
    """Read and validate `directory/manifest.json`, also of a model of version 0.2.0.

    Raises:
        ArtifactError: no such directory or file, not JSON, an unknown format, another kind,
            missing or unknown fields, or a checksum mismatch.
    """
    if not directory.is_dir():
        raise ArtifactError(f"{directory}: no such model directory")
    path = directory / MANIFEST
    content = _read_json(path)
    checksum = content.pop(_CHECKSUM, None)
    if (found := content.get("format")) not in READABLE_FORMATS or isinstance(found, bool):
        readable = " and ".join(map(str, READABLE_FORMATS))
        raise ArtifactError(
            f"{path}: format {found!r}; this program reads formats {readable}: "
            "use the code of the version's commit"
        )
    if content.get("kind") != kind:
        raise ArtifactError(f"{path}: kind {content.get('kind')!r}, expected {kind!r}")
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"{path}: {field}: {first['msg']}") from error
    hashes = (manifest.compute_hash(), _compute_old_model_hash(manifest.files))
    if checksum != _checksum(content) or manifest.model_hash not in hashes:
        raise ArtifactError(f"{path}: was changed after it was written (checksum mismatch)")
    return manifest


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise ArtifactError(f"{path}: not a regular file")
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise ArtifactError(f"{path}: larger than {MAX_MANIFEST_BYTES} bytes")
        content = parse_json(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from error
    except TextError as error:
        raise ArtifactError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path}: not a JSON object")
    return content


def _checksum(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
