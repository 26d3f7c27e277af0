"""MLlib's implicit ALS: the objective of `ranking.als` at exponent 1."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from app.spark.cluster import Cluster, Report
from app.training.errors import TrainingError
from app.training.params import AlsParams
from app.training.ranking.als import AlsFactors
from app.training.spark.blocks import CONFIDENCE

#: MLlib cuts users and movies into so many blocks each: at least, and one for so many pairs. The
#: result depends on their number, so that it does not depend on the size of the cluster.
_MIN_BLOCKS, _PAIRS_PER_BLOCK = 10, 1_000_000
#: Every so many iterations the factors are written to disk, and a lost worker costs no more.
_CHECKPOINT_ITERATIONS = 3


def check_params(params: AlsParams) -> None:
    """Check that MLlib has this objective.

    Raises:
        TrainingError: MLlib has another regularisation.
    """
    if params.exponent != 1:
        raise TrainingError(
            f"als.exponent is {params.exponent:g}: MLlib's ALS, which the engine Spark uses, "
            "has the exponent 1 only"
        )


def fit_als(  # noqa: PLR0913, PLR0917
    cluster: Cluster,
    directory: Path,
    params: AlsParams,
    seed: int,
    shape: tuple[int, int],
    pairs: int,
    report: Report,
) -> AlsFactors:
    """Fit ALS to the confidence values that `weigh_blocks` wrote.

    Args:
        cluster: where it is fitted.
        directory: the scratch directory; the factors of the users are a mapped file in it.
        params: parameters of ALS.
        seed: seed of the initial factors.
        shape: number of users and of movies.
        pairs: number of pairs.
        report: receives the progress.
    """
    from pyspark.ml.recommendation import ALS  # noqa: PLC0415 - optional requirement

    context = cluster.session.sparkContext
    context.setCheckpointDir(str(directory / "checkpoints"))
    blocks = max(_MIN_BLOCKS, pairs // _PAIRS_PER_BLOCK)
    als = ALS(
        implicitPrefs=True,
        rank=params.factors,
        maxIter=params.iterations,
        regParam=params.regularization,
        alpha=params.alpha,
        seed=seed,
        numUserBlocks=blocks,
        numItemBlocks=blocks,
        checkpointInterval=_CHECKPOINT_ITERATIONS,
        userCol="user",
        itemCol="movie",
        ratingCol="confidence",
    )
    with cluster.watch("als", report):
        model = als.fit(cluster.session.read.parquet(str(directory / CONFIDENCE)))
        for name, factors in (("users", model.userFactors), ("movies", model.itemFactors)):
            factors.write.parquet(str(directory / f"als-{name}"))
    users, movies = (
        _read_factors(directory, name, (size, params.factors))
        for name, size in zip(("users", "movies"), shape, strict=True)
    )
    return AlsFactors(users, movies)


def _read_factors(directory: Path, name: str, shape: tuple[int, int]) -> Any:
    """Return factors by number as a mapped file; 0 for a number without any pair."""
    target = np.lib.format.open_memmap(
        directory / f"als_{name}.npy", mode="w+", dtype=np.float32, shape=shape
    )
    for path in sorted((directory / f"als-{name}").glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=50_000):
            numbers = batch.column("id").to_numpy()
            values = batch.column("features").flatten().to_numpy()
            target[numbers] = values.reshape(len(numbers), shape[1])
    target.flush()
    return target
