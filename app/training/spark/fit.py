"""Fit all models on a Spark cluster: the engine of `marquee train --engine spark`.

Spark reads, weighs, counts and ranks in tasks, and fits MLlib's ALS. The driver numbers the blocks,
inverts EASE's matrix, fits Surprise's SVD to at most `svd.max_ratings` ratings meanwhile, and
writes the artifact.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.ingest import training_tables
from app.ingest.training_tables import EventTables
from app.spark.cluster import Cluster
from app.training.errors import TrainingError
from app.training.fit import FittedModels, fitting_svd
from app.training.interactions import encode_lengths, sort_movie_ids
from app.training.params import Params
from app.training.pipeline import Fitted, TrainingJob
from app.training.ranking.confidence import to_matrix
from app.training.runtimes import read_lengths
from app.training.spark import mllib
from app.training.spark.blocks import Data, gather_blocks, read_blocks, weigh_blocks
from app.training.spark.lists import BlockLists
from app.training.spark.sums import Sums
from app.training.stages import Stages
from app.training.svd import select_ratings


class SparkFit:
    """Reads the tables of a job and fits all models on a cluster; see `pipeline.Fit`.

    Args:
        cluster: where the tasks run.
        directory: an empty directory that the driver and all workers reach by this path.
    """

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self._cluster, self._directory = cluster, directory

    def __call__(self, job: TrainingJob, params: Params, stages: Stages) -> Fitted:
        """Fit the models and compute all lists.

        Raises:
            TrainingError: no model can be trained from this input or these parameters.
            SparkError: a job failed.
        """
        mllib.check_params(params.als)
        cluster, report = self._cluster, stages.set_progress
        with stages.stage("read"):
            tables = _open_tables(job)
            movies = sort_movie_ids(tables.read_movie_ids())
            blocks, newest_us = read_blocks(cluster, tables, movies, self._directory, report)
        with stages.stage("weigh"):
            data = Data(self._directory, len(movies), newest_us, _read_lengths(job, movies))
            oldest = weigh_blocks(cluster, data, blocks, params, job.scale, report)
        with stages.stage("gather"):
            events, confidence, recency = gather_blocks(data, blocks, movies, report)
            ratings = select_ratings(events, params.svd, params.seed)
        sums = Sums(cluster, data, blocks, oldest, report)
        als, ease, transitions = None, None, None
        with fitting_svd(ratings, params, job.scale) as get_svd:
            with stages.stage("popularity"):
                params = sums.resolve_auto(params)
                popularity = sums.compute_popularity(params.popularity)
                counts, pairs = sums.count_movies()
            if params.blend.als > 0:
                with stages.stage("als"):
                    shape, size = (len(events.users), len(movies)), len(events.movie)
                    als = mllib.fit_als(
                        cluster, self._directory, params.als, params.seed, shape, size, report
                    )
            if params.blend.ease > 0:
                with stages.stage("ease"):
                    ease = sums.fit_ease(counts, params)
            if params.blend.transitions > 0:
                with stages.stage("transitions"):
                    transitions = sums.fit_transitions(counts, pairs, params)
            with stages.stage("svd", params.svd.epochs) as advance:
                svd = get_svd(advance)
        matrix = to_matrix(events, confidence)
        models = FittedModels(confidence, matrix, recency, popularity, svd, als, ease, transitions)
        lists = BlockLists(data, blocks)
        with stages.stage("rank"):
            lists.compute(cluster, models, params, report)
        engine = {"engine": "spark", "pyspark": cluster.version}
        return Fitted(events, params, models, lists.fill, engine)


def _open_tables(job: TrainingJob) -> EventTables:
    """Open the tables of a job.

    Raises:
        IngestError: a table is missing or not valid.
        TrainingError: the tables are not as `marquee prepare` writes them.
    """
    given = [path for path in (job.ratings, job.watches) if path is not None]
    if all(path.exists() for path in given) and not all(map(training_tables.is_parquet, given)):
        raise TrainingError("the engine Spark reads Parquet only, as `marquee prepare` writes it")
    ratings, watches = (path and path.resolve() for path in (job.ratings, job.watches))
    tables = EventTables(ratings, watches, job.times)
    if not tables.can_be_split():
        raise TrainingError(
            "the engine Spark reads tables sorted by user, as `marquee prepare` writes them"
        )
    return tables


def _read_lengths(job: TrainingJob, movies: pl.Series) -> NDArray[np.float32] | None:
    return encode_lengths(movies, None if job.movies is None else read_lengths(job.movies))
