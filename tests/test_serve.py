"""The page for phones: what the server gives out, and (with a browser) what the page makes."""

import contextlib
import hashlib
import http.client
import io
import json
import shutil
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from test_hostile import DAMAGES

import ganzoo
from ganzoo import export
from ganzoo.errors import ExportError
from ganzoo.export import metadata, serve, vendor
from ganzoo.export.reference import load_reference
from ganzoo.recipes import yaml_files
from ganzoo.recipes.entries import get_entry

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    gan = ganzoo.create(
        "image/wgan_gp_32", **yaml_files.merge(get_entry("image/wgan_gp_32").raw["tiny"], {"model": {"classes": 3}})
    )
    export.export_generator(gan, folder, ["tflite"], ["none", "float16", "int8"])
    return folder


@pytest.fixture
def no_runtime(monkeypatch, tmp_path):
    """An empty runtime in the place of the fetched one: what the server gives out does not depend on it."""
    for name in vendor.files():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("// nothing")
    monkeypatch.setattr(vendor, "vendored", lambda: tmp_path)


@contextlib.contextmanager
def running(path, **options):
    started, found = threading.Event(), []

    def ready(address, server):
        found.extend((address, server))
        started.set()

    thread = threading.Thread(target=serve.serve, args=(path, 0), kwargs={"ready": ready, **options}, daemon=True)
    thread.start()
    assert started.wait(20)
    try:
        yield found
    finally:
        found[1].shutdown()
        thread.join()


def ask(server, target, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, target)  # the target goes out as it is: no client mends its dots
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_the_server_gives_out_the_page_and_the_files_of_the_card(exported, no_runtime):
    with running(exported) as (address, server):
        assert address.startswith("http://127.0.0.1:")
        assert server.server_address[0] == "127.0.0.1"  # this machine alone
        status, heads, body = ask(server, "/")
        assert status == 200 and b"<title>ganzoo</title>" in body
        assert "script-src 'self' 'wasm-unsafe-eval' 'sha256-" in heads["Content-Security-Policy"]
        told = json.loads(ask(server, "/files.json")[2])
        assert [one["file"] for one in told] == [
            "generator_float16.tflite",
            "generator_int8.tflite",
            "generator_float32.tflite",
        ]
        for one in told:
            assert ask(server, f"/model/{one['file']}")[2] == (exported / one["file"]).read_bytes()
        assert ask(server, "/sw.js?x=1")[0] == 200
        status, heads, body = ask(server, "/style.css", "HEAD")
        assert status == 200 and body == b"" and int(heads["Content-Length"]) > 100


@pytest.mark.parametrize("precision", ["int8", "dynamic"])
def test_the_page_begins_with_what_auto_took_unless_browsers_are_slow_with_it(
    precision, exported, no_runtime, tmp_path
):
    folder = shutil.copytree(exported, tmp_path / "copy")
    shutil.copy(folder / "generator_int8.tflite", folder / "generator.tflite")
    card = json.loads((folder / "model_card.json").read_text())
    file = next(one for one in card["files"] if one["precision"] == "int8")
    card["files"].append({**file, "file": "generator.tflite", "precision": precision})
    (folder / "model_card.json").write_text(json.dumps(card))
    first, *_ = json.loads(serve.site(folder).paths["files.json"])
    assert first["file"] == ("generator.tflite" if precision == "int8" else "generator_float16.tflite")


HOSTILE = [
    "/../etc/passwd",
    "/../../../../etc/passwd",
    "/model/../model_card.json",
    "/model/%2e%2e/model_card.json",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc%2fpasswd",
    "/model/..%5c..%5cx",
    "//etc/passwd",
    "/model//etc/passwd",
    "/model/reference.npz",
    "/model_card.json",
    "/reference.npz",
    "/model/",
    "/vendor/",
    "/serve.py",
    "/%00",
    "/index.html%00.png",
    "/" + "a" * 5000,
    "/model/generator_float32.tflite/",
    "/MODEL/generator_float32.tflite",
    "http://elsewhere/../../etc/passwd",
]


@pytest.mark.parametrize("target", HOSTILE)
def test_nothing_else_is_given_out(target, exported, no_runtime):
    pages = serve.site(exported)
    assert pages.answer(target) is None
    with running(exported) as (_, server):
        assert ask(server, target)[0] == (421 if target.startswith("http:") else 404)  # a host of another name
        assert ask(server, "/")[0] == 200  # and goes on


def get(server, target="/", method="GET", host="127.0.0.1", **headers):
    """A request with headers of its own; the status, the headers and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest(method, target, skip_host=True)
    for name, value in {"Host": host, **{key.replace("_", "-"): value for key, value in headers.items()}}.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_a_server_of_another_name_is_not_this_one(exported, no_runtime):
    with running(exported) as (_, server):
        for host in ("127.0.0.1", "localhost", f"localhost:{server.server_port}", "LOCALHOST", "[::1]:80"):
            assert get(server, host=host)[0] == 200, host
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8300", "192.168.7.9", "", "[::"):
            assert get(server, host=host)[0] == 421, host
        assert get(server, host=None)[0] == 400
    with running(exported, network=True) as (address, server):
        own = address.removeprefix("http://").rstrip("/")
        outside = ("203.0.113.5:8300", "[2001:db8::1]:8300")  # as behind a router or in a container
        assert {get(server, host=host)[0] for host in (own, "localhost", socket.gethostname(), *outside)} == {200}
        for host in ("evil.example", "203.0.113.5.evil.example", "203.0.113"):
            assert get(server, host=host)[0] == 421, host


RANGES = [
    ("bytes=0-9", 206, slice(0, 10)),
    ("bytes=10-", 206, slice(10, None)),
    ("bytes=-7", 206, slice(-7, None)),
    ("bytes=5-99999999999", 206, slice(5, None)),
    ("bytes=99999999999-", 416, slice(0, 0)),
    ("bytes=-0", 416, slice(0, 0)),
    ("bytes=9-5", 200, slice(None)),
    ("bytes=-", 200, slice(None)),
    ("bytes=0-1,4-5", 200, slice(None)),
    ("lines=0-1", 200, slice(None)),
    ("bytes=" + "9" * 5000 + "-", 200, slice(None)),
]


@pytest.mark.parametrize(("asked", "status", "part"), RANGES)
def test_a_range_of_a_file(asked, status, part, exported, no_runtime):
    name = "generator_int8.tflite"
    content = (exported / name).read_bytes()
    with running(exported) as (_, server):
        found, heads, body = get(server, f"/model/{name}", Range=asked)
        assert (found, body) == (status, content[part])
        assert heads["Accept-Ranges"] == "bytes" and int(heads["Content-Length"]) == len(body)
        if status == 206:
            start = range(len(content))[part].start
            assert heads["Content-Range"] == f"bytes {start}-{start + len(body) - 1}/{len(content)}"
        if status == 416:
            assert heads["Content-Range"] == f"bytes */{len(content)}"


def test_a_range_of_another_version_is_the_whole(exported, no_runtime):
    target = "/model/generator_int8.tflite"
    with running(exported) as (_, server):
        status, heads, whole = get(server, target)
        tag = heads["ETag"]
        assert get(server, target, Range="bytes=0-3", If_Range=tag)[::2] == (206, whole[:4])
        for other in ('"x"', f"W/{tag}", "Sat, 01 Jan 2000 00:00:00 GMT"):
            assert get(server, target, Range="bytes=0-3", If_Range=other)[::2] == (200, whole)
        assert get(server, target, If_None_Match=tag)[::2] == (304, b"")
        status, heads, body = get(server, target, method="HEAD", Range="bytes=0-3")
        assert (status, body, int(heads["Content-Length"])) == (200, b"", len(whole))


def test_a_file_that_is_exchanged_is_not_given_out(exported, no_runtime, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "copy")
    file = folder / "generator_int8.tflite"
    content = file.read_bytes()
    (tmp_path / "secret").write_text("secret")
    with running(folder) as (_, server):
        file.unlink()
        file.symlink_to(tmp_path / "secret")
        assert get(server, f"/model/{file.name}")[::2] == (200, content)
        file.unlink()
        assert get(server, f"/model/{file.name}")[::2] == (200, content)


def test_slow_clients_hold_no_threads(exported, no_runtime, monkeypatch):
    monkeypatch.setattr(serve, "CONNECTIONS", 8)
    monkeypatch.setattr(serve, "HEAD_SECONDS", 1.5)
    before = threading.active_count()
    with running(exported) as (_, server):
        slow = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(24)]
        for one in slow:
            with contextlib.suppress(OSError):
                one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        time.sleep(0.3)
        assert threading.active_count() <= before + 1 + 8
        assert get(server)[0] == 503  # and is told so, rather than left waiting
        end = time.monotonic() + 15
        while get(server)[0] != 200 and time.monotonic() < end:
            for one in slow:  # a byte now and then does not keep a connection
                with contextlib.suppress(OSError):
                    one.sendall(b"a")
            time.sleep(0.3)
        assert get(server)[0] == 200
        for one in slow:
            one.close()


def test_strange_requests_do_not_end_the_server(exported, no_runtime):
    heads = [
        b"GET http://[ HTTP/1.1",
        b"GET //[x HTTP/1.1",
        b"\xff\xfe /",
        b"GET /%ff%00 HTTP/1.1",
        b"GET / HTTP/9.9",
        b"",
    ]
    heads += [b"GET /" + b"a" * 70_000 + b" HTTP/1.1", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200]
    with running(exported) as (_, server):
        for head in heads:
            with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as one:
                one.sendall(head + b"\r\nHost: localhost\r\n\r\n")
                one.shutdown(socket.SHUT_WR)
                answer = one.recv(100)
                assert not answer or b" 200 " not in answer
        assert get(server)[0] == 200


def test_other_methods_are_refused(exported, no_runtime):
    with running(exported) as (_, server):
        assert [ask(server, "/", method)[0] for method in ("POST", "PUT", "DELETE")] == [501] * 3


def test_the_local_network_only_when_asked(exported, no_runtime):
    with running(exported, network=True) as (address, server):
        assert server.server_address[0] == "0.0.0.0"
        assert socket.inet_aton(address.removeprefix("http://").partition(":")[0])
    assert "█" in serve.as_qr_code(address) or "▄" in serve.as_qr_code(address)


def test_what_cannot_be_served_is_refused(exported, no_runtime, tmp_path):
    with pytest.raises(ExportError, match="There is no"):
        serve.site(tmp_path / "absent")
    with pytest.raises(ExportError, match=r"model_card\.json is missing"):
        serve.site(tmp_path)
    copy = shutil.copytree(exported, tmp_path / "copy")
    (copy / "generator_int8.tflite").write_bytes(b"x" * 100)
    with pytest.raises(ExportError, match="generator_int8"):
        serve.site(copy)
    assert serve.site(copy / "generator_float16.tflite").answer("/model/generator_float16.tflite")
    content = metadata.embed((copy / "generator_float16.tflite").read_bytes(), {"entry": "another"})
    card = json.loads((copy / "model_card.json").read_text())
    for file in card["files"]:
        if file["file"] == "generator_float16.tflite":
            file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (copy / "generator_float16.tflite").write_bytes(content)
    (copy / "model_card.json").write_text(json.dumps(card))
    with pytest.raises(ExportError, match="says other things of itself"):
        serve.site(copy / "generator_float16.tflite")
    with running(exported) as (_, server), pytest.raises(ExportError, match="cannot be used"):
        serve.serve(exported, server.server_port)


def test_the_page_as_static_files(exported, no_runtime, tmp_path):
    serve.site(exported).write(tmp_path / "site")
    names = {
        path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*") if path.is_file()
    }
    assert {"index.html", "app.js", "files.json", "model/generator_int8.tflite", "vendor/core/index.js"} <= names


def test_another_package_than_the_pinned_one_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(vendor, "PACKAGES", {"core": ("0" * 86 + "==", ("dist/index.js",))})
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: io.BytesIO(b"another"))
    with pytest.raises(ExportError, match="not the package that is expected"):
        vendor.fetch(tmp_path / "runtime")
    assert not list(tmp_path.iterdir())

    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(ExportError, match=r"cannot be fetched .*no route to host.* needed once"):
        vendor.fetch(tmp_path / "runtime")


@pytest.mark.heavy
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (Debian: apt-get install chromium)")
class TestPage:
    """In Chromium, on LiteRT.js as it is fetched from npm."""

    @pytest.fixture(scope="class")
    def browser(self):
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            yield browser
            browser.close()

    @contextlib.contextmanager
    def opened(self, browser, address, **options):
        context = browser.new_context(viewport={"width": 390, "height": 844}, **options)
        page = context.new_page()
        page.errors = []
        page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(address)
        page.locator("#images:not([hidden]), #message.error").first.wait_for()
        yield page
        context.close()

    @pytest.mark.parametrize("name", ["generator_float32.tflite", "generator_float16.tflite", "generator_int8.tflite"])
    def test_it_makes_what_keras_makes(self, name, browser, exported):
        reference = load_reference(exported / "reference.npz")
        card = json.loads((exported / "model_card.json").read_text())
        allowed = next(file["allowed"] for file in card["files"] if file["file"] == name)
        with running(exported / name) as (address, _), self.opened(browser, address) as page:
            for index in range(4):
                one = {key: value[index] for key, value in reference.inputs.items()}
                options = {"classId": int(one["class_id"]), "truncation": float(one["truncation"])}
                made = page.evaluate(
                    "async ([latents, options]) => Array.from(await window.ganzoo.sample(latents, options))",
                    [one["latents"].tolist(), options],
                )
                assert (
                    np.abs(np.reshape(made, reference.samples[index].shape) - reference.samples[index]).max() <= allowed
                )
            assert page.errors == []

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_is_worked_by_keyboard_and_fits_a_phone(self, scheme, browser, exported, tmp_path):
        with running(exported) as (address, _), self.opened(browser, address, color_scheme=scheme) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            assert page.locator("#grid canvas").count() == 16
            pixels = "i => document.querySelectorAll('#grid canvas')[i].toDataURL()"
            before = page.evaluate(pixels, 0)
            page.locator("#grid button").nth(0).focus()
            page.keyboard.press("Enter")
            assert page.locator("#grid button").nth(0).get_attribute("aria-selected") == "true"
            slider = page.locator("#directions input").first
            slider.focus()
            for _ in range(15):
                page.keyboard.press("ArrowRight")
            page.wait_for_timeout(300)
            assert page.evaluate(pixels, 0) != before
            page.locator("#grid button").nth(5).focus()
            page.keyboard.press("Enter")
            page.locator("#film").focus()
            page.keyboard.press("Enter")
            page.locator("#facts[data-frames]").wait_for()
            page.locator("#classes").select_option("2")
            page.wait_for_timeout(300)
            with page.expect_download() as download:
                page.locator("#save").press("Enter")
            assert download.value.suggested_filename.startswith("image_wgan_gp_32")
            assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
            seed = page.locator("#seed").input_value()
            page.locator("#again").press("Enter")
            assert int(page.locator("#seed").input_value()) == int(seed) + 1
            assert page.errors == []

    def test_it_works_without_a_network_once_loaded(self, browser, exported):
        with running(exported) as (address, _), self.opened(browser, address) as page:
            page.evaluate("navigator.serviceWorker.ready")
            page.reload()  # through the worker, which keeps all
            page.locator("#images:not([hidden])").wait_for()
            page.context.set_offline(True)
            page.reload()
            page.locator("#images:not([hidden])").wait_for()
            assert page.locator("#grid canvas").count() == 16

    @pytest.mark.parametrize("damage", ["cut", "no metadata", "another version", "no model"])
    def test_a_broken_file_is_refused_with_a_reason(self, damage, browser, exported, monkeypatch):
        content = (exported / "generator_float16.tflite").read_bytes()
        broken, reason = {
            "cut": (content[:300], "damaged"),
            "no metadata": (metadata.embed(content, {}).replace(b"ganzoo", b"gaNzoo"), "no metadata of ganzoo"),
            "another version": (metadata.embed(content, {"metadata_version": 99}), "another version"),
            "no model": (b"<html>" * 100, "no TFLite file"),
        }[damage]
        pages = serve.site(exported)
        changed = serve.Site({**pages.paths, "model/generator_float16.tflite": broken})
        monkeypatch.setattr(serve, "site", lambda path: changed)
        with running(exported) as (address, _), self.opened(browser, address) as page:
            assert reason in page.text_content("#message")

    def test_no_damage_leaves_the_page_without_an_answer(self, browser, exported, monkeypatch):
        """Each is refused with a reason; where it only changed numbers, which nothing on a phone can tell, it runs."""
        content = (exported / "generator_float16.tflite").read_bytes()
        pages = serve.site(exported)
        current = {}
        monkeypatch.setattr(serve, "site", lambda path: serve.Site(current))
        answers = {}
        for name, damage in DAMAGES.items():
            current = {**pages.paths, "model/generator_float16.tflite": damage(content)}
            with running(exported) as (address, _), self.opened(browser, address) as page:
                ran = page.locator("#images").is_visible()
                answers[name] = "" if ran else page.text_content("#message.error")
        assert all(answer is not None for answer in answers.values())
        refused = [name for name, answer in answers.items() if answer]
        assert {"empty", "text", "zeros", "ones", "no metadata", "others' metadata"} <= set(refused)
        assert all(name in refused for name in answers if name.startswith("cut at"))
        assert len(refused) >= 25
