import pytest

from ganzoo.cache import atomic_write, atomic_write_bytes, cache_dir


def test_the_cache_lies_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "here"))
    assert cache_dir("features") == tmp_path / "here" / "features" and cache_dir("features").is_dir()
    monkeypatch.delenv("GANZOO_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir("networks") == tmp_path / ".cache" / "ganzoo" / "networks"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = atomic_write_bytes(tmp_path / "deep" / "file.bin", b"old")

    def fail(temporary):
        temporary.write_bytes(b"half")
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError):
        atomic_write(path, fail)
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]
