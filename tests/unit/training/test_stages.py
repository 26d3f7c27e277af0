import numpy as np

from app.training.stages import Stages


def test_the_peak_memory_of_a_stage_excludes_earlier_stages() -> None:
    stages = Stages()
    with stages.stage("large"):
        np.ones(50_000_000).sum()  # 400 MB, freed
    with stages.stage("small"):
        pass
    assert stages.peak_mb["large"] > stages.peak_mb["small"] + 300
