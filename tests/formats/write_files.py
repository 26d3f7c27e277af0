"""Write files in the forms of the version whose code is imported; see README.md.

git archive a9ea8b2 | tar --extract --directory OLD
cd OLD && PYTHONPATH=. python TESTS/formats/write_files.py TESTS/formats/0.2.0
"""

import shutil
import subprocess
import sys
from pathlib import Path

from app.ingest.store_writer import open_writer
from app.model.recommendation_lists import RecommendationLists
from app.provenance.instance_info import describe_instance, segment_header
from app.provenance.record_format import encode_record
from app.provenance.spool_writer import SpoolWriter
from app.settings import Settings

USERS, MOVIES = 12, 9


def main(out: Path) -> None:
    """Write a log, a store, a model of version 4, a spool with three records, and parameters."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with open_writer(out / "store", buckets=2):  # few buckets: smaller files
        lines = log_lines()
    for half in (lines[: len(lines) // 2], lines[len(lines) // 2 :]):  # two segments a table
        (out / "lines.log").write_text("\n".join(half) + "\n")
        marquee("collect", "--file", out / "lines.log", "--store", out / "store")
    (out / "lines.log").write_text("\n".join(lines) + "\n")
    marquee("prepare", "--store", out / "store", "--out", out / "prepared")
    small = Path("params.yaml").read_text().replace("factors: 50", "factors: 4")
    (out / "params.yaml").write_text(small.replace("factors: 64", "factors: 4"))
    marquee(
        "train", "--tables", out / "prepared", "--params", out / "params.yaml",
        "--version-number", 4, "--out", out / "model",
    )  # fmt: skip
    shutil.rmtree(out / "prepared")
    (out / "store" / "lock").unlink()
    write_spool(out)


def log_lines() -> list[str]:
    """Watches and ratings of five days, in the order of time."""
    lines = []
    for user in range(USERS):
        for step in range(5):
            movie, hour = (user * 2 + step * step) % MOVIES, (user + 7 * step) % 24
            path, time = f"the+movie+{movie}+{1990 + movie}", f"2022-11-{step + 1:02}T{hour:02}"
            lines += [f"{time}:0{i}:01,{user},GET /data/m/{path}/{i}.mpg" for i in range(3)]
            lines.append(f"{time}:30:01,{user},GET /rate/{path}={(user + step) % 5 + 1}")
    return sorted(lines)


def marquee(*arguments: object) -> None:
    """Run a command of the imported version."""
    subprocess.run([sys.executable, "-m", "app", *map(str, arguments)], check=True)


def write_spool(out: Path) -> None:
    """Write the records of three users, as one process of the service does."""
    settings = Settings(slot="canary", build_id="4-0123456789ab", commit="0" * 40)
    lists = RecommendationLists.open(out / "model")
    writer = SpoolWriter(
        out / "spool",
        segment_header(settings, lists.manifest),
        describe_instance(settings, lists),
        1 << 30,
        lambda reason, records: sys.exit(f"{records} records dropped: {reason}"),
    )
    for user in range(3):
        moment = 1_668_000_000_000_000 + user * 1000
        request_id = f"{moment // 1_000_000}.{user:03}-{'0123456789abcdef' * 2}"
        found = lists.get(user)
        writer.append(
            encode_record(
                request_id, moment, user, found.source, 80, False, False, found.movie_numbers
            )
        )
    writer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
