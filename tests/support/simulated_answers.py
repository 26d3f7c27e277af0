"""Answers of simulated users whose true probabilities to take a recommendation are known."""

from dataclasses import dataclass

import numpy as np

from app.quality.estimate import Outcomes


@dataclass(frozen=True)
class Population:
    """Users who take a recommendation more or less often.

    Attributes:
        take_rate: mean over all answers.
        between_users: correlation of two answers of one user.
        mean_answers: mean number of answers of a user in the window.
        past_answers: mean number before it.
        canary_share: share of the requests that the canary answers.
        loss: relative loss of the canary: 0.05 takes 5 % less.
    """

    take_rate: float = 0.1
    between_users: float = 0.3
    mean_answers: float = 10.0
    past_answers: float = 10.0
    canary_share: float = 0.2
    loss: float = 0.0

    @property
    def true_difference(self) -> float:
        """Expected takes per answer of the canary minus those of the version in production."""
        return -self.loss * self.take_rate

    def draw(self, rng: np.random.Generator, canary_answers: int) -> Outcomes:
        """Draw a release with about so many answers of the canary."""
        answers = canary_answers / self.canary_share
        users = max(2, round(answers / self.mean_answers))
        # Numbers of answers with a long tail; users who ask more often take less of each answer.
        activity = rng.gamma(1.0, 1.0, users)
        weight = (1 - self.between_users) / self.between_users
        rate = rng.beta(self.take_rate * weight, (1 - self.take_rate) * weight, users)
        count = rng.poisson(self.mean_answers * activity)
        past = rng.poisson(self.past_answers * activity)
        user = np.repeat(np.arange(users), count)
        is_candidate = rng.random(len(user)) < self.canary_share
        taken = rng.random(len(user)) < rate[user] * np.where(is_candidate, 1 - self.loss, 1)
        return Outcomes(
            user,
            is_candidate,
            taken.astype(float),
            rng.binomial(past, rate).astype(float),
            past.astype(float),
        )
