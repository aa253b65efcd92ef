"""The reference page of the suites, with every number resolved."""

from __future__ import annotations

from reference_text import deviation_table, table, words

from metabench.planning import runspec, suite


def suite_page(found: suite.Suite) -> list[str]:
    """The blocks about one suite."""
    return [
        f"## {found.name}",
        found.summary,
        f"Version {found.version}; {found.task}, metric {found.metric}; "
        f"network `{found.space}` unless another is asked for.",
        table(
            ["source", "dataset", "parameters"],
            [[source.name, source.dataset, words(source.params)] for source in found.sources],
        ),
        *_settings(found),
        *_budgets(found),
        *_evaluations(found),
        *_layered(found),
        *deviation_table(found.deviations),
    ]


def _settings(found: suite.Suite) -> list[str]:
    """The resolved protocol of every setting, before a budget changes it."""
    protocol = {
        name: runspec.EpisodeProtocol.model_validate({**found.protocol, **layer.protocol})
        for name, layer in found.settings.items()
    }
    rows = [
        [f"`{field}`", *(words(getattr(p, field)) for p in protocol.values())]
        for field in runspec.EpisodeProtocol.model_fields
    ]
    summaries = [f"- `{name}`: {layer.summary}" for name, layer in found.settings.items()]
    return ["Settings:", "\n".join(summaries), table(["protocol", *protocol], rows)]


def _budgets(found: suite.Suite) -> list[str]:
    rows = [
        [
            f"`{name}`",
            *(words(value) for value in (b.meta_steps, b.meta_batch, b.val_every)),
            words({**b.settings, **b.training}),
            words(b.protocol),
            b.summary,
        ]
        for name, b in found.budgets.items()
    ]
    header = ["budget", "meta_steps", "meta_batch", "val_every", "other for", "protocol", "meaning"]
    return ["Budgets:", table(header, rows)]


def _evaluations(found: suite.Suite) -> list[str]:
    rows = [
        [f"`{name}`", words(e.grid.model_dump()), e.normalization, e.summary]
        for name, e in found.evaluations.items()
    ]
    if not rows:
        return []
    return ["Evaluations:", table(["evaluation", "grid", "normalization", "meaning"], rows)]


def _layered(found: suite.Suite) -> list[str]:
    """Who says what about the parameters of which plugin."""
    layers: dict[str, suite.Layer] = {"suite": found}
    layers |= {f"setting `{name}`": layer for name, layer in found.settings.items()}
    layers |= {f"budget `{name}`": layer for name, layer in found.budgets.items()}
    kinds = {"learner": "learners", "space": "spaces", "strategy": "strategies"}
    rows = [
        [where, f"{kind} `{name}`", words(params)]
        for where, layer in layers.items()
        for kind, field in kinds.items()
        for name, params in getattr(layer, field).items()
    ]
    if not rows:
        return []
    about = "Parameters that the suite gives. Later rows win; a `--set` wins over all:"
    return [about, table(["where", "plugin", "parameters"], rows)]
