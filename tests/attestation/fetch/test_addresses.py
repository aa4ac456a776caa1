"""Forms of answers, redirects and endpoints."""

from __future__ import annotations

import pytest

from attestation.errors import FetchError
from attestation.fetch.endpoints import parse_endpoints
from tests.attestation.fetch import vendor
from tests.attestation.fetch.bench import Bench
from tests.attestation.fetch.vendor import Answer, VendorService


@pytest.mark.parametrize("form", ["hex", "pem", "plus"])
def test_other_forms_that_services_send(bench: Bench, service: VendorService, form: str) -> None:
    """Lists as hex text, and chains whose spaces are written as plus signs."""
    (crl,) = service.answers[vendor.PCK_CRL]
    if form == "hex":
        service.only(vendor.PCK_CRL, Answer(body=crl.body.hex().encode(), headers=crl.headers))
    elif form == "pem":
        service.only(vendor.ROOT_CRL, Answer(body=service.answers[vendor.ROOT_CRL][0].body.hex().encode() + b"\n"))
    else:
        chain = {name: value.replace("%20", "+") for name, value in crl.headers.items()}
        service.only(vendor.PCK_CRL, Answer(body=crl.body, headers=chain))
    assert bench.fetch(service).errors == []


def test_a_caching_service_has_the_root_list_elsewhere(bench: Bench, service: VendorService) -> None:
    """If the vendor's file name is unknown, the path caching services use is tried."""
    service.answers["/sgx/certification/v4/rootcacrl"] = service.answers.pop(vendor.ROOT_CRL)
    assert bench.fetch(service).errors == []


def test_redirects_within_one_service_are_followed(bench: Bench, service: VendorService) -> None:
    """A relative redirect leads to the document."""
    service.answers["/moved"] = service.answers[vendor.TCB_INFO]
    service.only(vendor.TCB_INFO, Answer(status=302, headers={"Location": "/moved?x=1"}))
    assert bench.fetch(service).errors == []


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/tcb", "file:///etc/passwd", "ftp://127.0.0.1/x", "", "/loop"])
def test_redirects_elsewhere_are_not_followed(bench: Bench, service: VendorService, location: str) -> None:
    """Another origin, another scheme, nowhere, or in circles: refused."""
    service.only(vendor.TCB_INFO, Answer(status=302, headers={"Location": location}))
    service.answers["/loop"] = [Answer(status=302, headers={"Location": "/loop"})]
    assert [error.code for error in bench.fetch(service, attempts=1).errors] == ["fetch.redirect"]
    assert len(service.requests) < 10


def test_endpoints_replace_the_vendor_named_and_no_other() -> None:
    """A mirror for one vendor leaves the other vendor's own service; one for both leaves none."""
    bases = [endpoint.base for endpoint in parse_endpoints(["intel=https://pccs.example:8081/"])]
    assert bases == ["https://pccs.example:8081", "https://kdsintf.amd.com"]
    assert [e.base for e in parse_endpoints(["https://mirror.example/kds"])] == ["https://mirror.example/kds"]
    pcs, kds = parse_endpoints([])
    assert pcs.url("/IntelSGXRootCA.der") == "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
    assert kds.url("/vcek/v1/Milan/crl") == "https://kdsintf.amd.com/vcek/v1/Milan/crl"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "file:///x",
        "https://",
        "https://u:p@h/",
        "https://h/?q=1",
        "https://h:99999/",
        "arm=https://h",
    ],
)
def test_what_is_no_endpoint(text: str) -> None:
    """Anything but a plain http or https address is refused."""
    with pytest.raises(FetchError) as caught:
        parse_endpoints([text])
    assert caught.value.code == "fetch.endpoint"
