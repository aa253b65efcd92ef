"""Runs are passed on to trackers while they are made, and no run waits for a tracker.

Each tracker has a thread in the process of the command. It is told that something is new in the
folder of a run, reads there what the run has logged, and sends what the tracker does not have yet.
So nothing piles up in memory while a tracker is slow or away, and what could not be sent is still
there when the same command is given again.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from metabench.errors import MetabenchError, PluginError
from metabench.plugin.blame import described
from metabench.plugin.contracts.tracker import (
    CurvePoint,
    LookingTracker,
    RunEnd,
    TrackedRun,
    Tracker,
)
from metabench.plugin.fields import in_short
from metabench.plugin.specs import RunEvent
from metabench.results.episode_files import NotCountedError
from metabench.results.reading import read_record
from metabench.results.run_facts import facts_of, scores_of
from metabench.results.schema import RunRecord
from metabench.results.tracker_notes import (
    TrackerNote,
    alone_with,
    points_after,
    read_note,
    write_note,
)
from metabench.results.training_curve import TrainingCurve, read_training_curve
from metabench.text import counted, plain
from metabench.values import digest

PAUSE = 1.0
"""Seconds in which news of runs are gathered before they are sent."""
LONGEST_PAUSE = 60.0
"""Seconds until a tracker that failed again and again is tried again, at most."""
PATIENCE = 30.0
"""Seconds that a command waits at its end for trackers that are still busy."""

_LOGIN = re.compile(r"//[^/@\s]+@")
"""A user and a password in an address."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Followed:
    """A run of the command.

    Attributes:
        folder: of the run.
        label: the run in words; "" for its learner, setting and seed.
    """

    folder: Path
    label: str = ""


class Following:
    """The trackers of a command, each in a thread.

    Args:
        trackers: by name.
        runs: of the command, by id.
        say: called with a sentence for the user, from any thread.
    """

    def __init__(
        self, trackers: Mapping[str, Tracker], runs: Mapping[str, Followed], *, say: Say
    ) -> None:
        self._runs = runs
        self._say = say
        self._followers = [_Follower(name, one, say=say) for name, one in trackers.items()]

    def hear(self, event: RunEvent) -> None:
        """Take an event of a run; this returns at once."""
        ended = event.kind in ("run-done", "run-failed")
        if ended or event.kind == "run-started" or event.phase in ("meta-train", "meta-val"):
            self.look_at(event.run_id, ended=ended)

    def look_at(self, run_id: str, *, ended: bool) -> None:
        """Have all trackers look at a run; this returns at once."""
        if run := self._runs.get(run_id):
            for follower in self._followers:
                follower.look_at(run, ended=ended)

    def n_sent(self) -> int:
        """How many runs a tracker was sent something of."""
        return len({run for follower in self._followers for run in tuple(follower.told)})

    def close(self, *, patience: float = PATIENCE) -> bool:
        """Send what is left, say what could not be sent, and return whether all was sent.

        Args:
            patience: seconds to wait for all trackers together.
        """
        deadline = time.monotonic() + patience
        for follower in self._followers:
            follower.finish()
        for follower in self._followers:
            follower.join(max(0.0, deadline - time.monotonic()))
        lacking = [said for follower in self._followers if (said := follower.lacking())]
        for sentence in lacking:
            self._say(sentence)
        return not lacking


@contextmanager
def following(
    trackers: Mapping[str, Tracker], runs: Mapping[str, Followed], *, say: Say
) -> Iterator[Following]:
    """Follow runs while the block makes them; see :class:`Following`."""
    found = Following(trackers, runs, say=say)
    try:
        yield found
    finally:
        found.close()


@dataclass(frozen=True, slots=True)
class _News:
    """What a run has logged, and what its tracker has of it."""

    record: RunRecord
    curve: TrainingCurve
    note: TrackerNote
    end: RunEnd | None


class _Follower:
    """Passes runs on to one tracker, in a thread of its own."""

    def __init__(self, name: str, tracker: Tracker, *, say: Say) -> None:
        self._name = name
        self._tracker = tracker
        self._say = say
        # The runs' side: no lock and no signal, which a busy machine may take a while to pass on.
        self._news: deque[tuple[Followed, bool]] = deque()
        self._pending: set[Followed] = set()
        self._unended: dict[Followed, None] = {}
        # The thread's side.
        self.told: dict[Followed, None] = {}
        self._unsent: dict[Followed, bool] = {}
        self._open: dict[Followed, TrackedRun] = {}
        self._warned = False
        self._finishing = threading.Event()
        # A daemon: a tracker that hangs does not keep the command from ending.
        self._thread = threading.Thread(target=self._follow, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def look_at(self, run: Followed, *, ended: bool) -> None:
        """Note that there is news of a run."""
        if ended:
            self._unended.pop(run, None)
        else:
            self._unended[run] = None
        if ended or run not in self._pending:
            self._pending.add(run)
            self._news.append((run, ended))

    def finish(self) -> None:
        """Let the thread send what is left, and end; runs that did not end were interrupted."""
        self._news.extend((run, True) for run in self._unended)
        self._pending.update(self._unended)
        self._finishing.set()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def lacking(self) -> str:
        """What the tracker could not be sent, in a sentence; "" for nothing."""
        busy = self._thread.is_alive()
        runs = {*list(self._unsent), *list(self._pending)}
        if not runs:
            return ""
        n_points = sum(self._n_lacking(run) for run in runs)
        why = "is still busy" if busy else "failed"
        what = f"{counted(n_points, 'point')} of curves" if n_points else "the end"
        return (
            f"The tracker {self._name} {why}: it lacks {what} of {counted(len(runs), 'run')}. The "
            "same command sends them."
        )

    def _n_lacking(self, run: Followed) -> int:
        sent = read_note(run.folder, self._name).sent
        try:
            points = points_after(read_training_curve(run.folder / "metrics.jsonl"), sent)
        except OSError:
            return 0
        return sum(len(point.values) for point in points)

    # In the thread ------------------------------------------------------------------------------

    def _follow(self) -> None:
        pause, last = PAUSE, False
        while not last:
            last = self._finishing.wait(pause)
            self._take_news()
            for run, ended in [*self._unsent.items()]:
                if self._try_to_send(run, ended):
                    del self._unsent[run]
            pause = min(LONGEST_PAUSE, 2 * pause) if self._unsent else PAUSE

    def _take_news(self) -> None:
        while self._news:
            run, ended = self._news.popleft()
            self._pending.discard(run)
            self._unsent[run] = ended or self._unsent.get(run, False)

    def _try_to_send(self, run: Followed, ended: bool) -> bool:
        """Send what is new of a run; False if the tracker failed."""
        try:
            self._send(run, ended=ended)
        except NotCountedError:  # it has no record: it never began, or this machine sees it later
            return True
        except (Exception, SystemExit) as error:  # a plugin and its service may raise anything
            if not self._warned:
                self._warned = True
                self._say(
                    f"The tracker {self._name} failed, and the runs go on without it: "
                    f"{_in_words(error)}"
                )
            self._open.pop(run, None)
            return False
        return True

    def _send(self, run: Followed, *, ended: bool) -> None:
        if self._news_of(run, ended=ended) is None:
            return
        with alone_with(run.folder, self._name):
            # Another process may have sent it meanwhile.
            if (news := self._news_of(run, ended=ended)) is not None:
                self._send_news(run, news)

    def _news_of(self, run: Followed, *, ended: bool) -> _News | None:
        """What a run has logged; None where the tracker has all of it."""
        record = read_record(run.folder)
        curve = read_training_curve(run.folder / "metrics.jsonl")
        note = read_note(run.folder, self._name)
        end = _end_of(record, run.folder, step=curve.step) if ended else None
        if not points_after(curve, note.sent):
            if end is None and run in self._open:
                return None
            if end is not None and note.ended == _digest(end):
                self._open.pop(run, None)
                if self._has(run, record, note):
                    return None
        return _News(record, curve, note, end)

    def _send_news(self, run: Followed, news: _News) -> None:
        end = news.end
        tracked, note = self._opened(run, news.record, news.note)
        points = points_after(news.curve, note.sent)
        if points:
            tracked.log(points)
            self.told[run] = None
            note = note.model_copy(update={"sent": {**note.sent, **_last_steps(points)}})
            write_note(run.folder, self._name, note.model_copy(update={"ended": ""}))
        if end is not None:
            tracked.end(end)
            self.told[run] = None
            self._open.pop(run, None)
            write_note(run.folder, self._name, note.model_copy(update={"ended": _digest(end)}))

    def _has(self, run: Followed, record: RunRecord, note: TrackerNote) -> bool:
        """Whether the tracker still has all that it took of an ended run."""
        if not isinstance(self._tracker, LookingTracker):
            return True
        return self._tracker.has(facts_of(record, run.folder, label=run.label), key=note.key)

    def _opened(
        self, run: Followed, record: RunRecord, note: TrackerNote
    ) -> tuple[TrackedRun, TrackerNote]:
        if run in self._open:
            return self._open[run], note
        facts = facts_of(record, run.folder, label=run.label)
        tracked = self._tracker.open(facts, key=note.key)
        if not (isinstance(tracked, TrackedRun) and isinstance(tracked.key, str) and tracked.key):
            raise PluginError(
                f"open() returned {in_short(tracked)}; it must return a TrackedRun, whose key is a "
                "text that is not empty."
            )
        if not tracked.resumed:
            note = TrackerNote(key=tracked.key)
        write_note(run.folder, self._name, note)
        self._open[run] = tracked
        return tracked, note


def _end_of(record: RunRecord, folder: Path, *, step: int) -> RunEnd:
    if record.status in ("done", "trained"):
        step = record.spec.training.meta_steps
        return RunEnd(status="done", step=step, scores=scores_of(record, folder))
    if record.status == "failed":
        return RunEnd(status="failed", step=step, text=record.error)
    return RunEnd(status="interrupted", step=step, text=record.error)


def _digest(end: RunEnd) -> str:
    return digest([end.status, end.step, end.text, end.values])


def _last_steps(points: list[CurvePoint]) -> dict[str, int]:
    return {name: point.step for point in points for name in point.values}


def _in_words(error: BaseException) -> str:
    """An error on one line, without the login of an address."""
    said = str(error)
    if isinstance(error, LookupError | TypeError | AttributeError | SystemExit):
        said = described(error)  # whose text alone says little
    if isinstance(error, OSError) and error.strerror:
        said = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    elif isinstance(error, MetabenchError):
        said = error.in_full
    text = _LOGIN.sub("//", plain(said)) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}..."
