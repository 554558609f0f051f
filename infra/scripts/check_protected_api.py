"""Transforms the sample of an API behind the authorizer as CloudFormation does and checks what comes out.

Usage: check_protected_api.py TEMPLATE OUTPUT: as check_template.py. What its function reads of a caller is compared with
the code in tests/all/routes/authorizer.rs.
"""

import json
import logging
import sys
from pathlib import Path

from check_template import METHODS, NoManagedPolicies, of_type
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

HEADER, ROUTE = "$request.header.Authorization", "$context.routeKey"
# What an authorizer may keep: seconds, and the identity sources that are the key of the cache.
STRICT = (0, [HEADER])
CHOSEN = ({"Fn::If": ["IsRelaxed", 60, 0]}, [HEADER, ROUTE])


def check(result, report):
    (api,) = (item["Properties"]["Body"] for item in of_type(result, "AWS::ApiGatewayV2::Api").values())
    authorizers = {
        name: scheme["x-amazon-apigateway-authorizer"] for name, scheme in api["components"]["securitySchemes"].items()
    }
    for name, authorizer in authorizers.items():
        if authorizer["authorizerPayloadFormatVersion"] != "2.0" or authorizer.get("enableSimpleResponses") is not True:
            report(f"{name}: does not speak payload format 2.0 with simple responses")
        if {"Ref": "AuthorizerArn"} not in authorizer["authorizerUri"]["Fn::Sub"][1].values():
            report(f"{name}: is not Latchkey's")
    kept = {name: (one["authorizerResultTtlInSeconds"], one["identitySource"]) for name, one in authorizers.items()}
    if kept != {"Strict": STRICT, "Chosen": CHOSEN}:
        report(f"answers are kept otherwise than meant: {kept}")
    asked = {}
    for path, item in api["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                asked[method, path] = [name for one in operation.get("security", [{}]) for name in one]
    if asked != {("post", "/payments"): ["Strict"], ("get", "/reports"): ["Chosen"]}:
        report(f"routes are protected otherwise than meant: {asked}")
    allowed = [
        permission["Properties"]["SourceArn"]["Fn::Sub"][0]
        for permission in of_type(result, "AWS::Lambda::Permission").values()
        if permission["Properties"]["FunctionName"] == {"Ref": "AuthorizerArn"}
    ]
    if not allowed or not all(source.endswith(":${__ApiId__}/authorizers/*") for source in allowed):
        report(f"API Gateway may not invoke the authorizer, or others may: {allowed}")


def main(template, output):
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    arn = "arn:aws:lambda:eu-central-1:123456789012:function:latchkey-AuthorizerFunction:live"
    result = transform(yaml_parse(Path(template).read_text()), {"AuthorizerArn": arn}, NoManagedPolicies())
    Path(output).write_text(json.dumps(result, indent=2) + "\n")
    problems = []
    check(result, problems.append)
    for problem in problems:
        print(f"{template}: {problem}", file=sys.stderr)
    if not problems:
        print(f"{template}: every route has its authorizer, as meant after the transform")
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
