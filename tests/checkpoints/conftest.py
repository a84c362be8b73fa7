"""Files that the peers' own programs made."""

import tarfile

import pytest


@pytest.fixture(scope="session")
def peers(pytestconfig, tmp_path_factory):
    """Folder of the peers' checkpoints and logs; to be read and never changed."""
    archive = pytestconfig.rootpath.parent / "shared" / "fixtures" / "peers.tar.gz"
    if not archive.is_file():
        pytest.skip(f"{archive} is not there")
    folder = tmp_path_factory.mktemp("peers")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder
