"""Lines are read by the content of a file, whatever its name, and from pipes."""

import bz2
import gzip
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.ingest.errors import IngestError
from app.ingest.line_reader import READ_BYTES, LineReader

LINES = ["user,movie", "1,caf\u00e9+1999", ""]
TEXT = "\n".join(LINES)


def read(path: Path) -> list[str]:
    with LineReader(str(path)) as reader:
        return [line for lines in reader.read_lines() for line in lines]


@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: bz2.compress(text.encode()),
        lambda text: lzma.compress(text.encode()),
        lambda text: gzip.compress(text.encode("utf-16")),
        lambda text: gzip.compress(text.encode()[:9]) + gzip.compress(text.encode()[9:]),
    ],
)
@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "TABLE.GZ", "table.xz"])
def test_the_content_decides_how_a_file_is_read(
    tmp_path: Path, encode: Callable[[str], bytes], name: str
) -> None:
    (tmp_path / name).write_bytes(encode(TEXT))
    assert read(tmp_path / name) == LINES[:-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x28\xb5\x2f\xfd\x00", "zstdcat"),
        (b"PK\x03\x04\x00", "a ZIP archive"),
        (b"PAR1\x15", "a Parquet file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "an HTML page"),
        (gzip.compress(b"<html>not found", mtime=0), "an HTML page"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-4], "cannot read"),
    ],
)
def test_what_is_not_text_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(IngestError, match=message):
        read(tmp_path / "table.csv")


@pytest.mark.parametrize("encode", [str.encode, lambda text: gzip.compress(text.encode())])
def test_a_pipe_is_read_to_its_end(tmp_path: Path, encode: Callable[[str], bytes]) -> None:
    os.mkfifo(tmp_path / "pipe")
    text = "".join(f"{number},a+movie+2009,3\n" for number in range(3 * READ_BYTES // 20))
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[encode(text)])
    writer.start()
    with LineReader(str(tmp_path / "pipe")) as reader:
        assert reader.size_bytes is None
        lines = [line for batch in reader.read_lines() for line in batch]
        assert reader.position_bytes == 0
    writer.join()
    assert lines == text.splitlines()


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert read(tmp_path / "empty") == []
