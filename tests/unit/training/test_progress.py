import numpy as np

from app.training.progress import Stages


def test_a_stage_is_not_charged_with_the_memory_of_an_earlier_one() -> None:
    stages = Stages()
    with stages.stage("large"):
        np.ones(50_000_000).sum()  # 400 MB, given back
    with stages.stage("small"):
        pass
    assert stages.peak_mb["large"] > stages.peak_mb["small"] + 300
