"""Checks that every plugin description must pass, whatever it describes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from metabench.conformance.base import Check, Skip, raise_doubts, require
from metabench.errors import PluginError
from metabench.planning.source_deviations import strange_conditions
from metabench.plugin.contracts.file_param import FileParam
from metabench.plugin.source_deviation import SourceDeviation
from metabench.plugin.specs import (
    TEST_FACTS,
    DatasetSpec,
    LearnerSpec,
    MetricSpec,
    SearchSpaceSpec,
    Spec,
    resolve,
)


def description_checks(spec: Spec) -> Iterator[Check]:
    """Yield the checks of names, summaries, parameters and import targets."""
    yield Check("the summary is one line", lambda: _summary(spec))
    made_by = "function" if isinstance(spec, MetricSpec) else "factory"
    yield Check(f"the {made_by} can be imported", lambda: _targets(spec))
    yield Check(
        "the parameters are a frozen model that forbids unknown names", lambda: _model(spec)
    )
    yield Check("the defaults of parameters are valid JSON", lambda: _defaults(spec))
    yield Check("every parameter has a description", lambda: _help(spec))
    yield Check("a parameter that is a file is a FileParam", lambda: _paths(spec))
    yield Check("a file is known by its name and content", lambda: _files(spec))
    if isinstance(spec, LearnerSpec):
        yield Check("its deviations from its source are described", lambda: _deviations(spec))
        yield Check("what it declares as test_only is known", lambda: _test_only(spec))


def default_params(spec: Spec, *, searched: bool = False) -> BaseModel:
    """The default parameters of a plugin; if ``searched``, of a learner on a searched network."""
    if isinstance(spec, LearnerSpec):
        return spec.params_model(searched=searched).model_validate(spec.preset)
    return spec.params_model().model_validate({})


def _summary(spec: Spec) -> None:
    require(spec.summary.strip(), "the summary is empty.")
    require("\n" not in spec.summary, "the summary has several lines.")


def _targets(spec: Spec) -> None:
    targets = [getattr(spec, "factory", None), getattr(spec, "function", None)]
    if isinstance(spec, LearnerSpec):
        targets += [spec.train_shape, spec.steps_at_test, spec.conditions, spec.search_params]
    if isinstance(spec, SearchSpaceSpec):
        targets.append(spec.regularization)
    if isinstance(spec, DatasetSpec):
        targets += [spec.synthetic, spec.archive, spec.state]
    for target in targets:
        if target is not None:
            try:
                found = resolve(target)
            except PluginError as error:
                require(False, error.message)
            else:
                require(
                    callable(found) or target == getattr(spec, "archive", None),
                    f"{target!r} is not callable.",
                )


def _model(spec: Spec) -> None:
    _models(spec)  # which refuse themselves
    if isinstance(spec, LearnerSpec):
        lost = (
            spec.params_model().model_fields.keys()
            - spec.params_model(searched=True).model_fields.keys()
        )
        require(not lost, f"search_params lack {', '.join(sorted(lost))}, but params have it.")


def _models(spec: Spec) -> list[type[BaseModel]]:
    """The parameter models of a description; for a learner, also the one for searched networks."""
    if isinstance(spec, LearnerSpec) and spec.search_params is not None:
        return [spec.params_model(), spec.params_model(searched=True)]
    return [spec.params_model()]


def _defaults(spec: Spec) -> None:
    params = default_params(spec)
    values = params.model_dump(mode="json")
    text = json.dumps(values, allow_nan=False)
    require(
        type(params).model_validate(json.loads(text)) == params,
        "the parameters change when they are written as JSON and read again.",
    )


def _help(spec: Spec) -> None:
    fields = [item for model in _models(spec) for item in model.model_fields.items()]
    silent = dict.fromkeys(name for name, field in fields if not field.description)
    require(not silent, f"these parameters have no description: {', '.join(silent)}.")


def _paths(spec: Spec) -> None:
    raise_doubts(
        f"The parameter {name} is a path, so the identity of a run would depend on where it "
        "leads; metabench.FileParam holds the name and the checksum of a file."
        for name in dict.fromkeys(_fields_with(Path, spec))
    )


def _files(spec: Spec) -> None:
    """Give each file parameter two equal files in different folders."""
    names = dict.fromkeys(_fields_with(FileParam, spec))
    with TemporaryDirectory() as folder:
        for name in names:
            _known_by_content(spec, name, Path(folder))


def _known_by_content(spec: Spec, name: str, folder: Path) -> None:
    written = []
    for place in ("here", "there"):
        file = folder / place / "file.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text("metabench", encoding="utf-8")
        for model in _models(spec):
            if name not in model.model_fields:
                continue
            params = _with_file(model, name, str(file), preset=getattr(spec, "preset", {}))
            written.append(json.dumps(params.model_dump(mode="json"), sort_keys=True))
            require(
                str(file.parent) not in written[-1],
                f"the parameter {name} is written with the path of the file, which would be part "
                "of the identity of a run.",
            )
    require(
        len({*written}) <= len(written) // 2,
        f"two equal files of one name give different values of {name}.",
    )


def _with_file(
    model: type[BaseModel], name: str, file: str, *, preset: Mapping[str, Any]
) -> BaseModel:
    """Parameters of which one is a file, or one file in a list or under a name."""
    for value in (file, [file], {"file": file}):
        with suppress(ValidationError):
            return model.model_validate({**preset, name: value})
    raise Skip(f"{name} does not take a file of any text.")


def _fields_with(kind: type, spec: Spec) -> Iterator[str]:
    """The names of parameters whose annotation contains a type."""
    for model in _models(spec):
        for name, field in model.model_fields.items():
            if _contains(field.annotation, kind):
                yield name


def _contains(annotation: Any, kind: type) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, kind):
        return True
    return any(_contains(part, kind) for part in get_args(annotation))


def _test_only(spec: LearnerSpec) -> None:
    known = {*TEST_FACTS, *(name for model in _models(spec) for name in model.model_fields)}
    strange = [name for name in spec.test_only if name not in known]
    require(
        not strange,
        f"test_only names {', '.join(strange)}; it takes parameters of the learner, and "
        f"{', '.join(TEST_FACTS)}.",
    )


def _deviations(spec: LearnerSpec) -> None:
    for one in spec.deviations:
        require(isinstance(one, SourceDeviation), f"{one!r} is not a SourceDeviation.")
        require(not one.learners, f"{one.where!r} names learners, which only a suite may do.")
    fields = spec.params_model(searched=True).model_fields
    raise_doubts(strange_conditions(spec.deviations, {"learner": fields}))
