"""What holds for all tests: a key for personal data, and how the tests are dealt out to parallel workers."""

from __future__ import annotations

import os

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadGroupScheduling

from pipelines.privacy import ENVIRONMENT_KEY

# The same in every process that a test starts.
os.environ[ENVIRONMENT_KEY] = "dGVzdHMgb25seTogbm9ib2R5J3MgcmVhbCBrZXkuLi4="


class FilesAndGroups(LoadGroupScheduling):
    """A file goes to one worker as a whole, so that its fixtures are made once; so does an `xdist_group`."""

    def _split_scope(self, nodeid: str) -> str:
        return super()._split_scope(nodeid).split("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FilesAndGroups:
    return FilesAndGroups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers long files come first, so that no worker is left alone with one at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: "/e2e/" not in item.nodeid)
