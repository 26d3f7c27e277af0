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


def test_lines_of_an_open_pipe_are_read_when_they_are_complete() -> None:
    output, pipe = os.pipe()
    os.write(pipe, b"first\nsec")
    with LineReader(f"/dev/fd/{output}") as reader:
        lines = reader.read_available_lines()
        assert next(lines) == ["first"]
        assert not reader.wait(0)
        os.write(pipe, "ond caf\u00e9\nthird".encode())
        assert reader.wait(0)
        assert next(lines) == ["second caf\u00e9"]
        os.close(pipe)
        assert reader.wait(0)
        assert list(lines) == [["third"]]
    os.close(output)


@pytest.mark.parametrize("encode", [str.encode, lambda text: gzip.compress(text.encode())])
def test_available_lines_of_a_file_are_all_lines(
    tmp_path: Path, encode: Callable[[str], bytes]
) -> None:
    text = "".join(f"{number},a+movie+2009,3\n" for number in range(READ_BYTES // 10))
    (tmp_path / "log").write_bytes(encode(text))
    with LineReader(str(tmp_path / "log")) as reader:
        assert reader.wait(0)
        lines = [line for batch in reader.read_available_lines() for line in batch]
    assert lines == text.splitlines()


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert read(tmp_path / "empty") == []
