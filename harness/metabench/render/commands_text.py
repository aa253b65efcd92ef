"""The command of each run, row by row of the tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from metabench.reports.build import make_rows
from metabench.results.configurations import Configuration, configurations
from metabench.results.reading import FinishedRun
from metabench.text import plain

_WITH_OTHERS = "With other versions than those of its row, a command makes another run."


def commands_text(runs: Sequence[FinishedRun]) -> str:
    """The rows of each suite and setting, with the commands that made their runs.

    A command is one line, whatever the width of the terminal, so that it can be pasted.
    """
    by_setting: dict[tuple[str, str], list[FinishedRun]] = defaultdict(list)
    for run in runs:
        by_setting[run.record.spec.suite, run.record.spec.setting].append(run)
    blocks = []
    for (suite, setting), group in sorted(by_setting.items()):
        lines = [f"{suite} @ {setting}"]
        for row, config in make_rows(configurations(group)):
            about = (row.name, row.network, f"budget {row.budget}", *_versions(config))
            lines += ["", ", ".join(filter(None, about))]
            lines += [run.record.provenance.command for run in config.runs]
        blocks.append("\n".join(map(plain, lines)))
    return "\n\n".join([*blocks, _WITH_OTHERS]) + "\n"


def _versions(config: Configuration) -> Iterator[str]:
    """The versions that the runs have, in words."""
    spec = config.spec
    yield f"suite version {spec.suite_version}"
    for name, choice in (("learner", spec.learner), ("network", spec.space)):
        if choice is not None:
            yield f"{name} version {choice.version}"
