"""Rules of a transfer, frozen layers, and when they are trained again."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from ganzoo.addons.weight_consolidation import WeightConsolidation
from ganzoo.errors import DataError, RecipeError, TrainingError, WeightsError
from ganzoo.recipes import entries, yaml_files
from ganzoo.runs.finetune import finetune
from ganzoo.runs.lineage import load_first_weights, pretraining_time
from ganzoo.runs.train import train
from ganzoo.weights import preset_files
from ganzoo.weights.foreign import Mapped
from ganzoo.zoo.load import load
from ganzoo.zoo.transfer import transfer

ENTRY = "image/dcgan_32"
TINY = entries.get_entry(ENTRY).raw["tiny"]


def changed(gan, before):
    """The names of the layers of each network whose weights differ from `before`."""
    after = gan.state()
    return {key.rpartition("/")[0] for key in after if not np.array_equal(after[key], before[key])}


def test_what_does_not_fit_is_loaded_only_where_the_rules_say_so(tiny, tmp_path):
    source = tiny(ENTRY)
    preset_files.save(source, tmp_path)
    wider = tiny(ENTRY, model={"latent_dim": 16})
    fresh = {w.path: np.array(w) for w in wider.generator.weights}
    name = f"{tmp_path}:generator"
    with pytest.raises(WeightsError, match=r"1 of \d+ \(dense/kernel: \(8, \d+\) in the source, \(16, "):
        transfer(name, "generator", wider)
    assert all(np.array_equal(w, fresh[w.path]) for w in wider.generator.weights)
    for rules in ({"partial": True}, {"skip": ["dense/*"]}):
        report = transfer(name, "generator", wider, **rules)
        assert (len(report.skipped), len(report.mismatched)) == ((1, 0) if "skip" in rules else (0, 1))
        for network in (wider.generator, wider.generator_ema):
            for mine, theirs in zip(network.weights, source.generator_ema.weights, strict=True):
                assert (mine.shape != theirs.shape) or np.array_equal(mine, theirs)
        assert np.array_equal(wider.generator.weights[0], fresh[wider.generator.weights[0].path])
    with pytest.raises(WeightsError, match="No weight of"):
        transfer(f"{tmp_path}:discriminator.head", "discriminator.trunk", wider, partial=True)


def test_a_generator_of_another_resolution_gives_what_it_has(tiny, tmp_path):
    preset_files.save(tiny(ENTRY), tmp_path)
    larger = tiny(ENTRY, data={"size": 64}, model={"generator_width": TINY["model"]["generator_width"] // 2})
    report = transfer(f"{tmp_path}:generator", "generator", larger, partial=True)
    layers = {name.split("/")[0] for name in report.loaded}
    assert layers == {"dense", "norm_4", "up_8", "norm_8", "up_16", "norm_16"}
    assert {text.split("/")[0] for text in report.mismatched} == {"up_32", "norm_32", "up_64"}
    sizes = {"/".join(w.path.split("/")[-2:]): np.size(w) for w in larger.generator.weights}
    assert report.share == pytest.approx(sum(sizes[name] for name in report.loaded) / sum(sizes.values()))


def test_a_transfer_of_next_to_nothing_is_told(tiny, tmp_path, caplog):
    preset_files.save(tiny(ENTRY), tmp_path)
    init = {"discriminator": {"source": f"{tmp_path}:discriminator", "partial": True}}
    load_first_weights(tiny(ENTRY, data={"size": 64}, init=init), tmp_path)  # each of its widths is half of the other's
    assert "of its parameters were loaded. Most layers of the two have different widths" in caplog.text
    assert 0 < json.loads((tmp_path / "transfer.json").read_text())[0]["share"] < 0.1


def test_the_rules_of_a_run_are_kept_and_reported(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    train(ENTRY, data, tmp_path / "first", samples=16, overrides=TINY)
    wider = yaml_files.merge(TINY, {"model": {"latent_dim": 16}})
    init = {"generator": {"source": f"{tmp_path / 'first'}:generator", "skip": ["dense/*"]}}
    for _ in range(2):  # the second time it resumes
        train(ENTRY, data, tmp_path / "second", samples=16, overrides=wider, init=init)
    report = (tmp_path / "second/report.html").read_text()
    assert "1 skipped" in report and "dense/kernel" in report


@pytest.mark.heavy
def test_a_backbone_of_a_run_is_reported_and_its_time_counts(tmp_path):
    entry = "image/projected_mobile_64"
    data = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3)).astype("uint8")
    tiny = entries.get_entry(entry).raw["tiny"]
    plain = {
        "model": {"projected_weight": 0.0, "matching_weight": 0.0, "matching_until": 0, "trunk": "efficientnet_lite0"}
    }
    train(entry, data, tmp_path / "first", samples=16, overrides=yaml_files.merge(tiny, plain))
    source = f"{tmp_path / 'first'}:discriminator.trunk"
    heads = {"model": {"matching_weight": 0.0, "matching_until": 0, "backbone_weights": source}}
    for _ in range(2):  # the second time it resumes
        train(entry, data, tmp_path / "second", samples=16, overrides=yaml_files.merge(tiny, heads))
    (report,) = json.loads((tmp_path / "second/transfer.json").read_text())
    assert report["target"] == "model.backbone" and report["source"] == source and len(report["loaded"]) > 20
    assert pretraining_time(tmp_path / "second") == next(iter(report["times"].values())) > 0
    assert "model.backbone" in (tmp_path / "second/report.html").read_text()


@pytest.mark.parametrize(
    ("rule", "frozen"),
    [
        ("discriminator.trunk", {"down_16", "down_8", "down_4", "norm_8", "norm_4"}),
        ({"part": "discriminator.trunk", "share": 0.4}, {"down_16", "down_8"}),
        ({"part": "discriminator.trunk", "layers": ["down_*"]}, {"down_16", "down_8", "down_4"}),
        ({"part": "discriminator.trunk", "keep": ["norm_*"]}, {"down_16", "down_8", "down_4"}),
    ],
)
def test_frozen_layers_stay_bit_for_bit(rule, frozen, tiny, reals):
    gan = tiny(ENTRY, freeze=[rule])
    before = gan.state()
    gan.fit(reals(gan, 3), verbose=0)
    layers = {f"discriminator/trunk/{layer.name}" for layer in gan.part("discriminator.trunk").layers if layer.weights}
    still = {f"discriminator/trunk/{name}" for name in frozen}
    assert still < layers or rule == "discriminator.trunk"
    assert changed(gan, before) & layers == layers - still


def test_frozen_normalisations_stay_in_what_is_sampled(tiny, reals, tmp_path):
    preset_files.save(tiny(ENTRY), tmp_path / "source")
    gan = tiny(ENTRY, freeze=[{"part": "generator", "layers": ["norm_4"]}])
    transfer(f"{tmp_path / 'source'}:generator", "generator", gan)
    gan.fit(reals(gan, 3), verbose=0)
    preset_files.save(gan, tmp_path / "tuned")
    before, after = (preset_files.read_weights(str(tmp_path / name)) for name in ("source", "tuned"))
    kept = {key for key in before if np.array_equal(before[key], after[key])}
    assert {key for key in kept if "norm" in key and key.startswith("generator/")} == {
        f"generator/norm_4/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")
    }


def test_a_rule_that_names_nothing_is_refused(tiny):
    with pytest.raises(RecipeError, match=r"no layer of generator matches \['upp_\*'\]\. It has \['dense'"):
        tiny(ENTRY, freeze=[{"part": "generator", "layers": ["upp_*"]}])


def test_layers_are_trained_again_after_their_time_and_a_resume_is_exact(tiny, reals):
    freeze = [{"part": "discriminator.trunk", "until": 16}]
    gan = tiny(ENTRY, freeze=freeze)
    before = gan.state()
    gan.fit(reals(gan, 2), verbose=0)
    trunk = {name for name in changed(gan, before) if name.startswith("discriminator/trunk/")}
    assert gan.sample_count == 16 and not trunk
    middle = gan.state()
    gan.fit(reals(gan, 2), verbose=0)
    layers = [layer for layer in gan.part("discriminator.trunk").layers if layer.weights]
    assert {name for name in changed(gan, middle) if name.startswith("discriminator/trunk/")} == {
        f"discriminator/trunk/{layer.name}" for layer in layers
    }
    unbroken = tiny(ENTRY, freeze=freeze)
    unbroken.fit(reals(unbroken, 2).repeat(2), verbose=0)
    resumed = tiny(ENTRY, freeze=freeze)
    resumed.load_state(middle)
    resumed.fit(reals(resumed, 2), verbose=0)
    for other in (unbroken.state(), resumed.state()):
        assert all(np.array_equal(value, other[key]) for key, value in gan.state().items())


def first_steps(gan, before):
    """The mean size of what a step changed, in learning rates, of the trunk's kernels."""
    after = gan.state()
    kernels = [key for key in before if key.startswith("discriminator/trunk/") and key.endswith("kernel")]
    rate = gan.recipe.optimizers["discriminator"].learning_rate
    return np.mean([np.abs(after[key] - before[key]).mean() for key in kernels]) / rate


def one_step(gan, reals):
    before = gan.state()
    gan.fit(reals(gan, 1), verbose=0)
    return first_steps(gan, before)


@pytest.mark.parametrize(
    "changes",
    [{}, {"training.precision": "mixed_float16"}, {"training.d_steps": 5}, {"optimizers.discriminator.beta_1": 0.9}],
)
def test_the_first_step_after_a_thaw_is_a_first_step(changes, tiny, reals):
    usual = one_step(tiny(ENTRY, **changes), reals)
    assert usual > 0.5  # of a learning rate: the gradient's sign
    size = 8 * changes.get("training.d_steps", 1)
    thawed = tiny(ENTRY, freeze=[{"part": "discriminator.trunk", "until": 12 * size}], **changes)
    thawed.fit(reals(thawed, 2).repeat(6), verbose=0)
    middle = thawed.state()
    assert one_step(thawed, reals) == pytest.approx(usual, rel=0.25)
    # A guard that goes back takes the optimizer's state, but not the counters.
    thawed.fit(reals(thawed, 2).repeat(3), verbose=0)
    counters = {name: np.int64(np.array(getattr(thawed, name))) for name in ("step", "samples_seen")}
    thawed.load_state({**middle, **counters})
    assert one_step(thawed, reals) == pytest.approx(usual, rel=0.25)


def test_the_first_step_after_a_thaw_is_one_on_two_replicas(tiny, reals):
    import tensorflow as tf

    from ganzoo import distribution

    with distribution.scope(distribution.get_strategy("mirrored")):
        thawed = tiny(ENTRY, freeze=[{"part": "discriminator.trunk", "until": 80}])
    assert tf.distribute.has_strategy() is False and distribution.strategy_of(thawed).num_replicas_in_sync == 2
    thawed.fit(reals(thawed, 2).repeat(5), verbose=0)
    assert one_step(thawed, reals) == pytest.approx(1.0, rel=0.25)


def test_measuring_for_the_consolidation_leaves_the_discriminator_alone(tiny):
    gan = tiny(ENTRY, consolidation=10.0)
    before = gan.state()
    gan.begin()
    after = gan.state()
    assert all(np.array_equal(before[key], after[key]) for key in before if key.startswith("discriminator/"))
    assert any(np.abs(after[key]).max() > 0 for key in after if key.startswith("consolidation_worth/"))


def test_of_two_rules_for_a_layer_the_later_moment_counts(tiny):
    rules = [{"part": "discriminator.trunk", "until": 100}, {"part": "discriminator.trunk", "share": 0.4, "until": 50}]
    for order in (rules, rules[::-1]):
        gan = tiny(ENTRY, freeze=order)
        gan.samples_seen.assign(60)
        gan.thaw()
        assert not any(layer.trainable for layer in gan.part("discriminator.trunk").layers if layer.weights)
        gan.samples_seen.assign(100)
        gan.thaw()
        assert all(layer.trainable for layer in gan.part("discriminator.trunk").layers if layer.weights)


def test_what_is_inside_a_part_comes_after_the_part(tmp_path, tiny):
    for number, name in enumerate(("one", "other")):
        gan = tiny(ENTRY, seed=number)
        for weight in gan.discriminator.trainable_variables:
            weight.assign(np.full(weight.shape, number + 1.0))
        preset_files.save(gan, tmp_path / name)
    init = {
        "discriminator.trunk": f"{tmp_path}/one:discriminator.trunk",
        "discriminator": f"{tmp_path}/other:discriminator",
    }
    data = np.zeros((8, 32, 32, 3), "uint8")
    slow = {f"optimizers.{name}.learning_rate": 1e-9 for name in ("generator", "discriminator")}
    train(ENTRY, data, tmp_path / "run", samples=8, overrides=yaml_files.merge(TINY, yaml_files.nest(slow)), init=init)
    found = preset_files.read_weights(str(tmp_path / "run"))
    assert found["discriminator/trunk/down_16/kernel"].mean() == pytest.approx(1.0, abs=1e-3)
    assert found["discriminator/head/logits/kernel"].mean() == pytest.approx(2.0, abs=1e-3)


def test_a_resumed_run_thaws_when_an_unbroken_one_does(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    tiny = yaml_files.merge(TINY, {"freeze": [{"part": "discriminator.trunk", "until": 40}]})
    train(ENTRY, data, tmp_path / "whole", samples=64, overrides=tiny)
    train(ENTRY, data, tmp_path / "broken", samples=32, overrides=tiny)
    train(ENTRY, data, tmp_path / "broken", samples=64, overrides=tiny)
    from safetensors.numpy import load_file

    begun, whole, broken = (
        load_file(tmp_path / run / f"checkpoints/{samples:09d}.safetensors")
        for run, samples in (("whole", 32), ("whole", 64), ("broken", 64))
    )
    assert all(np.array_equal(value, broken[key]) for key, value in whole.items() if key != "run/seconds")
    trunk = [key for key in whole if key.startswith("discriminator/trunk/") and key.endswith("kernel")]
    assert all(not np.array_equal(begun[key], whole[key]) for key in trunk)
    told = [json.loads(line) for line in (tmp_path / "whole/events.jsonl").read_text().splitlines()]
    frozen, thawed = (next(one for one in told if word in one["text"]) for word in ("are frozen", "from now on"))
    assert frozen["samples"] == 0 and "5 layers are frozen: down_16" in frozen["text"]
    assert 40 <= thawed["samples"] <= 48 and "Of discriminator.trunk 5 layers" in thawed["text"]
    assert "are frozen" in (tmp_path / "whole/report.html").read_text()
    tiny["freeze"] = ["discriminator.trunk"]
    train(ENTRY, data, tmp_path / "frozen", samples=32, overrides=tiny)
    frozen = load_file(tmp_path / "frozen/checkpoints/000000032.safetensors")
    assert all(np.array_equal(begun[key], frozen[key]) for key in trunk)


def test_rules_are_told_by_their_path(tiny):
    with pytest.raises(RecipeError, match=r"^Unknown key 'freeze\.0\.shares' in the recipe\. Did you mean 'share'"):
        tiny(ENTRY, freeze=[{"part": "generator", "shares": 0.5}])
    with pytest.raises(RecipeError, match=r"^Wrong value of 'freeze\.0\.share'"):
        tiny(ENTRY, freeze=[{"part": "generator", "share": 0}])


def test_a_finetuning_to_other_classes_begins_with_fresh_embeddings(tiny, tmp_path):
    source = tmp_path / "source"
    preset_files.save(
        tiny("image/wgan_gp_32", evaluation={"every": 0}, guards={"every": 0}), source
    )  # of three classes
    data = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    fewer = (data, np.arange(40) % 2)
    with pytest.raises(
        DataError, match=r"model\.classes = 3, but the given array has 2 classes\. Set model\.classes to null"
    ):
        finetune(str(source), fewer, tmp_path / "run", samples=8)
    finetune(str(source), fewer, tmp_path / "run", samples=8, overrides={"model": {"classes": None}})
    reports = {one["target"]: one for one in json.loads((tmp_path / "run/transfer.json").read_text())}
    assert reports["generator"]["skipped"] == ["classes/embeddings"] and not reports["generator"]["mismatched"]
    assert reports["discriminator"]["skipped"] == ["head/classes/embeddings"]


def test_what_a_run_began_with_is_not_inherited(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    train(ENTRY, data, tmp_path / "first", samples=16, overrides=TINY)
    init = {"generator": {"source": f"{tmp_path / 'first'}:generator", "partial": True}}
    frozen = {**TINY, "freeze": [{"part": "generator"}]}
    train(ENTRY, data, tmp_path / "second", samples=16, overrides=frozen, init=init)
    plain = {"generator": init["generator"]["source"]}
    train(str(tmp_path / "second"), data, tmp_path / "third", samples=16, init=plain)
    third = entries.get_entry(str(tmp_path / "third")).raw
    assert third["init"]["generator"]["partial"] is False and not third["freeze"]
    with pytest.raises(TrainingError, match=r"Set init\.generator"):
        train(ENTRY, data, tmp_path / "fourth", samples=16, overrides={**TINY, "consolidation": 1.0})


def test_only_scales_are_trained(tiny, reals):
    gan = tiny(ENTRY, freeze=[{"part": "generator", "keep": ["norm_*"]}])
    before = gan.state()
    gan.fit(reals(gan, 2), verbose=0)
    moved = {name for name in changed(gan, before) if name.startswith("generator/")}
    assert moved == {f"generator/{layer.name}" for layer in gan.generator.layers if layer.name.startswith("norm_")}


def test_consolidation_is_the_weighted_distance_from_the_source(tiny, reals):
    gan = tiny(ENTRY, consolidation=50.0)
    gan.look_at(reals(gan, 1))
    kept = gan.addon(WeightConsolidation)
    assert float(kept.penalty(gan)) == 0.0
    worth = [np.array(w) for w in kept.worth.weights]
    assert sum(w.sum() for w in worth) == pytest.approx(1.0, rel=1e-4) and all((w >= 0).all() for w in worth)
    kernel = gan.generator.get_layer("dense").kernel
    change = np.random.default_rng(0).normal(size=kernel.shape).astype("float32")
    kernel.assign_add(change)
    expected = np.sum(np.array(kept.worth.get_layer("dense").kernel) * change**2)
    assert float(kept.penalty(gan)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("objective", ["non_saturating", "wasserstein", "relativistic"])
def test_a_weight_is_worth_its_squared_derivatives(objective, tiny, monkeypatch):
    monkeypatch.setattr("ganzoo.addons.weight_consolidation._BATCHES", 3)
    gan = tiny("image/wgan_gp_32", consolidation=1.0, objective=objective, model={"classes": 10})
    gan.begin()
    weights = [gan.generator.get_layer("norm_out").beta, gan.generator.get_layer("to_image").bias]
    losses = {
        "non_saturating": lambda logits, others: np.log1p(np.exp(-logits)),
        "wasserstein": lambda logits, others: -logits,
        "relativistic": lambda logits, others: np.log1p(np.exp(others - logits)),
    }
    kept = gan.addon(WeightConsolidation).worth
    measured = [float(kept.get_layer("norm_out").beta[0]), float(kept.get_layer("to_image").bias[0])]

    def verdicts(batch):
        conditions = {"class_id": tf.constant((np.arange(8) + 8 * batch) % 10)}
        latents = {name: tf.constant(value) for name, value in gan.draw_latents(8, seed=batch).items()}
        fake = gan.generator({**latents, **conditions}, training=False)
        return np.array(gan.score(gan.observe(fake, conditions), conditions), np.float64)

    squares = []
    for weight in weights:
        start, total, step = np.array(weight), 0.0, 1e-2 * np.eye(weight.shape[0])[0]
        for batch in range(3):
            others, sides = verdicts(batch).mean(), []
            for sign in (1, -1):
                weight.assign(start + sign * step)
                sides.append(losses[objective](verdicts(batch), others).mean())
            weight.assign(start)
            total += ((sides[0] - sides[1]) / 2e-2) ** 2
        squares.append(total)
    assert measured[0] / measured[1] == pytest.approx(squares[0] / squares[1], rel=0.05)


def test_every_class_counts_in_a_consolidation(tiny):
    gan = tiny("image/wgan_gp_32", consolidation=1.0, model={"classes": 10})
    gan.begin()
    classes = next(w for w in gan.addon(WeightConsolidation).worth.weights if w.shape[0] == 10 and "class" in w.path)
    assert (np.array(classes).sum(axis=1) > 0).all()


PLAIN = {"projected_weight": 0.0, "matching_weight": 0.0}  # the generator is what matters


@pytest.mark.parametrize(
    "name", [name for name in entries.list_entries() if entries.get_entry(name).raw["gan"] != "elastic_mobile"]
)  # one of several widths refuses it: tests/test_smaller.py
@pytest.mark.heavy_with_backbone
def test_consolidation_holds_every_generator_back(name, tiny, reals, monkeypatch):
    monkeypatch.setattr("ganzoo.addons.weight_consolidation._BATCHES", 4)  # enough here, and quick
    distances = {}
    for weight in (1e-9, 1e6):
        gan = tiny(name, consolidation=weight, **({"model": PLAIN} if "projected" in name else {}))
        gan.fit(reals(gan, 4), verbose=0)
        distances[weight] = float(gan.addon(WeightConsolidation).penalty(gan))
    assert distances[1e6] < 0.5 * distances[1e-9]


def test_consolidation_needs_the_sources_discriminator(tiny):
    init = {"generator": "image/dcgan_32:generator"}
    with pytest.raises(RecipeError, match=r"init\.discriminator"):
        tiny(ENTRY, consolidation=1.0, init=init)


def test_consolidation_holds_a_generator_back_and_resumes(tiny, reals, tmp_path):
    moved, states = {}, {}
    for weight in (0.0, 1e6):
        gan = tiny(ENTRY, consolidation=weight)
        before = [np.array(w) for w in gan.generator.trainable_variables]
        gan.fit(reals(gan, 6), verbose=0)
        after = gan.generator.trainable_variables
        states[weight] = gan.state()
        moved[weight] = (before, [np.array(w) for w in after])
    names = [w.path for w in gan.generator.weights]
    worth = dict(zip(names, map(np.array, gan.addon(WeightConsolidation).worth.weights), strict=True))
    paths = [w.path for w in gan.generator.trainable_variables]
    far = {
        weight: sum(np.sum(worth[path] * (b - a) ** 2) for path, a, b in zip(paths, before, after, strict=True))
        for weight, (before, after) in moved.items()
    }
    assert far[1e6] < 0.5 * far[0.0]
    broken = tiny(ENTRY, consolidation=1e6)
    broken.fit(reals(broken, 6).take(2), verbose=0)
    resumed = tiny(ENTRY, consolidation=1e6)
    resumed.load_state(broken.state())
    resumed.fit(reals(resumed, 6).skip(2), verbose=0)
    state = resumed.state()
    assert [key for key, value in states[1e6].items() if not np.array_equal(value, state[key])] == []
    preset_files.save(resumed, tmp_path)
    assert not any("consolidation" in key for key in preset_files.read_weights(str(tmp_path)))
    load(str(tmp_path))


@pytest.mark.parametrize("how", ["all", "freeze_d", "scale", "consolidate"])
def test_every_way_to_fine_tune(how, tmp_path):
    data = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    train(ENTRY, data, tmp_path / "first", samples=16, overrides=TINY)
    run = tmp_path / "second"
    finetune(str(tmp_path / "first"), data[:20], run, how=how, samples=32)
    finetune(str(tmp_path / "first"), data[:20], run, how=how, samples=48)
    before, after = (preset_files.read_weights(str(tmp_path / name)) for name in ("first", "second"))
    assert before.keys() == after.keys()
    still = {key for key in before if np.array_equal(before[key], after[key])}
    kernels = {key for key in before if key.startswith("generator/") and key.endswith("kernel")}
    lower = {f"discriminator/trunk/down_{size}/kernel" for size in (16, 8)}
    assert (kernels <= still) == (how == "scale") and (lower <= still) == (how == "freeze_d")
    if how != "all":
        with pytest.raises(TrainingError, match="started with another recipe"):
            finetune(str(tmp_path / "first"), data[:20], run, how="all", samples=64)
        shutil.rmtree(tmp_path / "first")  # what it gave is in the run, and so is how
        with pytest.raises(TrainingError, match="started with another recipe"):
            finetune(str(tmp_path / "first"), data[:20], run, how="all", samples=64)


def test_an_unknown_way_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="Did you mean 'freeze_d'"):
        finetune(ENTRY, "mnist5k", tmp_path, how="freezed")
    with pytest.raises(RecipeError, match="model"):
        finetune(ENTRY, "mnist5k", tmp_path, overrides={"model": 5})


def test_a_dense_layer_after_flattened_channels_is_mapped():
    channels, height, width, outputs = 3, 2, 4, 5
    theirs = np.arange(120.0).reshape(outputs, channels * height * width)  # PyTorch's, over (c, h, w)
    rule = Mapped.model_validate(
        {"from": "fc.weight", "unflatten": (5, 3, 2, 4), "transpose": (2, 3, 1, 0), "reshape": (24, 5)}
    )
    image = np.random.default_rng(0).normal(size=(height, width, channels))
    np.testing.assert_allclose(
        image.ravel() @ rule.apply("logits/kernel", theirs), theirs @ image.transpose(2, 0, 1).ravel()
    )


def test_tensors_of_another_framework_are_mapped(tiny, tmp_path, as_torch):
    from safetensors.numpy import save_file

    source, gan = tiny(ENTRY), tiny(ENTRY, seed=1)
    trunk, target = source.part("discriminator.trunk"), gan.part("discriminator.trunk")
    for weight in trunk.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    tensors, mapping = as_torch(trunk)
    path, yaml = tmp_path / "classifier.safetensors", tmp_path / "mapping.yaml"
    save_file(tensors | {"fc.weight": np.zeros((10, 4), "float32")}, path)
    yaml.write_text(mapping)
    report = transfer(str(path), "discriminator.trunk", gan, mapping=str(yaml))
    assert len(report.loaded) == len(trunk.weights)
    for mine, theirs in zip(target.weights, trunk.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)

    def refused(match, text=mapping, **rules):
        yaml.write_text(text)
        with pytest.raises((WeightsError, RecipeError), match=match):
            transfer(str(path), "discriminator.trunk", gan, **{"mapping": str(yaml), **rules})

    known = {"backbone": path.name, "family": "unknown", "trained_on": "unknown"}
    assert report.teachers == (known,) and gan.pretrained_sources() == [known]  # for the marks of scores

    refused(r"give a mapping .*down_16/kernel \(4, 4, 3, 4\).*fc\.weight \(10, 4\)", mapping=None)
    refused("Did you mean 'down_16/kernel'", mapping.replace("down_16/kernel", "down_16/kernels"))
    refused("Did you mean 'features.0.kernel'", mapping.replace("features.0.kernel", "feature.0.kernel"))
    refused(r"axes don't match|axes", mapping.replace("[2, 3, 1, 0]", "[2, 3, 1]", 1))
    refused(
        r"1 of \d+ \(down_16/kernel: \(4, 3, 4, 4\) in the source", mapping.replace("[2, 3, 1, 0]", "[0, 1, 2, 3]", 1)
    )
    refused("A line is `NAME: TENSOR`", mapping.replace("transpose", "transposed", 1))
    refused("not in the source", "\n".join(mapping.splitlines()[1:]))
    with pytest.raises(WeightsError, match="does not exist"):
        transfer(str(tmp_path / "none.safetensors"), "discriminator.trunk", gan, mapping=str(yaml))
    with pytest.raises(WeightsError, match="A mapping is for files"):
        transfer(f"{tmp_path}:trunk", "discriminator.trunk", gan, mapping=str(yaml))
