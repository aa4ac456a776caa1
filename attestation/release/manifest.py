"""A signed statement: this version, from this source, has these measurements on these platforms.

Rules: a manifest counts only under k of m known keys and inside its dates; one image is one set
of registers that belong together, so that no mixture of two images passes; every image pins the
register that names the code.  Specification: specs/release-manifest.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from attestation.errors import DocumentError
from attestation.evidence import Claims, Tee
from attestation.limits import TIME_MAX

PAYLOAD_TYPE = "application/vnd.holdfast.release+json"
DOCUMENT_TYPE = "holdfast/release/v1"

IMAGES_MAX = 256
"""Images of one release: platforms times machine sizes, with room to spare."""

REGISTERS_MAX = 32
TEXT_MAX = 200

CODE_REGISTER = {Tee.TDX: "mrtd", Tee.SGX: "mrenclave", Tee.SEV_SNP: "measurement", Tee.NITRO: "pcr0"}
"""The register without which an image would not say which code it is."""

_MEMBERS = frozenset({"type", "name", "version", "source", "issued_at", "expires_at", "images"})
_VERSION = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}(?:[-+][0-9A-Za-z.+-]{1,64})?", re.ASCII)
_REGISTER = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-f]{2}){1,128}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One measured image: every register named must hold exactly its value."""

    tee: Tee
    name: str
    registers: Mapping[str, str]
    """Register to lower-case hex."""

    def matches(self, claims: Claims) -> bool:
        """Whether this is the image the claims are about."""
        found = claims.measurements
        return claims.tee is self.tee and all(found.get(name) == value for name, value in self.registers.items())

    def to_json(self) -> dict[str, Any]:
        """As in the manifest."""
        return {"tee": self.tee.value, "name": self.name, "registers": dict(self.registers)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseManifest:
    """One release; building one checks nothing, `from_payload` and `open` do."""

    name: str
    version: str
    source: str
    """SHA-256 (hex) of the source archive the images were built from."""
    issued_at: int
    expires_at: int
    """Unix seconds: a release that is not re-signed stops counting."""
    images: tuple[Image, ...]

    @classmethod
    def open(cls, data: bytes, *, keys: Iterable[bytes], threshold: int, now: int) -> ReleaseManifest:
        """A manifest signed by at least `threshold` of `keys` (raw Ed25519) and in force at `now`.

        Raises DocumentError: `release.malformed`, `release.signatures`, `release.expired`, `release.not-yet-valid`.
        """
        envelope = Envelope.parse(data)
        try:
            payload = envelope.open(PAYLOAD_TYPE, keys, threshold=threshold)
        except DocumentError as error:
            code = "release.signatures" if error.code == "envelope.signatures" else error.code
            raise DocumentError(f"release manifest: {error.detail}", code=code) from None
        manifest = cls.from_payload(payload)
        if now < manifest.issued_at:
            raise DocumentError("the release manifest is from the future", code="release.not-yet-valid")
        if now > manifest.expires_at:
            raise DocumentError(
                "the release manifest has expired", code="release.expired", hint="ask for a newly signed one"
            )
        return manifest

    @classmethod
    def from_payload(cls, value: Any) -> ReleaseManifest:
        """Read an unsigned payload; raises DocumentError (`release.malformed`)."""
        if not isinstance(value, dict) or set(value) != _MEMBERS or value["type"] != DOCUMENT_TYPE:
            raise _malformed(f"expected exactly the members {', '.join(sorted(_MEMBERS))}")
        listed = value["images"]
        if not isinstance(listed, list) or not 1 <= len(listed) <= IMAGES_MAX:
            raise _malformed(f"expected 1 to {IMAGES_MAX} images")
        manifest = cls(
            name=_text(value["name"], "name"),
            version=_matching(value["version"], _VERSION, "version", "a semantic version"),
            source=_matching(value["source"], _HEX, "source", "a SHA-256 in lower-case hex"),
            issued_at=_time(value["issued_at"], "issued_at"),
            expires_at=_time(value["expires_at"], "expires_at"),
            images=tuple(_image(item) for item in listed),
        )
        if len(manifest.source) != 64:
            raise _malformed("expected source as a SHA-256 in lower-case hex")
        if manifest.issued_at >= manifest.expires_at:
            raise _malformed("expected expires_at after issued_at")
        if len({canonical_json(image.to_json()) for image in manifest.images}) != len(manifest.images):
            raise _malformed("an image is listed twice")
        return manifest

    def payload(self) -> dict[str, Any]:
        """The JSON value that is signed."""
        return {
            "type": DOCUMENT_TYPE,
            "name": self.name,
            "version": self.version,
            "source": self.source,
            "issued_at": self.issued_at,
            "expires_at": self.expires_at,
            "images": [image.to_json() for image in self.images],
        }

    def envelope(self) -> Envelope:
        """Unsigned, ready for `signed`; refuses what `open` would refuse."""
        self.from_payload(self.payload())
        return Envelope.of(PAYLOAD_TYPE, self.payload())

    def image_of(self, claims: Claims) -> Image:
        """The image these claims are about; raises DocumentError (`release.platform`, `release.measurement`)."""
        ours = [image for image in self.images if image.tee is claims.tee]
        if not ours:
            raise DocumentError(f"{self.title} has no image for {claims.tee}", code="release.platform")
        found = next((image for image in ours if image.matches(claims)), None)
        if found is None:
            raise DocumentError(_difference(ours, claims, self.title), code="release.measurement")
        return found

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCheck:
    """A step of a verdict: the evidence is of an image of this release."""

    manifest: ReleaseManifest

    @property
    def name(self) -> str:
        """What the step is called."""
        return f"code is release {self.manifest.title}"

    def check(self, claims: Claims, now: int) -> None:
        """Raise DocumentError unless the claims match one image whole."""
        del now  # the manifest's dates were checked when it was opened, for the same time
        self.manifest.image_of(claims)


def _difference(images: list[Image], claims: Claims, title: str) -> str:
    """What is other than in the image that comes closest."""

    def wrong(image: Image) -> list[str]:
        return [name for name, value in image.registers.items() if claims.measurements.get(name) != value]

    nearest = min(images, key=lambda image: len(wrong(image)))
    return f"no image of {title} has these measurements; nearest is {nearest.name!r}, not {', '.join(wrong(nearest))}"


def _image(value: Any) -> Image:
    if not isinstance(value, dict) or set(value) != {"tee", "name", "registers"}:
        raise _malformed("expected exactly tee, name and registers in an image")
    try:
        tee = Tee(value["tee"])
    except ValueError:
        raise _malformed(f"expected tee among {', '.join(Tee)}") from None
    registers = value["registers"]
    if not isinstance(registers, dict) or len(registers) > REGISTERS_MAX:
        raise _malformed(f"expected an object of at most {REGISTERS_MAX} registers")
    for name, held in registers.items():
        _matching(name, _REGISTER, "register name", "lower-case letters, digits and underscores")
        _matching(held, _HEX, name, "lower-case hex")
    if CODE_REGISTER[tee] not in registers:
        raise _malformed(f"a {tee} image must name {CODE_REGISTER[tee]}, which says which code it is")
    return Image(tee=tee, name=_text(value["name"], "name"), registers=registers)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= TEXT_MAX or not value.isprintable():
        raise _malformed(f"expected {name} as 1 to {TEXT_MAX} printable characters")
    return value


def _matching(value: Any, pattern: re.Pattern[str], name: str, what: str) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise _malformed(f"expected {name[:40]} as {what}")
    return value


def _time(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= TIME_MAX:
        raise _malformed(f"expected {name} as Unix seconds")
    return value


def _malformed(detail: str) -> DocumentError:
    return DocumentError(f"release manifest: {detail}", code="release.malformed")
