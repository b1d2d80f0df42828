"""The log of a run, its figure, and the commands that make them."""

import pytest
from click.testing import CliRunner

from eocodec.cli.main import cli
from eocodec.errors import ConfigError
from eocodec.train.csv_log import TRAIN, VAL, CsvLog, draw_logs, read_log


def logged(folder, steps=3):
    folder.mkdir(exist_ok=True)
    log = CsvLog(folder, 0)
    for step in range(1, steps + 1):
        log.add({"step": step, "split": TRAIN, "loss": 4.0 / step, "bpp": 1.0, "psnr": 30.0 + step})
    log.add({"step": steps, "split": VAL, "loss": 1.5, "bpp": 0.9, "psnr": 35.123456789})
    return folder


def test_rows(tmp_path):
    rows = read_log(logged(tmp_path))
    assert [(row["step"], row["split"], row["loss"]) for row in rows] == [
        ("1", "train", "4"),
        ("2", "train", "2"),
        ("3", "train", "1.33333"),
        ("3", "val", "1.5"),
    ]
    assert rows[0]["norm"] == ""
    assert rows[3]["psnr"] == "35.1235"


def test_what_a_killed_run_lost_is_dropped(tmp_path):
    CsvLog(logged(tmp_path), 2).add({"step": 3, "split": TRAIN, "loss": 7.0})
    assert [(row["step"], row["loss"]) for row in read_log(tmp_path)] == [("1", "4"), ("2", "2"), ("3", "7")]


def test_a_folder_without_a_log(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*log\.csv"):
        read_log(tmp_path)


def test_what_is_drawn(tmp_path):
    logs = {name: read_log(logged(tmp_path / name, steps)) for name, steps in (("a", 3), ("b", 5))}
    every = draw_logs(logs).axes
    assert len(every) == 3
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in every[2].lines]
    assert lines == [
        ([1, 2, 3], [31, 32, 33]),
        ([3], [35.1235]),
        ([1, 2, 3, 4, 5], [31, 32, 33, 34, 35]),
        ([5], [35.1235]),
    ]
    assert [text.get_text() for text in every[0].get_legend().get_texts()] == ["a", "b"]


def test_the_command_draws(tmp_path):
    def drawn(*words):
        return CliRunner().invoke(cli, ["curves", *map(str, words)])

    result = drawn(logged(tmp_path / "a"), "--out", tmp_path / "new" / "a.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "cannot read" in drawn(tmp_path).stderr
    assert "not supported" in drawn(tmp_path / "a", "--out", tmp_path / "a.xyz").stderr


def test_the_command_trains_what_the_configuration_says(tmp_path, monkeypatch):
    from eocodec.train import loop, published

    def recorded(name):
        return lambda config, out, overrides: (name, config, out, overrides)

    for name, module in (("loop", loop), ("published", published)):
        monkeypatch.setattr(module, "run", recorded(name))
    path = tmp_path / "c.toml"
    path.write_text('model_id = "tec-fp"\n')

    def trained(*words):
        result = CliRunner().invoke(cli, ["train", str(path), *words])
        return result.output + result.stderr

    assert trained("--out", "x").startswith(f"trained: ('loop', '{path}', 'x', ())")
    output = trained("--set", "model_id=published/tec-fp", "--set", "run.steps=3")
    assert output.startswith(f"trained: ('published', '{path}', None, (")
    assert "not of the form" in trained("--set", "steps")
