"""The demonstration ends well only if every step came out as it must."""

from __future__ import annotations

import pytest

from enclave.errors import RefusedError
from kms.dev import demo
from kms.dev.demo_steps.stage import Stage, SurpriseError


async def _refuse(code: str) -> None:
    raise RefusedError("no", code=code)


async def _comply() -> None:
    return None


async def test_a_step_must_be_refused_with_its_own_code() -> None:
    """A refusal with another code, or none at all, is a surprise."""
    stage = Stage()
    assert (await stage.refused(_refuse("policy.denied"), "policy.denied")).code == "policy.denied"
    with pytest.raises(SurpriseError, match=r"found token\.expired"):
        await stage.refused(_refuse("token.expired"), "policy.denied")
    with pytest.raises(SurpriseError, match="was carried out"):
        await stage.refused(_comply(), "policy.denied")


@pytest.mark.parametrize("error", [SurpriseError("the sky is green"), RefusedError("the sky is green")])
def test_a_surprise_ends_the_demonstration(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any failed step gives a non-zero status and says what failed; `demo: ok` does not appear."""

    async def play(_: Stage) -> None:
        raise error

    monkeypatch.setattr(demo, "play", play)
    assert demo.main() == 1
    shown = capsys.readouterr()
    assert "the sky is green" in shown.err
    assert "demo: ok" not in shown.out
