"""Writes the files of an export into a folder, each judged, and their card."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ganzoo.core.gan import GAN
from ganzoo.files.writing import storage_errors

from . import aware, choose, generator, metadata, model_card, onnx_file, quality, saved_model, tflite, verify
from .files import AUTO, CLOSEST, FILES, REFERENCE, open_file
from .quantize import Quantizer, opened, run
from .reference import Reference, draw_calibration, draw_reference, psnr, save_reference

_UNSEEN_DB = 40.0  # of an int8 file that no real samples judge: hardly to be seen

log = logging.getLogger("ganzoo")


def build(
    gan: GAN,
    name: str | None,
    folder: Path,
    formats: Sequence[str],
    precisions: Sequence[str],
    target: str,
    data: Any,
    *,
    split: str | None = None,
) -> dict[str, Any]:
    """Write what `ganzoo.export.export_generator` promises into `folder`; the card.

    Args:
        gan: what is exported.
        name: the entry, run or preset that it was loaded from, if any.
        folder: a hidden one inside the folder of the export; exists.
        formats: some of `ganzoo.export.FORMATS`.
        precisions: of TFLite files.
        target: what `auto` chooses for.
        data: real samples, if any are given.
        split: the part of the data that is read.
    """
    out = folder.parent  # that errors name
    made = generator.of_gan(gan)
    reference = draw_reference(made)
    with storage_errors(out):
        save_reference(folder / REFERENCE, reference)
    reals = quality.find_reals(gan, name, data, split)
    judge = quality.Judge(made, reals, gan.recipe.export.samples) if reals else None
    memorised = None
    if judge:
        memorised = judge.memorised()
        quality.refuse_if_memorised(memorised, gan.recipe.export.memorised_within)
        if memorised["warning"]:
            log.warning(memorised["warning"])
        with storage_errors(out):
            judge.draw_closest(folder / CLOSEST)
    files = _Files(made, folder, reference, judge, model_card.describe(made, name))
    keras_latency = verify.time_keras(made, reference)
    listed, reason = [], None
    if "tflite" in formats:
        listed, reason = files.tflite(precisions, target)
    for form, write in (("saved_model", saved_model.write), ("onnx", onnx_file.write)):
        if form in formats:
            path = folder / next(file for file, (kind, _) in FILES.items() if kind == form)
            with storage_errors(out):
                write(made, path)
            listed.append(verify.check(path, reference, folder / REFERENCE, "float32"))
    card = model_card.build(
        made,
        files=listed,
        reference=reference,
        described=files.described,
        keras_latency=keras_latency,
        fid=judge.fid if judge else None,
        memorised=memorised,
        chosen=reason,
    )
    with storage_errors(out):
        model_card.write(card, folder)
    return card


class _Files:
    """The TFLite files of one export."""

    def __init__(
        self,
        made: generator.Generator,
        folder: Path,
        reference: Reference,
        judge: quality.Judge | None,
        described: Mapping[str, Any],
    ):
        self.made, self.folder, self.reference, self.judge = made, folder, reference, judge
        self.described = dict(described)
        self._checked: dict[str, dict[str, Any]] = {}

    def tflite(self, precisions: Sequence[str], target: str) -> tuple[list[dict[str, Any]], str | None]:
        """Write those asked for; what the card says of them, and why `auto` took what it took."""
        wanted = [precision for precision in precisions if precision != "auto"]
        for precision in wanted:
            self._file(precision)
        listed = [self._checked[precision] for precision in verify.PRECISIONS if precision in wanted]
        if "auto" not in precisions:
            return listed, None
        for precision in ("float32", "float16") if target == "gpu" or not self.judge else verify.PRECISIONS:
            self._file(precision)
        within = self.made.gan.recipe.export.fid_within
        times = None if target == "gpu" or not self.judge else self._times()
        chosen, reason = choose.choose(list(self._checked.values()), target, within, times)
        content = (self.folder / f"generator_{chosen}.tflite").read_bytes()
        with storage_errors(self.folder.parent):
            (self.folder / AUTO).write_bytes(content)
        for precision in self._checked.keys() - set(wanted):
            (self.folder / f"generator_{precision}.tflite").unlink()
        tried = [
            {key: file[key] for key in ("precision", "bytes", "steady", "fid", "fid_change", "psnr_db")}
            | ({"rounds_ms": [round(one, 4) for one in times[precision]]} if times else {})
            for precision, file in self._checked.items()
        ]
        return [{**self._checked[chosen], "file": AUTO, "tried": tried}, *listed], reason

    def _times(self) -> dict[str, list[float]]:
        """Milliseconds of each file on one thread, round after round."""
        inputs = self.reference.first()
        opened = {name: open_file(self.folder / f"generator_{name}.tflite", inputs) for name in self._checked}
        return choose.time_in_rounds({name: lambda run=run: run(inputs) for name, run in opened.items()})

    def _file(self, precision: str) -> None:
        if precision in self._checked:
            return
        more: dict[str, Any] = {}
        if precision in ("float32", "float16"):
            content = self._float if precision == "float32" else tflite.convert(self.made, precision)
        elif precision == "dynamic":
            content = self._quantizer.dynamic()
        else:
            content, more = self._int8()
        path = self.folder / f"generator_{precision}.tflite"
        content = metadata.embed(content, self.described)
        with storage_errors(self.folder.parent):
            path.write_bytes(content)
        found = verify.check(path, self.reference, self.folder / REFERENCE, precision)
        fid = self.judge.fid_of(open_file(path, self.reference.inputs)) if self.judge else None
        change = fid / self.judge.fid - 1 if self.judge else None
        self._checked[precision] = found | {"fid": fid, "fid_change": change} | more

    @cached_property
    def _float(self) -> bytes:
        return tflite.convert(self.made, "float32")

    @cached_property
    def _quantizer(self) -> Quantizer:
        return Quantizer(self._float, draw_calibration(self.made))

    def _int8(self) -> tuple[bytes, dict[str, Any]]:
        """An int8 file, fine-tuned where rounding as it is costs too much, with operators in float where still needed.

        What is too much real samples tell; without them, how far the samples are from the float file's.
        """
        allowed, error = -_UNSEEN_DB, self._distance
        if self.judge:
            allowed, error = self.made.gan.recipe.export.fid_within, self._fid_change
        content = self._quantizer.int8()
        if error(content) <= allowed:
            return content, {"in_float": [], "passed": True}
        log.info("int8 loses too much: fine-tuning with simulated quantisation, %d steps.", aware.STEPS)
        tuned = aware.fine_tuned(self.made)
        quantizer = Quantizer(tflite.convert(tuned, "float32"), draw_calibration(tuned))
        content, found = choose.int8_with_floats(quantizer, self.reference, error, allowed)
        return content, {"in_float": found["in_float"], "passed": found["passed"], "fine_tuned_steps": aware.STEPS}

    def _fid_change(self, content: bytes) -> float:
        return self.judge.fid_of(opened(content)) / self.judge.fid - 1

    def _distance(self, content: bytes) -> float:
        return -psnr(run(content, self.reference.each()), self.reference.samples)
