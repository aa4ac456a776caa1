"""Policies to begin with: each a JSON file with what may be set, and the cases it must decide rightly.

A value of exactly `${name}` in a template's policy stands for the parameter of that name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from attestation.errors import PolicyError

CASES_TYPE = "holdfast/policy-cases/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One thing to set."""

    name: str
    about: str
    example: Any
    """Also says the form: a list, a number or a text."""

    def read(self, text: str) -> Any:
        """The value of a command line's text; raises PolicyError (`policy.template`)."""
        if isinstance(self.example, list):
            return [item.strip() for item in text.split(",") if item.strip()]
        if isinstance(self.example, int):
            if not text.isdecimal():
                raise PolicyError(f"{self.name}: expected a number", code="policy.template")
            return int(text)
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A policy with gaps."""

    name: str
    about: str
    usage: str
    spec: str
    parameters: Mapping[str, Parameter]
    policy: Mapping[str, Any]
    cases: tuple[Mapping[str, Any], ...]
    """Of the policy as it is with the examples."""

    @classmethod
    def load(cls, name: str) -> Template:
        """The template of that name; raises PolicyError (`policy.template`)."""
        if name not in names():
            raise PolicyError(f"no template {name}", code="policy.template", hint=f"there are: {', '.join(names())}")
        value = json.loads((files(__package__) / f"{name}.json").read_text("utf-8"))
        parameters = {
            key: Parameter(name=key, about=item["about"], example=item["example"])
            for key, item in value["parameters"].items()
        }
        return cls(
            name=name,
            about=value["about"],
            usage=value["usage"],
            spec=value["spec"],
            parameters=parameters,
            policy=value["policy"],
            cases=tuple(value["cases"]),
        )

    def render(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The policy file with every gap filled; raises PolicyError (`policy.template`)."""
        unknown, missing = values.keys() - self.parameters.keys(), self.parameters.keys() - values.keys()
        if unknown or missing:
            what = f"no parameter {', '.join(sorted(unknown))}" if unknown else f"missing: {', '.join(sorted(missing))}"
            raise PolicyError(f"{self.name}: {what}", code="policy.template", hint=f"kms policy template {self.name}")
        rendered = _filled(self.policy, values)
        assert isinstance(rendered, dict)
        return {"name": self.name, **rendered}

    def example(self) -> dict[str, Any]:
        """The policy file with the examples."""
        return self.render({name: parameter.example for name, parameter in self.parameters.items()})

    def cases_file(self) -> dict[str, Any]:
        """The cases as `kms policy test` reads them; they hold for the example."""
        return {"type": CASES_TYPE, "usage": self.usage, "spec": self.spec, "now": 1_800_000_000, "cases": self.cases}


def names() -> tuple[str, ...]:
    """Every template."""
    return tuple(
        sorted(item.name.removesuffix(".json") for item in files(__package__).iterdir() if item.name.endswith(".json"))
    )


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, str) and value.startswith("${") and value.endswith("}"):
        return values[value[2:-1]]
    if isinstance(value, Mapping):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    return value
