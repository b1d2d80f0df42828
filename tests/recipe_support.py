"""What tests of recipes share: the blocks of a document, and the command run in this process."""

import re
import shlex
from pathlib import Path

from click.testing import CliRunner
from rasterio.rio.main import main_group

from eocodec.cli.main import cli

RECIPES = Path(__file__).resolve().parents[1] / "docs" / "recipes"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {"eocodec": cli, "rio": main_group}


def follow(name):
    """Run the blocks of a recipe in their order; gives what each Python `print` and each line said."""
    said = []
    for kind, text in BLOCK.findall((RECIPES / name).read_text()):
        if kind == "python":
            exec(compile(text, name, "exec"), {"print": said.append})
        else:
            assert kind == "shell"
            said += [run(line) for line in text.splitlines()]
    return said


def run(line):
    """Run a command's line in this process, which has the model loaded; returns what it prints."""
    program, *words = shlex.split(line, comments=True)
    arguments = [name for word in words for name in _expanded(word)]
    result = CliRunner().invoke(PROGRAMS[program], arguments)
    assert result.exit_code == 0, f"{line}\n{result.output}"
    return result.output


def _expanded(word):
    """File names that a word with a star stands for, as the shell has it."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]
