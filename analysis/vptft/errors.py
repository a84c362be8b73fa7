"""The errors a user can meet: what was expected, what came, what to do next."""

from collections.abc import Iterable
from difflib import get_close_matches


class VptftError(Exception):
    """A failure the user can act on; the command line prints it without a traceback and exits 1.

    Parameters
    ----------
    problem
        What was expected and what came.
    hint
        What to do next.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        self.problem = problem
        self.hint = hint
        super().__init__(f"{problem}\n{hint}" if hint else problem)


class UnknownNameError(VptftError):
    """A name that its registry does not hold; lists the known and the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        listing = f"Known: {', '.join(names)}." if names else f"No {kind} is registered yet."
        super().__init__(f"There is no {kind} named {name!r}.{meant}", " ".join(filter(None, [listing, hint])))


class DataError(VptftError):
    """Images or tasks that are missing, empty, or cannot be read."""


class WeightsError(VptftError):
    """Weights that are missing, cannot be reached, or do not fit the architecture."""


class CheckpointError(VptftError):
    """A run folder or checkpoint that is missing, incomplete, or of another kind."""


class TrainingError(VptftError):
    """A training run that cannot go on, such as a loss that is no longer a number."""


class SettingsError(VptftError, ValueError):
    """A setting outside its range; the message holds the bad value."""


class StorageError(VptftError):
    """A file that could not be written or read; nothing half-written is left."""


class NotApplicable(VptftError):  # noqa: N818 - an outcome with a reason, not a fault
    """This question has no answer for this input; the message is the reason."""


class MissingExtraError(VptftError):
    """An optional dependency that is not installed; the hint is the install line."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed.",
            f"pip install 'vptft-analyze[{extra}]'",
        )
