"""Every way of running the project: `nox -l` lists them, `nox -s NAME` runs one."""

from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

PROJECT = nox.project.load_toml("pyproject.toml")
TEST, LINT, DOCS, BROWSER = (
    nox.project.dependency_groups(PROJECT, group) for group in ("test", "lint", "docs", "browser")
)


def alone(session: nox.Session) -> dict[str, str]:
    """One thread a process, for tests that run side by side and timings; caches inside the session's environment."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**threads, "VPTFT_HOME": str(Path(session.virtualenv.location) / "vptft-home")}


@nox.session
def quickstart(session: nox.Session) -> None:
    """The main job on real input: trains, measures, and writes reports/quickstart/index.html."""
    session.install("-e", ".[demo]")
    session.run("vptft-analyze", "quickstart", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All fast tests, with the real backbone."""
    session.install("-e", ".[demo]", *TEST)
    session.run("pytest", "-n", "2", "-m", "not verify and not browser", *session.posargs, env=alone(session))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, docstrings, and the floors; needs none of the package's own dependencies."""
    session.install("--no-deps", "-e", ".")
    session.install(*LINT)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Static types."""
    session.install("-e", ".", *LINT)
    session.run("mypy")


@nox.session
def minimal(session: nox.Session) -> None:
    """Without any extra: what is optional must not be needed."""
    session.install("-e", ".", "pytest>=8.3", "hypothesis>=6.120")
    session.run("pytest", "-m", "not verify and not browser and not demo", *session.posargs, env=alone(session))


@nox.session
def browser(session: nox.Session) -> None:
    """The page in a real browser (Debian's chromium, or the one CHROMIUM names)."""
    session.install("-e", ".[demo]", *TEST, *BROWSER)
    session.run("pytest", "-m", "browser", *session.posargs, env=alone(session))


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, its figures drawn and its examples run: docs/build/html/index.html; a warning is an error."""
    session.install("-e", ".", *DOCS)
    command = ("sphinx-build", "-b", "html", "-W", "--keep-going", "docs", "docs/build/html")
    session.run(*command, *session.posargs, env=alone(session))


@nox.session
def verify(session: nox.Session) -> None:
    """Slow proofs, outside CI: kills and resumes, fuzzed files, constructed cases, coverage, large plans."""
    session.install("-e", ".[demo]", *TEST)
    session.run("pytest", "-m", "verify", *session.posargs, env=alone(session))


@nox.session
def simulate(session: nox.Session) -> None:
    """Bias and coverage of the debiased distance, an hour or more: writes reports/distances/simulation.csv; resumes."""
    session.install("-e", ".[demo]")
    target = session.posargs[0] if session.posargs else "reports/distances/simulation.csv"
    session.run("python", "tests/simulations/distances.py", target, *session.posargs[1:], env=alone(session))
    session.run("python", "tests/simulations/summary.py", target)


@nox.session
def cluster(session: nox.Session) -> None:
    """Statistics and sweeps on a Ray cluster that is started on this machine: lost workers, interrupted drivers."""
    session.install("-e", ".[demo,cluster]", *TEST)
    session.run("pytest", "-m", "cluster", *session.posargs, env=alone(session))


@nox.session
def bench(session: nox.Session) -> None:
    """Speed, side by side with the peers on the same inputs: median ratios of paired repetitions, with their range."""
    session.install("-e", ".[demo]", *nox.project.dependency_groups(PROJECT, "bench"))
    session.run("python", "-m", "bench", *session.posargs, env={**alone(session), "PYTHONPATH": "tests"})
