"""What the documents say is true: their examples run, their links lead somewhere, their commands exist."""

import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import asdict
from pathlib import Path

import click
import pytest
import rasterio

from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.mosaic import write_scene
from eocodec.cli.main import COMMANDS, cli
from eocodec.models.fp import FpConfig
from eocodec.train import config as train_config
from eocodec.train.published_config import PublishedConfig

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/*/README.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
MARKER = re.compile(r"<!-- \w+:(?:begin|end) -->")
EXECUTED = ("python", "shell")
# Set-up, whose commands are checked to exist (below) and which .ci/run carries out anyhow.
NOT_EXECUTED = ("console",)
NODATA = 0
SIDE = 160


def blocks(name):
    """(language, text) of the fenced blocks of a document."""
    return BLOCK.findall((ROOT / name).read_text())


def run(words, folder):
    """Run in a folder, with this environment's commands first; returns what it prints."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """Folder in which all examples of the README ran in their order, and what each printed."""
    folder = tmp_path_factory.mktemp("readme")
    write_scene(folder / "scene.tif", demo_scene(SIDE, SIDE, nodata=NODATA), NODATA)
    outputs = []
    for language, text in blocks("README.md"):
        if language == "python":
            outputs.append(run([sys.executable, "-c", text], folder))
        elif language == "shell":
            outputs.append(run(["bash", "-euo", "pipefail", "-c", text], folder))
    return folder, outputs


def test_every_block_of_the_readme_is_executed_or_named_as_not():
    languages = [language for language, _ in blocks("README.md")]
    assert set(languages) <= {*EXECUTED, *NOT_EXECUTED}
    assert languages.count("python") == 2
    assert languages.count("shell") == 2


def test_the_first_examples_are_six_lines_of_python_and_four_of_shell():
    python, shell = (
        next(text for kind, text in blocks("README.md") if kind == wanted) for wanted in EXECUTED
    )
    assert len(python.splitlines()) == 6
    assert len(shell.splitlines()) == 4


def test_the_python_example_compresses(printed):
    _, outputs = printed
    found = re.fullmatch(r"(\d+) times smaller\n", outputs[0])
    assert found
    assert int(found[1]) >= 5


def test_the_shell_example_reaches_the_psnr_that_it_asks_for(printed):
    _, outputs = printed
    found = re.search(r"^PSNR ([\d.]+) dB", outputs[1], re.MULTILINE)
    assert found
    assert float(found[1]) == pytest.approx(42, abs=0.5)


def test_the_shell_example_keeps_what_the_readme_says(printed):
    folder, _ = printed
    with rasterio.open(folder / "scene.tif") as before, rasterio.open(folder / "restored.tif") as after:
        for attribute in ("crs", "transform", "descriptions", "nodata", "dtypes", "shape"):
            assert getattr(after, attribute) == getattr(before, attribute), attribute
        assert ((before.read() == NODATA) == (after.read() == NODATA)).all()
    assert (folder / "scene.tec").stat().st_size * 5 < (folder / "scene.tif").stat().st_size


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in LINK.findall(path.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            assert anchor in [title.lower().replace(" ", "-") for title in titles], target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_options_exist(path):
    text = path.read_text()
    code = re.findall(r"`([^`\n]+)`", text) + [
        line for _, block in BLOCK.findall(text) for line in block.splitlines()
    ]
    for line in code:
        for words in re.findall(r"\beocodec ([a-z]+[^|;`#]*)", line):
            check_command(words.split())
        for target in re.findall(r"\bmake ([a-z]+)\b", line):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line


def check_command(words):
    """Fail unless the command is one, with the options that the words use."""
    assert words[0] in COMMANDS, words
    command = cli.get_command(click.Context(cli), words[0])
    if isinstance(command, click.Group) and len(words) > 1:
        assert words[1] in command.commands, words
        command = command.commands[words[1]]
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    assert {word for word in words if word.startswith("--")} <= known, words


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_left_to_fill_in(path):
    text = path.read_text()
    assert not re.search(r"\{\{|TODO|FIXME|XXX", text)
    names = re.findall(r"<!-- (\w+):(begin|end) -->", text)
    assert [end for _, end in names] == ["begin", "end"] * (len(names) // 2)
    assert len(MARKER.findall(text)) == text.count("<!--")


def test_the_configuration_in_the_training_page_is_complete_and_has_the_defaults():
    text, _ = (block for language, block in blocks("docs/training.md") if language == "toml")
    values = train_config.tomllib.loads(text)
    found = train_config.parse_config(values).to_dict()
    wanted = train_config.TrainConfig(model_id="tec-fp").to_dict()
    assert found.pop("model") == {key: asdict(FpConfig())[key] for key in values["model"]}
    wanted.pop("model")
    for section in ("run", "data", "loss", "optim", "context"):
        assert set(values[section]) == set(wanted[section]), section
    wanted["run"]["minutes"] = values["run"]["minutes"]  # no default: the user states it, or the steps
    assert found == wanted


def test_so_is_the_configuration_of_the_published_models():
    _, text = (block for language, block in blocks("docs/training.md") if language == "toml")
    assert train_config.tomllib.loads(text) == PublishedConfig("published/tec-fp").to_dict()


def test_ci_runs_what_the_readme_tells_people_to_run():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("make test")
