"""Where collateral is asked for: the vendors' services, or mirrors that speak the same paths.

Rules: endpoints named explicitly replace the vendors' own, because a request names the machine
(chip id, FMSPC) and an auditor may not want to tell the vendor; order is the order of trial.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from attestation.errors import FetchError

INTEL_PCS = "https://api.trustedservices.intel.com"
INTEL_ROOT_CRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
AMD_KDS = "https://kdsintf.amd.com"

VENDORS = ("intel", "amd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One service: `base` without a final slash; `vendor` empty if it serves both."""

    vendor: str
    base: str

    def serves(self, vendor: str) -> bool:
        """Whether documents of this vendor may be asked for here."""
        return self.vendor in ("", vendor)

    def url(self, path: str) -> str:
        """The address of one document; Intel's own root CRL lives on a host of its own."""
        if self.base == INTEL_PCS and path == ROOT_CRL_PATHS[0]:
            return INTEL_ROOT_CRL
        return self.base + path


ROOT_CRL_PATHS = ("/IntelSGXRootCA.der", "/sgx/certification/v4/rootcacrl")
"""Intel's file name, and the path caching services use."""

DEFAULT_ENDPOINTS = (Endpoint(vendor="intel", base=INTEL_PCS), Endpoint(vendor="amd", base=AMD_KDS))


def parse_endpoints(texts: Iterable[str]) -> tuple[Endpoint, ...]:
    """Endpoints from `URL`, `intel=URL` or `amd=URL`; for a vendor with none the vendor's own service.

    Raises FetchError (`fetch.endpoint`) for anything but an http or https URL without user, query or fragment.
    """
    named = [_parse(text) for text in texts]
    missing = [item for item in DEFAULT_ENDPOINTS if not any(endpoint.serves(item.vendor) for endpoint in named)]
    return (*named, *missing)


def _parse(text: str) -> Endpoint:
    vendor, separator, url = text.partition("=")
    if not separator or vendor not in VENDORS:
        vendor, url = "", text
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused(text) from None
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain or port == 0:
        raise _refused(text)
    return Endpoint(vendor=vendor, base=url.rstrip("/"))


def _refused(text: str) -> FetchError:
    return FetchError(
        f"expected [intel=|amd=]http(s)://host[:port][/path] as endpoint, found {text[:80]!r}", code="fetch.endpoint"
    )
