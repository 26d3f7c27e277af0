"""The movie ids behind the movie numbers of recorded answers, for programs that read many."""

import sqlalchemy as sa

from app.provenance.instance_info import decompress_movie_ids
from app.provenance.tables import build, catalogue, tracking


class Catalogues:
    """Reads the movie ids of models from the database, each model once.

    Args:
        engine: of the database of provenance.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._by_model: dict[str, list[str] | None] = {}
        self._by_record: dict[tuple[str, int], list[str] | None] = {}

    def get_movie_ids(self, build_id: str, version: int) -> list[str] | None:
        """Return the movie ids by movie number of an answer's model; None where not known.

        Args:
            build_id: of the answer, which names the model exactly: a number may have been built
                twice.
            version: of the answer, for a build that is not known.

        Raises:
            SQLAlchemyError: the database is unreachable.
        """
        key = build_id, version
        if key not in self._by_record:
            self._by_record[key] = self._read(build_id, version)
        return self._by_record[key]

    def _read(self, build_id: str, version: int) -> list[str] | None:
        of_build = sa.select(build.c.model_hash).where(build.c.build_id == build_id)
        of_version = sa.select(tracking.c.model_hash).where(tracking.c.version_number == version)
        with self._engine.connect() as connection:
            model = connection.scalar(of_build) or connection.scalar(of_version)
            if model is not None and model not in self._by_model:
                ids = sa.select(catalogue.c.movie_ids).where(catalogue.c.model_hash == model)
                packed = connection.scalar(ids)
                self._by_model[model] = None if packed is None else decompress_movie_ids(packed)
        return None if model is None else self._by_model[model]
