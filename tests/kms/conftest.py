"""One cluster per test module: tests leave it as they found it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.kms.fabric import Fabric


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fabric(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fabric]:
    """Five nodes, a gateway, an agent and a policy."""
    made = Fabric(tmp_path_factory.mktemp("fabric"))
    try:
        await made.start()
        yield made
    finally:
        await made.close()
