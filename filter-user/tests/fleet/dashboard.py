"""Says what of a Grafana dashboard is not as Grafana's own types have it: fields that they do not know, values of other types.

The models of grafana-foundation-sdk take what they know and believe it. So what is read is written again, which shows what
was not taken, and is compared with the types that the models declare.
"""

import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.runtime import panelcfg_config
from grafana_foundation_sdk.models import dashboard


def lost(before, after, where):
    """What is not there any more, or is another."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{where}.{key}: not known to Grafana"
            else:
                yield from lost(value, after[key], f"{where}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{where}[{number}]")
    elif before != after:
        yield f"{where}: {before!r} became {after!r}"


def wrong(value, declared, where):
    """What is of another type than declared."""
    origin, parts = typing.get_origin(declared), typing.get_args(declared)
    if declared in (typing.Any, object):
        # Options, whose types go by the kind of a panel.
        yield from inside(value, where)
    elif origin in (typing.Union, types.UnionType):
        if value is None and type(None) in parts:
            return
        parts = [part for part in parts if part is not type(None)]
        exact = [part for part in parts if isinstance(part, type) and type(value) is part]
        if len(parts) == 1 or exact:
            yield from wrong(value, (exact or parts)[0], where)
        elif all(any(True for _ in wrong(value, part, where)) for part in parts):
            yield f"{where}: {value!r} is none of {parts}"
    elif origin is typing.Literal:
        if value not in parts:
            yield f"{where}: {value!r} is none of {parts}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no list"
        else:
            for number, item in enumerate(value):
                yield from wrong(item, parts[0], f"{where}[{number}]")
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
        else:
            for key, item in value.items():
                yield from wrong(item, parts[1], f"{where}.{key}")
    elif isinstance(declared, type) and issubclass(declared, enum.Enum):
        if value not in [member.value for member in declared]:
            yield f"{where}: {value!r} is no {declared.__name__}"
    elif declared is float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            yield f"{where}: {value!r} is no number"
    elif isinstance(value, dict) and hasattr(declared, "from_json"):
        # In places the models keep what they should have read.
        model = declared.from_json(value)
        yield from lost(value, written(model), where)
        yield from inside(model, where)
    elif not isinstance(value, declared) or (declared is int and isinstance(value, bool)):
        yield f"{where}: {value!r} is no {declared.__name__}"
    else:
        yield from inside(value, where)


def inside(value, where):
    """The same of what an object is made of."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from inside(item, f"{where}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from inside(item, f"{where}[{number}]")
    elif hasattr(value, "to_json"):
        declared = typing.get_type_hints(type(value))
        for name, item in vars(value).items():
            yield from wrong(item, declared.get(name, typing.Any), f"{where}.{name}")


def written(model):
    """An object as JSON has it."""
    return json.loads(JSONEncoder().encode(model))


def unknown(panels):
    """Panels of a kind that Grafana does not have; of such nothing else is known."""
    for number, panel in enumerate(panels):
        kind = panel["type"]
        if kind != "row" and panelcfg_config(kind) is None:
            yield f"dashboard.panels[{number}]: no panel is of type {kind!r}"


def main():
    plugins.register_default_plugins()
    [path] = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        before = json.load(file)
    model = dashboard.Dashboard.from_json(before)
    faults = [*unknown(before["panels"])]
    faults += dict.fromkeys([*lost(before, written(model), "dashboard"), *inside(model, "dashboard")])
    print("\n".join(faults), end="")
    sys.exit(bool(faults))


main()
