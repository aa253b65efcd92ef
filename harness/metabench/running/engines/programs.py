"""From a recorded graph to something that runs: operator by operator, or compiled for a CPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, fx

from metabench.running.engines.draws import Draws
from metabench.running.engines.lowering import lower
from metabench.running.engines.recording import Guard, Recording, Refused

Found = TypeVar("Found")
Run = Callable[..., Sequence[Tensor]]
"""Maps the inputs of a graph to its outputs, and changes the state among the inputs in place."""
Compile = Callable[[fx.GraphModule, Mapping[str, Tensor]], Run]
"""Makes a function of a graph and of inputs like those that it will get, by name and in order."""


@dataclass(frozen=True, slots=True)
class Program:
    """A recorded step that can be repeated.

    Attributes:
        run: see :data:`Run`.
        inputs: names of the inputs, in order.
        constants: inputs that do not change, by name.
        draws: the random numbers.
        guard: where it is right.
        outputs: of each scalar, its place in what ``run`` returns, or a fixed number.
    """

    run: Run
    inputs: tuple[str, ...]
    constants: Mapping[str, Tensor]
    draws: Draws
    guard: Guard | None
    outputs: Mapping[str, int | float]

    @classmethod
    def of(
        cls, recording: Recording, compile_graph: Compile, inputs: Mapping[str, Tensor]
    ) -> Program:
        """Compile a recording.

        Args:
            recording: of a step.
            compile_graph: see :data:`Compile`.
            inputs: tensors like those that it will get, by name.

        Raises:
            Refused: it cannot be compiled.
        """
        known = {**inputs, **recording.constants}
        examples = {name: known[name] for name in recording.inputs}
        try:
            run = compile_graph(fx.GraphModule({}, recording.graph), examples)
        except Refused:
            raise
        except Exception as error:
            raise Refused(f"it cannot be compiled ({_in_short(error)})") from error
        return cls(
            run,
            recording.inputs,
            recording.constants,
            recording.draws,
            recording.guard,
            recording.outputs,
        )

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
        """Run once; returns the scalars of the step."""
        known = {**inputs, **self.constants}
        results = self.run(*[known[name] for name in self.inputs])
        return {
            name: results[place] if isinstance(place, int) else place
            for name, place in self.outputs.items()
        }


def tried(run: Callable[[], Found]) -> Found:
    """Run a program for the first time.

    Raises:
        Refused: it ends with an error. Some programs compile, and yet cannot run.
    """
    try:
        return run()
    except Exception as error:
        raise Refused(f"its program cannot be run ({_in_short(error)})") from error


def _in_short(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"


def as_recorded(module: fx.GraphModule, examples: Mapping[str, Tensor]) -> Run:
    """Run the operators one by one: the numbers of an eager step to the bit."""
    del examples

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        # Some operators look whether gradients are wanted. None of the inputs wants one.
        with torch.enable_grad():
            results: Sequence[Tensor] = module(*inputs)
        return results

    return run


def by_inductor(module: fx.GraphModule, examples: Mapping[str, Tensor]) -> Run:
    """Compile for a CPU by Inductor, which fuses operators into loops in C++.

    What it has compiled is kept in the user's cache folder, for later runs.
    """
    from platformdirs import user_cache_path

    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(user_cache_path("metabench") / "programs"))
    from torch._inductor import standalone_compile

    lower(module.graph)
    module.recompile()
    with torch.no_grad():
        compiled = standalone_compile(
            module, list(examples.values()), dynamic_shapes="from_example_inputs"
        )

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        with torch.no_grad():
            results: Sequence[Tensor] = compiled(*inputs)
        return results

    return run
