import json
import subprocess
import sys

import pytest

from vptft import provenance


@pytest.fixture
def fresh():
    """Ask git anew in this test, and leave no answer of it behind."""
    provenance._commit.cache_clear()
    yield
    provenance._commit.cache_clear()


def test_provenance_is_the_same_twice_and_plain_json():
    first = provenance.provenance()
    assert first == provenance.provenance()
    assert json.loads(json.dumps(first)) == first
    assert set(first["versions"]) >= {"vptft-analyze", "torch", "timm", "numpy"}
    assert all(first["versions"].values())
    assert first["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_command_names_the_program_without_its_folder(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/bin/vptft-analyze", "train", "photo/count"])
    assert provenance.command_line() == "vptft-analyze train photo/count"


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-package",))
    assert provenance.provenance()["versions"] == {"no-such-package": None}


def test_without_git_there_is_no_commit(fresh, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.provenance()["commit"] is None


def test_a_commit_is_given_only_for_a_file_the_repository_holds(fresh, monkeypatch, tmp_path):
    def git(*words):
        identity = ["-c", "user.name=x", "-c", "user.email=x@y"]
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *words], capture_output=True, text=True, check=True
        ).stdout

    git("init", "--quiet")
    source = tmp_path / "provenance.py"
    source.write_text("")
    (tmp_path / "other").write_text("")
    git("add", "other")
    git("commit", "--quiet", "--message", "first")
    monkeypatch.setattr(provenance, "__file__", str(source))
    assert provenance.provenance()["commit"] is None
    git("add", "provenance.py")
    git("commit", "--quiet", "--message", "second")
    provenance._commit.cache_clear()
    commit = git("rev-parse", "HEAD").strip()
    assert provenance.provenance()["commit"] == commit[:12]
    source.write_text("changed")
    provenance._commit.cache_clear()
    assert provenance.provenance()["commit"] == f"{commit[:12]}-dirty"
