"""Transforms template.yaml as CloudFormation does and checks what comes out.

Usage: check_template.py TEMPLATE OUTPUT: writes the transformed template to OUTPUT, for cfn-lint to read, and exits
with 1 when a check fails. Linters know what is valid; the checks here know what is meant. Offline.
"""

import json
import re
import sys
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

SCHEDULE = "cron(0 2 * * ? *)"  # daily at 02:00 UTC
API_GATEWAY_TIMEOUT = 30  # seconds, not to be changed
METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "x-amazon-apigateway-any-method"}


class NoManagedPolicies:
    """Looking up AWS's managed policies by name would need an account; the template names none."""

    def load(self):
        return {}


def as_list(value):
    return value if isinstance(value, list) else [value]


def of_type(template, kind):
    return {name: item for name, item in template["Resources"].items() if item["Type"] == kind}


def routes_meant(source):
    """Each (path, method) of the HttpApi events, and the function that it is for."""
    routes = {}
    for name, function in of_type(source, "AWS::Serverless::Function").items():
        for event in function["Properties"].get("Events", {}).values():
            if event["Type"] == "HttpApi":
                path = event["Properties"].get("Path", "$default")
                method = event["Properties"].get("Method", "x-amazon-apigateway-any-method").lower()
                assert (path, method) not in routes, f"two functions have {method} {path}"
                routes[path, method] = name
    return routes


def check_routes(source, result, report):
    meant = routes_meant(source)
    (api,) = of_type(result, "AWS::ApiGatewayV2::Api").values()
    found = {}
    for path, item in api["Properties"]["Body"]["paths"].items():
        path = "$default" if path == "/$default" else path
        for method, operation in item.items():
            if method not in METHODS:
                continue
            integration = operation["x-amazon-apigateway-integration"]
            found[path, method] = json.dumps(integration["uri"])
            if integration["payloadFormatVersion"] != "2.0" or integration["type"] != "aws_proxy":
                report(f"{method} {path}: the integration is not a Lambda proxy with payload format 2.0")
            if path == "$default" and not operation.get("isDefaultRoute"):
                report("$default is not the default route")

    for route in meant.keys() - found.keys():
        report(f"{route} has been lost in the transform")
    for route in found.keys() - meant.keys():
        report(f"{route} has come out of nowhere")
    for route in meant.keys() & found.keys():
        if f"${{{meant[route]}.Arn}}" not in found[route]:
            report(f"{route} does not lead to {meant[route]}")
    if ("$default", "x-amazon-apigateway-any-method") not in found:
        report("there is no $default route: unknown routes and preflights would be answered by API Gateway")

    # What API Gateway may invoke: ".../${__Stage__}/GET/v1/me", or ".../${__Stage__}/*" for all routes.
    allowed = {
        (
            permission["Properties"]["FunctionName"]["Ref"],
            permission["Properties"]["SourceArn"]["Fn::Sub"][0].split("${__Stage__}/")[1],
        )
        for permission in of_type(result, "AWS::Lambda::Permission").values()
        if permission["Properties"]["Principal"] == "apigateway.amazonaws.com"
    }
    for (path, method), function in meant.items():
        if not allowed & {(function, method.upper() + re.sub(r"\{[^}]*\}", "*", path)), (function, "*")}:
            report(f"API Gateway may not invoke {function} for {method} {path}")


def check_functions(source, result, report):
    meant = of_type(source, "AWS::Serverless::Function")
    functions = of_type(result, "AWS::Lambda::Function")
    if meant.keys() != functions.keys():
        report(f"functions differ after the transform: {sorted(meant.keys() ^ functions.keys())}")
    over_http = set(routes_meant(source).values())

    for name, function in functions.items():
        properties = function["Properties"]
        if properties["Runtime"] != "provided.al2023" or properties["Handler"] != "bootstrap":
            report(f"{name}: not a Rust binary on provided.al2023")
        if name in over_http and properties["Timeout"] >= API_GATEWAY_TIMEOUT:
            report(f"{name}: its timeout is not below API Gateway's {API_GATEWAY_TIMEOUT} s")

        metadata = meant[name].get("Metadata", {})
        crate = f"functions/{metadata.get('BuildProperties', {}).get('Binary')}"
        if metadata.get("BuildMethod") != "rust-cargolambda" or meant[name]["Properties"]["CodeUri"] != crate:
            report(f"{name}: is not built from the crate of its binary")

        role = result["Resources"][properties["Role"]["Fn::GetAtt"][0]]["Properties"]
        statements = [
            statement for policy in role.get("Policies", []) for statement in policy["PolicyDocument"]["Statement"]
        ]
        if not statements:
            report(f"{name}: has no policy of its own")
        reached = set()
        for statement in statements:
            for action in as_list(statement["Action"]):
                if "*" in action:
                    report(f"{name}: may do {action}")
                reached.add(action.split(":")[0])
            for resource in as_list(statement["Resource"]):
                if "*" in json.dumps(resource):
                    report(f"{name}: a policy reaches {resource}")

        # A function is told of a resource when it may use it, and only then.
        variables = properties["Environment"]["Variables"]
        for variable, service in (("TABLE_NAME", "dynamodb"), ("TOKEN_SECRET_ARN", "secretsmanager")):
            if (variable in variables) != (service in reached):
                report(f"{name}: {variable} and its {service} permissions do not go together")


def check_cleanup(result, report):
    rules = of_type(result, "AWS::Events::Rule")
    if len(rules) != 1:
        report(f"there are {len(rules)} schedules instead of one")
    for name, rule in rules.items():
        properties = rule["Properties"]
        if properties["ScheduleExpression"] != SCHEDULE:
            report(f"{name}: runs at {properties['ScheduleExpression']} instead of {SCHEDULE}")
        if properties.get("State", "ENABLED") != "ENABLED":
            report(f"{name}: is not enabled")
        (target,) = properties["Targets"]
        if target["Arn"] != {"Fn::GetAtt": ["CleanupFunction", "Arn"]}:
            report(f"{name}: does not run the cleanup")
        if target.keys() & {"Input", "InputPath", "InputTransformer"}:
            report(f"{name}: replaces the scheduled event by something else")


def check_data(result, report):
    for kind in ("AWS::DynamoDB::Table", "AWS::SecretsManager::Secret"):
        kept = of_type(result, kind)
        if len(kept) != 1:
            report(f"there are {len(kept)} of {kind} instead of one")
        for name, item in kept.items():
            if item.get("DeletionPolicy") != "Retain" or item.get("UpdateReplacePolicy") != "Retain":
                report(f"{name}: would be deleted with the stack")
    (table,) = (item["Properties"] for item in of_type(result, "AWS::DynamoDB::Table").values())
    if table["TimeToLiveSpecification"] != {"AttributeName": "ttl", "Enabled": True}:
        report("Table: nothing expires")
    if not table["DeletionProtectionEnabled"]:
        report("Table: is not protected from deletion")
    if not table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]:
        report("Table: has no point-in-time recovery")


def main(template, output):
    text = Path(template).read_text()
    source = yaml_parse(text)
    # The parameters without a default need some value, as they do in a deployment.
    parameters = {
        name: "https://auth.example.com" for name, item in source["Parameters"].items() if "Default" not in item
    }
    # Parsed again, because the transform changes what it is given. It wants the code uploaded already.
    packaged = yaml_parse(text)
    for function in of_type(packaged, "AWS::Serverless::Function").values():
        function["Properties"]["CodeUri"] = "s3://bucket/key"
    result = transform(packaged, parameters, NoManagedPolicies())
    Path(output).write_text(json.dumps(result, indent=2) + "\n")

    problems = []
    check_routes(source, result, problems.append)
    check_functions(source, result, problems.append)
    check_cleanup(result, problems.append)
    check_data(result, problems.append)
    for problem in problems:
        print(f"{template}: {problem}", file=sys.stderr)
    if not problems:
        functions = len(of_type(result, "AWS::Lambda::Function"))
        print(f"{template}: {functions} functions, {len(routes_meant(source))} routes, as meant after the transform")
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
