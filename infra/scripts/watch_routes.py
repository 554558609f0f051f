"""Prints the routes of template.yaml as a configuration of `cargo lambda watch`, whose `--global` reads it.

Usage: watch_routes.py TEMPLATE
"""

import json
import sys
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse


def routes(template):
    """Each path, with its methods and their functions. The $default route is the one that has no path."""
    by_path = {}
    for function in yaml_parse(Path(template).read_text())["Resources"].values():
        if function["Type"] != "AWS::Serverless::Function":
            continue
        binary = Path(function["Properties"]["CodeUri"]).name
        for event in function["Properties"]["Events"].values():
            if event["Type"] != "HttpApi":
                continue
            path, method = (event["Properties"].get(key) for key in ("Path", "Method"))
            if path is None:
                by_path["/{*any}"] = binary
            else:
                by_path.setdefault(path, []).append({"method": method, "function": binary})
    return by_path


def in_toml(value):
    """JSON's strings are TOML's; a table of one line is written with `=`."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {json.dumps(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(in_toml, value)) + "]"
    return json.dumps(value)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print("[watch.router]")
    for path, target in sorted(routes(sys.argv[1]).items()):
        print(f"{json.dumps(path)} = {in_toml(target)}")
