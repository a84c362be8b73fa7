import pytest

from vptft.published.tables import load


@pytest.fixture(scope="session")
def printed():
    """The tables as they ship; to be read and never changed."""
    return load()
