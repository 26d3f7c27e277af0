"""Write data/sample as lines of the event log, in order of time.

Version 1 is trained on the sample; with these lines in the event store, later versions are too.
"""

import sys

import polars as pl


def create_sample_log() -> pl.DataFrame:
    """Return one column of lines: one for each minute watched and one for each rating."""
    watches = pl.read_parquet("data/sample/watches.parquet")
    ratings = pl.read_parquet("data/sample/ratings.parquet")
    minutes = watches.with_columns(minute=pl.int_ranges(pl.col("minutes").cast(pl.Int64))).explode(
        "minute"
    )
    lines = pl.concat(
        [
            minutes.select(
                time=pl.col("first_time") + pl.duration(minutes="minute"),
                line=pl.format("{},GET /data/m/{}/{}.mpg", "user_id", "movie_id", "minute"),
            ),
            ratings.select(
                "time",
                line=pl.format(
                    "{},GET /rate/{}={}", "user_id", "movie_id", pl.col("rating").cast(pl.Int64)
                ),
            ),
        ]
    ).sort("time")
    time = pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S")
    return lines.select(pl.concat_str(time, "line", separator=","))


if __name__ == "__main__":
    create_sample_log().write_csv(sys.stdout.buffer, include_header=False, quote_style="never")
