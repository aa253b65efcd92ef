"""The random numbers of a meta-step: noted while it is recorded, drawn again in every step.

A program draws nothing. It gets the numbers as inputs, drawn from the generator of its step by the
same calls in the same order, so they are those of an eager step to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

SEEDS = 2**31
"""A drawn number above this is a seed, and neither a choice nor a place."""

Call = Any
"""An ATen operator, such as ``aten.rand.generator``."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One call that draws.

    Attributes:
        call: the operator.
        args: its arguments. Of a call that fills a tensor, those after the tensor.
        kwargs: its keywords, without the generator.
        fills: shape, strides and type of the tensor that the call fills; None if it makes one.
        stream: from which generator, see :class:`Draws`.
    """

    call: Call
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    fills: tuple[Any, ...] | None
    stream: int

    def __call__(self, generator: torch.Generator) -> Tensor:
        """Draw again."""
        kwargs = {**self.kwargs, "generator": generator}
        if self.fills is None:
            drawn: Tensor = self.call(*self.args, **kwargs)
            return drawn
        shape, strides, dtype = self.fills
        drawn = self.call(torch.empty_strided(shape, strides, dtype=dtype), *self.args, **kwargs)
        return drawn

    @property
    def what(self) -> object:
        """Two draws with the same answer, from generators in the same state, are equal."""
        return self.call, repr(self.args), repr(sorted(self.kwargs.items())), self.fills


@dataclass(slots=True)
class Draws:
    """The draws of one step, in order.

    Stream 0 is the generator that the harness passes in. Each further one is a generator that the
    learner seeds with a number that it has drawn: ``torch.Generator().manual_seed(int(drawn))``.

    Attributes:
        calls: the draws.
        seeds: of each stream after the first, the position of the draw that seeds it.
        are_read: whether Python has read one.
    """

    calls: list[Draw] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    are_read: bool = False

    def again(self, rng: torch.Generator) -> list[Tensor]:
        """Make all draws, from the generator of a step."""
        streams = [rng]
        drawn: list[Tensor] = []
        for draw in self.calls:
            while draw.stream >= len(streams):
                seed = int(drawn[self.seeds[len(streams) - 1]])
                streams.append(torch.Generator().manual_seed(seed))
            drawn.append(draw(streams[draw.stream]))
        return drawn


def shift(rng: torch.Generator) -> None:
    """Let a generator give other numbers than it would."""
    torch.rand((), generator=rng)


@dataclass(slots=True)
class _Stream:
    """A generator: the position of the draw that seeds it, None for the step's own, and its past.

    ``positions`` are those of the draws in :attr:`Draws.calls`.
    """

    seed: int | None
    past: list[object] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Known:
    """A generator that the step has drawn from, its stream, and its state after the last draw."""

    generator: torch.Generator
    stream: _Stream
    state: Tensor

    def is_of(self, generator: torch.Generator) -> bool:
        """Whether this is the generator; below Python, an operator gets another wrapper of it."""
        return bool(self.generator._cdata == generator._cdata)  # type: ignore[attr-defined]


class DrawRecorder:
    """Notes draws while a step is recorded.

    Args:
        rng: the generator of the step.
    """

    def __init__(self, rng: torch.Generator) -> None:
        self.draws = Draws()
        self._known: list[_Known] = [_Known(rng, _Stream(None), rng.get_state())]
        # Streams that a program draws from. Those of one seed share what they have in common.
        self._drawn: list[_Stream] = [self._known[0].stream]
        self._read: dict[int, int] = {}
        self._used: set[int] = set()

    def note(self, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int | None:
        """Return the position of a draw; None where its generator is not known.

        Several generators of one seed give the same numbers, which are drawn once.
        """
        stream = self._stream_of(kwargs["generator"])
        if stream is None:
            return None
        fills = None
        if call._schema.is_mutable:
            into, *args = args
            fills = (tuple(into.shape), into.stride(), into.dtype)
        rest = {name: value for name, value in kwargs.items() if name != "generator"}
        draw = Draw(call, tuple(args), rest, fills, 0)
        if stream.seed is None:
            return self._add(draw, stream)
        past = [*stream.past, draw.what]
        twins = [other for other in self._drawn if other.seed == stream.seed]
        for twin in twins:
            if twin.past[: len(past)] == past:
                position = twin.positions[len(past) - 1]
                break
        else:
            position = self._add(draw, self._at(stream, twins))
        stream.past, stream.positions = past, [*stream.positions, position]
        return position

    def drew(self, generator: torch.Generator) -> None:
        """Remember how a noted draw left its generator."""
        for known in self._known:
            if known.is_of(generator):
                known.state = generator.get_state()

    def _at(self, stream: _Stream, twins: Sequence[_Stream]) -> _Stream:
        """The stream to draw from that has the past of ``stream``; if none has, a new one."""
        for twin in twins:
            if twin.past == stream.past:
                return twin
        assert stream.seed is not None
        new = _Stream(stream.seed)
        self._drawn.append(new)
        self.draws.seeds.append(stream.seed)
        for position in stream.positions:
            self._add(self.draws.calls[position], new)
        return new

    def _add(self, draw: Draw, stream: _Stream) -> int:
        index = next(i for i, other in enumerate(self._drawn) if other is stream)
        self.draws.calls.append(replace(draw, stream=index))
        position = len(self.draws.calls) - 1
        stream.past.append(draw.what)
        stream.positions.append(position)
        return position

    def read(self, position: int, value: int) -> None:
        """Remember that the learner has read a drawn number, to seed a generator with."""
        self._read[position] = value
        self.draws.are_read = True

    def has_other_reads(self) -> bool:
        """Whether a drawn number was read for anything but a seed.

        A seed of a generator that draws nothing is no harm. It is known by its size.
        """
        unused = [value for position, value in self._read.items() if position not in self._used]
        return any(value <= SEEDS for value in unused)

    def _stream_of(self, generator: torch.Generator) -> _Stream | None:
        state = generator.get_state()
        for known in self._known:
            if known.is_of(generator):
                if torch.equal(state, known.state):
                    return known.stream
                self._known.remove(known)  # it was set anew
                break
        for position, value in self._read.items():
            if torch.equal(state, torch.Generator().manual_seed(value).get_state()):
                self._used.add(position)
                self._known.append(_Known(generator, stream := _Stream(position), state))
                return stream
        return None
