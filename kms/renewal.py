"""Requests that meet a key whose shares were renewed elsewhere: once more, with the certificate nodes have now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

from kms.admission import Outcome
from kms.endpoint import Context
from kms.errors import KmsError
from kms.keys import Key

Perform = Callable[[Context, Key], Awaitable[Outcome]]


def on_newest_shares(perform: Perform) -> Perform:
    """`perform`, repeated once where nodes refused with `key.epoch`: their grace for the epoch before is over."""

    @wraps(perform)
    async def performed(context: Context, key: Key) -> Outcome:
        try:
            return await perform(context, key)
        except KmsError as error:
            if error.code != "key.epoch":
                raise
            newest = await context.gateway.conductor.certifier.relearn(key)
            return await perform(context, newest.at_version(key.certificate.version) or newest)

    return performed
