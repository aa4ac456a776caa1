"""A fabric whose policy lets small payments and `free` messages through and sends the rest to two of the treasury."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kms.client import ApproverCredentials
from tests.kms.approvals.office import Office
from tests.kms.fabric import Fabric


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    """Five nodes, a gateway, an agent, keys, and three approvers."""
    directory: Path = tmp_path_factory.mktemp("fabric")
    fabric = Fabric(directory)
    try:
        await fabric.start()
        office = Office(fabric)
        await office.open()
        yield office
        await office.close()
    finally:
        await fabric.close()


@pytest.fixture
def ada(office: Office) -> ApproverCredentials:
    """An approver of the treasury."""
    return office.approvers["ada"]


@pytest.fixture
def bob(office: Office) -> ApproverCredentials:
    """Another one."""
    return office.approvers["bob"]
