"""The report of a run directory made by hand: contents, escaping, torn files, nothing from the network."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from ganzoo.errors import TrainingError
from ganzoo.metrics.scorecard import NetworkScores, Scorecard
from ganzoo.reports.page import chart
from ganzoo.reports.run import write_report

RECIPE = """entry: image/dcgan_32
summary: DCGAN <b>small</b> & $quick
paper: https://arxiv.org/abs/1511.06434
training: {samples: 300000, batch_size: 64}
init: {'discriminator.trunk': 'imagenet/efficientnet_lite0:trunk'}
"""
VOID = {"meta", "img", "input", "hr", "br"}


def card(level, marks=(), seed=0):
    scores = {"fid": None, "kid": level / 100, "precision": 0.5, "recall": 0.25, "density": 0.9, "coverage": 0.4}
    common = {"dim": 64, "scores": scores, "floor": scores | {"kid": 0.0003}, "reasons": {"fid": "no FID: too few"}}
    networks = (
        NetworkScores(name="efficientnet_lite2", family="lite", trained_on="imagenet", marks=marks, **common),
        NetworkScores(name="self_supervised", family="own", trained_on="the reals", **common),
    )
    return Scorecard(
        sliced_wasserstein={"32": level, "16": level * 2, "average": level * 1.5},
        sliced_wasserstein_floor={"32": 3.0, "16": 5.0, "average": 4.0},
        networks=networks,
        fakes_given=500,
        protocol={"samples": 500, "resolution": [32, 32, 3], "seed": seed, "networks": {}},
    ).to_dict()


def write_image(path, seed, side=64):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)).save(path)


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def make_run(run):
    run.mkdir()
    (run / "recipe.yaml").write_text(RECIPE)
    lines = [
        {
            "samples": number * 1000,
            "step": number * 16,
            "seconds": number * 9.5,
            "samples_per_second": 105.0,
            "discriminator_loss": 1.0 + 0.1 * np.sin(number),
            "generator_loss": 2.0,
            "real_logits": 1.5,
            "fake_logits": -1.5,
            "r1": 0.01,
        }
        for number in range(1, 401)
    ]
    write_lines(run / "metrics.jsonl", lines)
    for number in range(30):
        write_image(run / "samples" / f"{number * 10_000:09}.png", number)
    write_image(run / "samples" / "reals.png", 99)
    problems = [{"path": "<script>alert(1)</script>.png", "reason": "no image & 'text'"}]
    data = {"source": "photos", "count": 1234, "fingerprint": "abc", "class_counts": {"<i>": 7, "dogs": 1227}}
    (run / "data.json").write_text(json.dumps(data | {"notes": ["2 were animated"], "problems": problems}))
    marks = ("flattering: efficientnet_lite0, which trained the generator, is of the same family",)
    scores = [{"samples": 290_000, "scorecard": card(10.0, marks)}, {"samples": 0, "scorecard": card(80.0, marks)}]
    (run / "scores.json").write_text(json.dumps(scores))
    transfer = {"target": "discriminator.trunk", "source": "imagenet/lite0", "loaded": ["stem/kernel", "<u>"]}
    (run / "transfer.json").write_text(json.dumps([transfer | {"skipped": [], "mismatched": []}]))
    write_lines(run / "events.jsonl", [{"samples": 120_000, "text": "resumed <here>"}])
    return run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def page(run):
    path = write_report(run)
    assert path == run / "report.html"
    return path.read_text(encoding="utf-8")


class Checker(HTMLParser):
    """Collects tags and attributes; fails on tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_everything_of_the_run_is_shown(run):
    text = page(run)
    for expected in ("image/dcgan_32", "400,000", "300,000", "1:03:20", "dogs (1,227)", "2 were animated", "abc"):
        assert expected in text
    for title in ("Losses", "Logits", "Samples per second", "R1"):
        assert f"<h3>{title}</h3>" in text
    assert "discriminator loss: 1." in text  # the hover titles
    assert "each point is the mean of 3 lines" in text
    assert "resumed &lt;here&gt;" in text
    assert "stem/kernel" in text
    assert "Left out" not in text


def test_curves_have_axes(run):
    text = page(run)
    for tick in ("0", "100,000", "400,000"):
        assert f'class="x">{tick}</text>' in text
    assert 'class="x">samples seen</text>' in text
    assert not re.search(r'[ "LM,](nan|inf)\b', text)


def test_grids_are_twelve_at_most_with_the_first_and_the_last(run):
    checker = Checker(page(run))
    buttons = [attrs for tag, attrs in checker.tags if tag == "input"]
    assert len(buttons) == 12
    assert (buttons[0]["id"], buttons[-1]["id"]) == ("grid0", "grid290000")
    assert [number for number, attrs in enumerate(buttons) if "checked" in attrs] == [11]
    captions = [attrs["alt"] for tag, attrs in checker.tags if tag == "img" and attrs["alt"]]
    assert captions[0] == "Generated before any step"
    assert captions[-2:] == ["Generated after 290,000 samples", "Real samples"]


def test_scores_lead_with_no_network_and_show_marks_and_floor(run):
    text = page(run)
    places = [
        text.index(part) for part in ("Sliced Wasserstein x1000", "self_supervised: 64", "efficientnet_lite2: 64")
    ]
    assert places == sorted(places)
    assert places[2] < text.index("⚠ flattering: efficientnet_lite0, which trained")
    assert "<td>average ↓</td><td>120</td><td>15</td><td>4</td><td>x 0.125</td>" in text
    assert "<td>kid ↓</td><td>0.8</td><td>0.1</td><td>0.0003</td><td>x 0.125</td>" in text
    assert "<td>fid ↓</td><td>none</td>" in text and "no FID: too few" in text


def test_scores_without_a_network_are_shown_also_beside_a_card_that_lacks_them(run):
    content = card(10.0)
    ratio = {"name": "variance ratio", "best": "1", "scores": {"32": 0.49}, "floor": {"32": 1.01}}
    scores = [{"samples": 0, "scorecard": card(80.0)}, {"samples": 10, "scorecard": content | {"images": [ratio]}}]
    (run / "scores.json").write_text(json.dumps(scores))
    text = page(run)
    assert "<h3>Variance ratio, no network</h3>" in text
    assert "<td>level 32 → 1</td><td>none</td><td>0.49</td><td>1.01</td><td></td>" in text


def test_repeats_among_the_samples_are_shown(run):
    content = card(10.0)
    content |= {"identical": 12, "identical_reals": 3}
    content["networks"][1]["repeats"] = {"spread": 0.25, "spread_reals": 1.01, "near": 40, "near_reals": 2}
    (run / "scores.json").write_text(json.dumps([{"samples": 10, "scorecard": content}]))
    text = page(run)
    assert "<td>spread of the features → 1</td><td>0.25</td><td>1.01</td>" in text
    assert "<td>near-identical samples ↓</td><td>40</td><td>2</td>" in text
    assert "12 of the samples equal another one, 3 of as many real images." in text


def test_scores_that_tell_nothing_are_not_shown_in_digits(run):
    first, last = card(80.0), card(10.0)
    last["networks"][1]["margins"] = {"kid": 0.2}
    scores = [{"samples": 0, "scorecard": first}, {"samples": 10, "scorecard": last}]
    (run / "scores.json").write_text(json.dumps(scores))
    assert "<td>kid ↓</td><td>0.8</td><td>too few to tell</td><td>0.0003</td><td></td>" in page(run)


def test_a_smaller_evaluation_does_not_take_the_place_of_a_fuller_one(run):
    smaller = card(70.0) | {"networks": []}
    scores = [{"samples": 10, "scorecard": one} for one in (card(30.0), card(10.0), smaller)]
    (run / "scores.json").write_text(json.dumps(scores))
    text = page(run)
    assert "<td>average ↓</td><td>15</td>" in text and "<td>kid ↓</td><td>0.1</td>" in text


def test_scores_of_other_protocols_are_not_set_side_by_side(run):
    scores = [{"samples": 0, "scorecard": card(80.0)}, {"samples": 10, "scorecard": card(10.0, seed=1)}]
    (run / "scores.json").write_text(json.dumps(scores))
    text = page(run)
    assert "may not be compared" in text and "seed (0 and 1)" in text
    assert "change" not in text
    assert "<td>average ↓</td><td>120</td><td>4</td></tr>" in text


def test_texts_of_the_run_are_escaped(run):
    (run / "recipe.yaml").write_text(RECIPE + "seed: 0 # </pre><script>alert(2)</script>\n")
    (run / "metrics.jsonl").write_text('{"samples": 1, "<script>_loss": 1.0, "\\"onload=\\"x": 2}\n')
    text = page(run)
    checker = Checker(text)
    assert not {tag for tag, _ in checker.tags} & {"script", "u", "here"}
    assert not any(name.startswith("on") for _, attrs in checker.tags for name in attrs)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.png" in text
    assert "DCGAN &lt;b&gt;small&lt;/b&gt; &amp; $quick" in text
    assert "&lt;i&gt; (7)" in text


def test_nothing_is_fetched(run):
    text = page(run)
    checker = Checker(text)
    links = [attrs["href"] for _, attrs in checker.tags if "href" in attrs]
    assert links == ["https://arxiv.org/abs/1511.06434"]
    assert all(attrs["src"].startswith("data:image/") for _, attrs in checker.tags if "src" in attrs)
    assert not {tag for tag, _ in checker.tags} & {"script", "link", "iframe", "object", "embed", "base"}
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style


def test_only_a_web_address_becomes_a_link(run):
    (run / "recipe.yaml").write_text("entry: image/x\npaper: javascript:alert(1)\n")
    assert "href" not in page(run)


def test_torn_and_repeated_lines(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"samples": 400000, "generator_loss": 7.5, "r1": NaN}\n{"samples": 401000, "gen')
    text = page(run)
    assert "401,000" not in text and "Left out" not in text
    assert "<b>7.5</b>" in text  # the last line for the same samples counts
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"samples": 402000, "generator_loss": 2.0}\n{"samples": 403000, "generator_loss": 2.0}\n')
    text = page(run)
    assert "403,000" in text and "metrics.jsonl: lines that are not JSON objects: 1" in text


def test_what_cannot_be_read_is_named(run):
    (run / "samples" / "000290000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (run / "samples" / "reals.png").write_bytes((run / "samples" / "reals.png").read_bytes()[:900])
    (run / "scores.json").write_text('[{"samples": 0, "scorecard": {"<sliced>": 1}}]')
    (run / "data.json").write_text('{"source": ')
    text = page(run)
    Checker(text)
    for name in ("000290000.png", "reals.png", "scores.json", "data.json"):
        assert f"<li>{name}: " in text
    assert "Generated after 260,000 samples" in text or "Generated after 270,000 samples" in text


def test_missing_files_are_left_out(tmp_path):
    (tmp_path / "recipe.yaml").write_text("entry: image/dcgan_32\n")
    text = page(tmp_path)
    Checker(text)
    assert re.findall("<h2>(.*)</h2>", text) == ["Recipe"]


@pytest.mark.parametrize(
    "values", [[1.0], [0.0, 0.0], [float("nan")], [1e-7, 2e-7], [1e6, -1e6], [1.0, 2.0] * 30 + [1e9]]
)
def test_odd_curves(tmp_path, values):
    (tmp_path / "recipe.yaml").write_text("entry: image/dcgan_32\n")
    write_lines(tmp_path / "metrics.jsonl", [{"samples": i, "generator_loss": v} for i, v in enumerate(values)])
    text = page(tmp_path)
    Checker(text)
    assert ("<svg" in text) == (values[0] == values[0])
    assert ("points beyond the axis: 1" in text) == (values[-1] == 1e9)


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_that_is_no_run_is_refused(tmp_path, made):
    folder = tmp_path / "nothing"
    if made:
        folder.mkdir()
    with pytest.raises(TrainingError, match=re.escape(str(folder))):
        write_report(folder)


def test_importing_the_report_loads_no_tensorflow():
    code = "import sys, ganzoo.reports.run; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_logarithmic_chart_shows_what_is_not_positive():
    page = chart("kid", [1.0, 2.0, 3.0], {"one": [1.0, 0.1, -0.5]}, log=True)
    assert "one <b>-0.5</b>" in page and "one: -0.5" in page
    heights = re.findall(r"[ML][\d.]+,([\d.]+)h0", page)
    assert len(heights) == 3 and heights[1] == heights[2]  # drawn as the lowest positive one
    assert "<svg" in chart("kid", [1.0, 2.0], {"one": [-0.1, -0.2]}, log=True)
    # From 0.2 at the bottom (210) to 1 at the top (10): the marks stand where their logarithms do.
    page = chart("kid", [1.0, 2.0], {"one": [1.0, 0.3]}, log=True)
    marks = {float(text): float(y) for y, text in re.findall(r'y="([\d.]+)" class="y">([\d.]+)<', page)}
    assert marks == {1.0: 10.0, 0.5: pytest.approx(96.1, abs=0.1), 0.2: 210.0}
    assert float(re.findall(r"[ML][\d.]+,([\d.]+)h0", page)[1]) == pytest.approx(159.6, abs=0.1)


def drawn(*arguments, **options):
    html = chart(*arguments, **options)
    ticks = re.findall(r'class="y">([^<]*)</text>', html)
    return html, [float(tick) for tick in ticks], re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', html)


def test_a_single_point_is_marked_in_the_middle():
    _, ticks, points = drawn("score", [1000], {"fid": [42.0]})
    assert len(points) == 1 and ticks[0] < 42 < ticks[-1] and len(ticks) >= 3
    x, y = map(float, points[0])
    assert 150 < x < 340 and 40 < y < 180, "neither at an edge nor beyond it"


def test_the_axis_of_a_single_check_before_the_first_step_begins_at_0():
    html = drawn("share", [0], {"spread": [0.5]})[0]
    assert float(re.search(r'class="x">([\d.-]+)</text>', html)[1]) == 0


@pytest.mark.parametrize(("title", "shown"), [("fid, mean", "FID, mean"), ("kid", "KID"), ("recall", "Recall")])
def test_a_title_has_a_capital_and_abbreviations_are_capitals(title, shown):
    assert f"<h3>{shown}</h3>" in drawn(title, [1], {"a": [1.0]})[0]


def test_few_points_are_marked_and_many_are_a_line():
    xs = list(range(100))
    assert not drawn("score", xs, {"fid": [float(x) for x in xs]})[2]
    two = {"int8": [1.5, None, None], "float16": [None, 1.4, 1.3]}
    assert len(drawn("score", [1, 2, 3], two)[2]) == 3
    assert len(drawn("score", [1, 2, 3], two, log=True)[2]) == 3


def test_a_constant_curve_is_drawn_in_the_middle():
    html, ticks, _ = drawn("lead", list(range(100)), {"lead": [3.0] * 100})
    height = float(re.search(r'class="curve c0" d="M[\d.]+,([\d.]+)', html).group(1))
    assert ticks[0] < 3 < ticks[-1] and 60 < height < 160


def test_a_single_chart_is_no_wider_than_one_of_several(run):
    style = page(run).split("</style>")[0]
    assert ".charts { display: grid; grid-template-columns: repeat(auto-fill," in style  # auto-fit stretches one chart


def test_scores_are_explained_and_checks_named_with_their_protocol(run):
    checks = [{"samples": 1000, "seconds": 9.5, "name": "sliced Wasserstein x1000", "score": 50.0, "count": 500}]
    write_lines(run / "checks.jsonl", checks)
    text = page(run)
    assert text.index("<dt>FID, KID</dt>") < text.index("<td>fid ↓</td>") and "<dt>recall</dt>" in text
    assert "<h3>Sliced Wasserstein x1000 while training (500 samples)</h3>" in text
    assert "not comparable with it" in text


def test_names_of_users_are_escaped_in_charts():
    html = chart("<b>&", [1, 2], {"<i onload=x>": [1.0, 2.0]}, [(1, "<script>")], axis='"><u>')
    assert not {tag for tag, _ in Checker(html).tags} & {"u", "script"} and "<b>&" not in html
    assert not any(tag == "i" and attributes for tag, attributes in Checker(html).tags)
