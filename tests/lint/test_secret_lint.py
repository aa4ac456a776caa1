"""The lint catches every known-bad line, passes the good ones, and finds the production tree clean."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.lint.secret_lint import lint, read_declassifications, read_tree

ROOT = Path(__file__).parents[2]

PRELUDE = """
from enclave.secret import Secret, declassify
from enclave.threshold import shamir
import hashlib, json, logging, copy, struct, base64

class Share:
    secret: Secret

def make() -> Secret: ...
def use(p) -> None: ...

def function(s: Secret, t: Secret, many: dict[int, Secret], share: Share, lib, ffi, group, n: int) -> None:
"""

BAD = {
    "comparison": [
        "s == t",
        "s.view == t.view",
        "s.view != b'x'",
        "n in s.view",
        "share.secret == t",
        "make() == s",
        "many[1] == s",
        "[x == t for x in many.values()]",
        "v = s.view\n    v == b'x'",
        "with s as alias:\n        alias == t",
        "for i, x in many.items():\n        x == s",
        "a, b = s, n\n    a == t",
        "Secret.random() == s",
        "s.duplicate().view == t.view",
    ],
    "conversion": [
        "int(s)",
        "bytes(s.view)",
        "bytearray(s.view)",
        "hash(s)",
        "sum(s.view)",
        "print(s)",
        "list(s.view)",
    ],
    "copy": [
        "int.from_bytes(s.view, 'big')",
        "s.view.hex()",
        "s.view.tobytes()",
        "ffi.buffer(s.p, 32)",
        "hashlib.sha256(s.view)",
        "json.dumps(s)",
        "copy.deepcopy(s)",
        "struct.unpack('>Q', s.view)",
        "base64.b64encode(s.view)",
        "logging.info('%s', s)",
        "raise ValueError('bad', s.view)",
        "ffi.unpack(s.p, 32)",
    ],
    "branch": ["if s:\n        pass", "while s.view:\n        pass", "n if s else 0", "assert s", "s and n", "not s"],
    "index": ["s.view[0]", "s.p[3]", "s[0]"],
    "iteration": ["for b in s.view:\n        pass", "[b for b in s.view]"],
    "format": ["f'{s}'", "f'{s.view!r}'"],
    "arithmetic": ["s + t", "'%s' % s", "b'x' + s.view", "s.view * 2"],
    "hash": ["{s: 1}", "{s}", "many[s]"],
    "publish": ["declassify(s)", "group.scalar_to_public_bytes(s)"],
    "variable time": ["lib.secp256k1_ec_pubkey_tweak_mul(n, n, s.p)"],
}

GOOD = [
    "s.same(t)",
    "n + s.size",
    "len(s.view)",
    "s is None",
    "use(s.p + 4)",
    "use(s.view[1:])",
    "with s.part(0, 16) as half:\n        use(half.p)",
    "lib.crypto_core_ed25519_scalar_add(s.p, s.p, t.p)",
    "view = s.view\n    view[0:4] = t.view",
    "sorted(many)",
    "[i for i in many if i == 1]",
    "if n:\n        s.wipe()",
    "s = n\n    s == 3",
    "public = group.base_mult(s)\n    public == b'x'",
    "if s.same(t):\n        pass",
]


def findings(body: str, prelude: str = PRELUDE) -> list[str]:
    """The rules that a function with this body breaks."""
    source = prelude + "    " + body
    return [finding.rule for finding in lint([("enclave/threshold/sample.py", source)], set())]


@pytest.mark.parametrize(("rule", "body"), [(rule, body) for rule, bodies in BAD.items() for body in bodies])
def test_known_bad_lines_are_caught(rule: str, body: str) -> None:
    """Each forbidden operation is found under its own rule."""
    assert rule in findings(body)


@pytest.mark.parametrize("body", GOOD)
def test_good_lines_pass(body: str) -> None:
    """What the product needs to do with secrets is not complained about."""
    assert findings(body) == []


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        pytest.param("import random", "import", id="variable generator"),
        pytest.param("import pickle", "import", id="pickle"),
        pytest.param("from multiprocessing import Queue", "import", id="multiprocessing"),
        pytest.param("from coincurve import PrivateKey", "import", id="coincurve's classes"),
        pytest.param("import coincurve", "import", id="coincurve"),
        pytest.param("key = ec.derive_private_key(1, curve)", "conversion", id="key from int"),
        pytest.param("def f(k):\n    key.private_numbers()", "conversion", id="key to int"),
        pytest.param("def mult(s): lib.secp256k1_ec_pubkey_tweak_mul(a, b, s)", "variable time", id="vartime"),
        pytest.param(
            "from functools import cache\nfrom enclave.secret import Secret\n@cache\ndef f(s: Secret) -> None: ...",
            "cache",
            id="cached secret",
        ),
    ],
)
def test_module_level_rules(source: str, rule: str) -> None:
    """Imports, names and decorators that have no business near secrets."""
    assert [finding.rule for finding in lint([("enclave/group/sample.py", textwrap.dedent(source))], set())] == [rule]


def test_results_of_functions_elsewhere_are_followed() -> None:
    """A function of another file that is annotated to return a secret makes its result secret here."""
    other = ("enclave/threshold/shamir.py", "def combine(x) -> Secret: ...\ndef lagrange(x) -> int: ...")
    sample = "from enclave.threshold import shamir\nfrom enclave.threshold.shamir import combine\n"
    for call, expected in (("shamir.combine(1)", 1), ("combine(1)", 1), ("shamir.lagrange(1)", 0)):
        here = ("enclave/keys.py", f"{sample}def f() -> None:\n    {call} == b'x'\n")
        assert len(lint([other, here], set())) == expected


def test_listed_functions_may_publish() -> None:
    """A function in the list of declassifications may use the door, and only that function."""
    source = (
        "def one(s: Secret):\n    declassify(s)\n\nclass C:\n    def two(self, s: Secret):\n        declassify(s)\n"
    )
    path = "enclave/group/sample.py"
    assert len(lint([(path, source)], set())) == 2
    assert [finding.line for finding in lint([(path, source)], {"sample.one"})] == [6]
    assert lint([(path, source)], {"sample.one", "sample.C.two"}) == []


def test_production_tree_is_clean() -> None:
    """The enclave package breaks none of the rules."""
    assert [str(finding) for finding in lint(read_tree(ROOT / "enclave"), set(read_declassifications()))] == []


def test_every_declassification_is_in_use() -> None:
    """No listed function could be struck from the list without a finding: the list holds nothing stale."""
    listed = read_declassifications()
    assert all(len(reason) > 10 for reason in listed.values())
    sources = list(read_tree(ROOT / "enclave"))
    for name in listed:
        assert lint(sources, set(listed) - {name}), name
