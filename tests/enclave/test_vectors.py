"""The published vectors are what the code makes, and what it accepts or refuses as they say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from attestation.envelope import b64url_decode
from enclave.batches import unwrapped
from enclave.errors import TokenError
from enclave.signing_key import PublicKey
from enclave.tokens import Token, verify_token
from tests.enclave.make_vectors import DIRECTORY, VECTORS, text_of


@pytest.mark.parametrize("name", VECTORS)
def test_the_published_file_is_what_the_code_makes(name: str) -> None:
    """Every byte this package signs or hashes is as published; a change shows up as a changed vector file."""
    assert (DIRECTORY / f"{name}.json").read_text() == text_of(name)


def check(case: dict[str, Any]) -> Token:
    """Verify one case as any implementation would."""
    key = PublicKey.parse(case["alg"], b64url_decode(case["key"]))
    return verify_token(
        case["token"],
        body=case["body"].encode(),
        cluster=bytes.fromhex(case["cluster"]),
        now=case["now"],
        keys=lambda _issuer, kid: key if kid == key.kid else None,
        act=case["act"],
        not_before=case["not_before"],
    )


TOKENS = json.loads((DIRECTORY / "request-tokens.json").read_text())


@pytest.mark.parametrize("case", TOKENS["accepted"], ids=lambda case: case["name"])
def test_published_tokens_are_accepted(case: dict[str, Any]) -> None:
    """Each published good token verifies and has the published request id."""
    assert check(case).request_id.hex() == case["request_id"]


def test_the_published_batch_comes_apart_as_published() -> None:
    """Each item has the published act, resource, body and request id."""
    batch = TOKENS["batch"]
    token, body = check(batch), batch["body"].encode()
    for number, expected in enumerate(batch["items"]):
        item, inner = unwrapped(token, body, number, None)
        found = {"act": str(item.act), "resource": item.resource, "body": inner.decode()}
        assert found | {"request_id": item.request_id.hex()} == expected


@pytest.mark.parametrize("case", TOKENS["refused"], ids=lambda case: case["name"])
def test_published_refusals_have_their_codes(case: dict[str, Any]) -> None:
    """Each published bad token is refused with the published code."""
    with pytest.raises(TokenError) as caught:
        check(case)
    assert caught.value.code == case["expect"]
