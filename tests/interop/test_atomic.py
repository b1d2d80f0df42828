"""Outputs are complete or absent."""

import errno
import os

import pytest

from eocodec.errors import OutputError, OutputExists
from eocodec.interop.atomic import atomic_output
from interop_support import names_in


def write(path, text="new"):
    path.write_text(text)


def test_a_file_appears_at_the_end(tmp_path):
    target = tmp_path / "a.tec"
    with atomic_output(target) as partial:
        write(partial)
        assert not target.exists()
        assert partial.parent.parent == tmp_path  # one file system, or the rename is a copy
    assert target.read_text() == "new"
    assert names_in(tmp_path) == ["a.tec"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    with atomic_output(tmp_path / "a") as partial:
        write(partial)
    write(tmp_path / "b")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_folder_replaces_a_folder(tmp_path):
    target = tmp_path / "a.zarr"
    target.mkdir()
    write(target / "old")
    with atomic_output(target, force=True) as partial:
        partial.mkdir()
        write(partial / "fresh")
    assert names_in(target) == ["fresh"]
    assert names_in(tmp_path) == ["a.zarr"]


@pytest.mark.parametrize("old_is_folder", [True, False])
def test_a_file_and_a_folder_replace_each_other(tmp_path, old_is_folder):
    target = tmp_path / "a"
    if old_is_folder:
        target.mkdir()
    else:
        write(target)
    with atomic_output(target, force=True) as partial:
        if old_is_folder:
            write(partial)
        else:
            partial.mkdir()
    assert target.is_file() == old_is_folder
    assert names_in(tmp_path) == ["a"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), RuntimeError(), SystemExit()])
def test_whatever_happens_nothing_is_left(tmp_path, failure):
    target = tmp_path / "a"
    write(target, "old")
    with pytest.raises(type(failure)), atomic_output(target, force=True) as partial:
        write(partial)
        raise failure
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["a"]


def test_a_full_disk_is_named(tmp_path):
    with (
        pytest.raises(OutputError, match=r"No space left.*nothing was changed"),
        atomic_output(tmp_path / "a"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names_in(tmp_path) == []


def test_an_existing_output_is_refused_before_anything_is_done(tmp_path):
    write(tmp_path / "a", "old")
    with pytest.raises(OutputExists, match="--force"), atomic_output(tmp_path / "a"):
        pytest.fail("the block must not run")


def test_an_output_that_appears_meanwhile_is_kept(tmp_path):
    target = tmp_path / "a"
    with pytest.raises(OutputExists), atomic_output(target) as partial:
        write(partial)
        write(target, "another's")
    assert target.read_text() == "another's"
    assert names_in(tmp_path) == ["a"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"missing.*create it"), atomic_output(tmp_path / "missing" / "a"):
        pytest.fail("the block must not run")
