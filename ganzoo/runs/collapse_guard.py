"""Watches a GAN's training for collapse: warns early, says what to change, and acts where the recipe says so.

Every `guards.every` samples, and before the first step where a run begins with given weights, it compares samples of
fixed latents with as many reals, in the domain's small network-free features, and reads the discriminator's lead from
the losses' logs:

- spread: the mean distance of two samples, divided by that of two reals. Near 0 where all samples are alike.
- coverage: the share of reals with a sample nearer than the fifth-nearest other real (Naeem et al. 2020,
  arXiv:2002.09797), and recall (Kynkaanniemi et al. 2019, arXiv:1904.06991).
- lead: the discriminator's mean logit on reals minus that on samples, over the steps since the last check (from
  `metrics.jsonl`), judged only where the objective takes the discriminator's output as logits.

It warns where spread, coverage or recall, once good, has halved; where spread is still small after many samples; where
the lead is large twice in a row; and where a smaller lead lasts while the samples cover little (`LASTING`: a healthy
one is large at first and falls as the coverage rises). `LASTING` was chosen on some ninety runs of `image/dcgan_32`,
healthy ones and some with a discriminator that learns ten times as fast or rates that are too low. A warning is
repeated only after its sign had gone. Where the recipe lets it act, it acts at a sign, and again while one lasts, but
not within three checks of its last act.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo.addons.adaptive_augment import AdaptiveAugment
from ganzoo.data.sample_set import SampleSet
from ganzoo.errors import WeightsError
from ganzoo.files.reading import read_objects
from ganzoo.files.tensors import read_safetensors, write_arrays
from ganzoo.files.writing import append_object
from ganzoo.metrics.neighbours import density_coverage, precision_recall
from ganzoo.recipes.schema import Guards
from ganzoo.runs import checkpoints
from ganzoo.runs.callbacks import METRICS, Clock, Look, keep_event
from ganzoo.weights.variables import restored

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN

log = logging.getLogger("ganzoo")

GUARDS = "guards.jsonl"
LEAD = 10.0  # logits
LOOKS = 5
# The mean lead of so many looks is above the first number, and at least the second as a share of that of as many looks
# before, while the coverage is below the third.
LASTING = ((4.5, 0.95, 0.5), (6.5, 0.8, 0.8))
SPREAD = 0.4
PATIENCE = 10  # looks after which a small spread is no beginning any more
_NEIGHBOURS = 5
_RESTS = 3  # looks from one act to the next, while a sign lasts
_SLOWEST = 1 / 16  # of the recipe's rate: lower it is not made
_LOGITS = ("minimax", "non_saturating", "relativistic")  # objectives in which a lead is one of logits
_GOOD = "good-"  # states without a warning, for `go_back`: `good-SAMPLES.safetensors`
_FIXES = {
    "collapse": "augment more (augment.policy, augment.probability), lower the discriminator's rate "
    "(optimizers.discriminator.learning_rate), or start from a pretrained generator (ganzoo pretrain)",
    "lead": "lower optimizers.discriminator.learning_rate, add or strengthen a regularizer (r1), or augment more",
}


class Guard(Look):
    """Checks every `guards.every` samples: lines of `guards.jsonl`, warnings as the run's events."""

    def __init__(self, run: Path, clock: Clock, options: Guards, data: SampleSet):
        super().__init__(run, clock, options.every)
        self._options = options
        self._reals = data.some(options.samples)
        self._idle = False  # it had nothing left to do, and said so
        self._read_to, self._last_line = 0, []  # of metrics.jsonl
        self._looks = self._read()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Nothing: the last interval may be short."""

    def act(self) -> None:
        """Measure, judge, warn; nothing where an earlier session of the run did it."""
        if any(look["samples"] == self._done for look in self._looks):
            return
        with self._clock.paused():
            seconds = self._clock.seconds()
            look = {"samples": self._done, "seconds": round(seconds, 1), **self._measure()}
            look["signs"] = signs(look, self._looks)
            if self.model.recipe.objective not in _LOGITS and "lead" in look["signs"]:
                look["signs"].remove("lead")
            new = [sign for sign in look["signs"] if not self._looks or sign not in self._looks[-1]["signs"]]
            self._looks.append(look)
            for sign in new:
                text = f"{_describe(sign, self._looks)}: {_FIXES['lead' if sign == 'lead' else 'collapse']}."
                log.warning("After %s samples: %s", f"{self._done:,}", text)
                keep_event(self._run, self._done, text, repeats=True)
            if not look["signs"] and "go_back" in self._options.act:
                self._keep_good()
            if self._options.act and look["signs"] and self._looks_since_act() >= _RESTS and self._intervene():
                look["acted"] = True
            append_object(self._run / GUARDS, look)

    def _looks_since_act(self) -> float:
        """How many looks ago the guard acted; infinite if it never did."""
        ages = [age for age, look in enumerate(reversed(self._looks)) if _acted(look)]
        return min(ages, default=float("inf"))

    def _measure(self) -> dict[str, float | None]:
        fakes = self.model.generate(len(self._reals), seed=self.model.recipe.seed, live=True)
        found = measure(self._features, self.model.domain.small_features(fakes))
        return {**found, "lead": self._lead()}

    def _lead(self) -> float | None:
        """The mean since the last look, of the losses' log: a resumed run finds the same there."""
        path = self._run / METRICS
        size = path.stat().st_size if path.is_file() else 0
        unseen = read_objects(path, "samples", "step", "real_logits", "fake_logits", start=self._read_to)
        lines = [*self._last_line, *unseen]
        self._read_to, self._last_line = size, lines[-1:]
        if not lines:
            return None
        steps = np.diff([0, *(line["step"] for line in lines)])
        last = self._looks[-1]["samples"] if self._looks else 0
        new = [index for index, line in enumerate(lines) if line["samples"] > last] or [len(lines) - 1]
        leads = [lines[index]["real_logits"] - lines[index]["fake_logits"] for index in new]
        return float(np.average(leads, weights=steps[new]))

    def _keep_good(self) -> None:
        """Keep this state, and of earlier ones the last before each checkpoint: a resumed run needs that."""
        write_arrays(self._run / f"{_GOOD}{self.model.sample_count:012d}.safetensors", self.model.state())
        states, moments = self._good_states(), checkpoints.listed(self._run)
        needed = {max((seen for seen in states if seen <= moment), default=None) for moment in [*moments, max(states)]}
        for seen in states.keys() - needed:
            states[seen].unlink()

    def _good_states(self) -> dict[int, Path]:
        """The states that are kept, by their numbers of samples."""
        return checkpoints.numbered(self._run, ".safetensors", _GOOD)

    def _better_state(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """The last state without a warning and its samples, where it was better in all that the samples show now.

        A young run has no warnings while its samples are still alike, and that is nothing to go back to. Where the
        discriminator leads alone, no earlier state was better.
        """
        states, now = self._good_states(), self._looks[-1]
        shown = [sign for sign in now["signs"] if sign != "lead"]
        then = next((look for look in self._looks if look["samples"] == max(states, default=None)), None)
        if not shown or then is None or any((then[sign] or 0.0) <= now[sign] for sign in shown):
            return None
        try:
            state = read_safetensors(states[then["samples"]])
            checkpoints.check(state, states[then["samples"]], then["samples"])
        except WeightsError as error:
            log.warning("The guard cannot go back: %s", error)
            return None
        return then["samples"], state

    def _intervene(self) -> bool:
        """Act; whether there was anything to do."""
        done = []
        rate = self.model.optimizers["discriminator"].learning_rate
        better = self._better_state() if "go_back" in self._options.act else None
        if better is not None:
            seen, good = better
            counters = {"step": self.model.step_count, "samples_seen": self.model.sample_count}
            with restored([rate, *self.model.numbers().values()]):  # what was done against earlier signs stays done
                self.model.load_state({**good, **{name: np.int64(count) for name, count in counters.items()}})
            done.append(f"went back to the last state without a warning, that of {seen:,} samples")
        if "slow_discriminator" in self._options.act:
            slower = float(rate) / 2.0
            if slower >= _SLOWEST * self.model.recipe.optimizers["discriminator"].learning_rate * (1 - 1e-6):
                rate.assign(slower)
                done.append(f"lowered the discriminator's learning rate to {slower:.3g}")
        if "augment" in self._options.act:
            probability = self.model.addon(AdaptiveAugment).strengthen()
            if probability is not None:
                done.append(f"raised the probability of augmentation to {probability:.2f}")
        texts = list(done)
        if not done and not self._idle and "go_back" not in self._options.act:
            texts.append("can do no more of what guards.act allows it")
            self._idle = True
        for text in texts:
            log.warning("The guard %s.", text)
            keep_event(self._run, self._done, f"The guard {text}.", repeats=True)
        return bool(done)

    def _read(self) -> list[dict[str, Any]]:
        """Looks of earlier sessions; a resumed run has forgotten those after its checkpoint."""
        looks = read_objects(self._run / GUARDS, "samples", "spread")
        return [look for look in looks if isinstance(look.get("signs"), list)]

    def set_model(self, model: "GAN") -> None:
        """Look at the reals; forget states that come after the one that the run goes on from."""
        super().set_model(model)
        for seen, path in self._good_states().items():
            if seen > model.sample_count:
                path.unlink()
        self._features = model.domain.small_features(self._reals)


def measure(real: np.ndarray, fake: np.ndarray) -> dict[str, float | None]:
    """Spread, coverage and recall of features `(n, width)`; the latter two None for too few samples."""
    found: dict[str, float | None] = {"spread": _spread(fake) / max(_spread(real), 1e-12)}
    enough = len(real) > _NEIGHBOURS
    found["coverage"] = density_coverage(real, fake, _NEIGHBOURS)["coverage"] if enough else None
    found["recall"] = precision_recall(real, fake, 3)["recall"] if enough else None
    return found


def signs(look: Mapping[str, Any], earlier: list[dict[str, Any]]) -> list[str]:
    """What a look shows of trouble, given the looks before it: some of `spread`, `coverage`, `recall`, `lead`."""
    found = []
    best = max((past["spread"] for past in earlier), default=0.0)
    young = len(earlier) < PATIENCE
    if look["spread"] < SPREAD and ((best >= 2 * look["spread"] and best >= SPREAD) or not young):
        found.append("spread")
    for name in ("coverage", "recall"):
        most = max((past.get(name) or 0.0 for past in earlier), default=0.0)
        if look[name] is not None and most >= 0.2 and look[name] < most / 2:
            found.append(name)
    led = earlier[-1].get("lead") if earlier else None
    large = look["lead"] is not None and look["lead"] > LEAD and led is not None and led > LEAD
    if large or _lead_lasts([*earlier, look]):
        found.append("lead")
    return found


def _lead_lasts(looks: list[Mapping[str, Any]]) -> bool:
    leads = [look.get("lead") for look in looks[-2 * LOOKS :]]
    coverage = looks[-1]["coverage"]
    if len(leads) < 2 * LOOKS or None in leads or coverage is None:
        return False
    before, now = np.mean(leads[:LOOKS]), np.mean(leads[LOOKS:])
    return any(now > least and now >= share * before and coverage < most for least, share, most in LASTING)


def _acted(look: Mapping[str, Any]) -> bool:
    """Whether the guard did something after a look; files of earlier versions call it `mended`."""
    return bool(look.get("acted") or look.get("mended"))


def _describe(sign: str, looks: list[Mapping[str, Any]]) -> str:
    look = looks[-1]
    if sign == "lead":
        lead = look["lead"] if look["lead"] > LEAD else np.mean([one["lead"] for one in looks[-LOOKS:]])
        return f"The discriminator leads by {lead:.1f} logits, so the generator learns little"
    if sign == "spread":
        return f"The samples are alike: their mean distance is {look['spread']:.2f} of that of the real images"
    if sign == "recall":
        return f"Recall is {look['recall']:.0%} (real images within the samples' range), less than half of its best"
    return f"Coverage is {look['coverage']:.0%} (real images with a sample near them), less than half of its best"


def _spread(features: np.ndarray) -> float:
    """The mean distance of two different rows."""
    squares = np.sum(features**2, axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2.0 * features @ features.T, 0.0))
    count = len(features)
    return float(distances.sum() / max(count * (count - 1), 1))
