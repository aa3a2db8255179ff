"""Progress in a log is plain lines; there is always a last one."""

import pytest

from ml import console


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "LOG_EVERY_SECONDS", 3600.0)
    with console.progress("work", 3) as advance:
        for number in range(3):
            advance(f"piece {number} [bold]")
    assert capsys.readouterr().err.splitlines() == ["work: 3/3  piece 2 [bold]"]


def test_a_terminal_gets_a_bar_and_lines_stand_above_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress("work", 2) as advance:
        advance("piece [bold]")
        console.say("meanwhile")
        advance("last")
    said = capsys.readouterr().err
    assert "meanwhile\n" in said and "2/2" in said


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.82661, "0.8266"),
        (0.0, "0.0000"),
        (-2.5e-8, "-2.5e-08"),
        (-1234.5678, "-1234.5678"),
        (3.2e9, "3.2e+09"),
    ],
)
def test_a_figure_is_readable_in_whatever_unit_it_comes(value: float, told: str) -> None:
    assert console.rounded(value) == told
