"""Transforms template.yaml as CloudFormation does and checks what comes out.

Usage: check_template.py TEMPLATE OUTPUT: writes the transformed template to OUTPUT, for cfn-lint to read, and exits
with 1 when a check fails. Linters know what is valid; the checks here know what is meant. Offline.

They know nothing of the code: whether template and code agree is tested in Rust, each fact once (routes, settings,
table, metrics, headers in tests/all/contract/one_truth.rs; what a function may do in least_privilege.rs).
"""

import json
import logging
import re
import sys
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

SCHEDULE = "cron(0 2 * * ? *)"  # daily at 02:00 UTC
API_GATEWAY_TIMEOUT = 30  # seconds, not to be changed
AUTHORIZER_TIMEOUT = 10  # the same for an authorizer
STREAM_RETENTION = 86_400  # seconds, not to be changed
ALIAS = "live"
DOMAIN = "infra/domain/template.yaml"
EDGE = "infra/edge/template.yaml"
WATCH = "infra/watch/template.yaml"
WEB_ACL = "infra/edge/web-acl.yaml"
METRICS_OF_AN_ALARM = 10  # that an expression may add up
LONGEST_LOOK_BACK = 604_800  # seconds, for periods of an hour and more; a day for shorter ones
# The metrics of AWS that alarms and dashboard may name, with their dimensions.
AWS_METRICS = {
    "AWS/Lambda": ({"FunctionName"}, {
        "Errors", "Throttles", "Duration", "ConcurrentExecutions", "IteratorAge", "Invocations", "DestinationDeliveryFailures",
    }),
    "AWS/ApiGateway": ({"ApiId"}, {"Count", "4xx", "5xx", "Latency"}),
    "AWS/DynamoDB": ({"TableName"}, {
        "ReadThrottleEvents", "WriteThrottleEvents", "ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits",
    }),
    "AWS/SQS": ({"QueueName"}, {"ApproximateNumberOfMessagesVisible"}),
}
# Written by the code.
OWN_NAMESPACE = "Latchkey"
# What the access log may say: nothing that holds a token. Paths and query strings are as clients send them.
LOGGED = {
    "requestTime", "requestId", "integration.requestId", "routeKey", "httpMethod", "status", "integrationStatus",
    "responseLatency", "integrationLatency", "responseLength", "identity.sourceIp", "protocol", "error.responseType",
    "integrationErrorMessage",
}  # fmt: skip
# Alarms for which once is too often. The thresholds of all others are parameters.
AT_ONCE = {
    "CleanupMissedAlarm", "ClockDifferenceAlarm", "ErrorLinesAlarm", "EventsSilentAlarm", "MailUnsentAlarm",
    "TokenAheadAlarm",
}
# What takes an upgrade back. Their periods are a minute, because a canary lasts for five.
ROLLS_BACK = {"FunctionErrorsAlarm", "ServerErrorsAlarm", "TokenReuseAlarm"}
# Paths that the edge may cache, if their replies say so.
CACHED = {
    "/.well-known/jwks.json",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server*",
    "/openapi.json",
    "/docs*",
    "/account/files/*",
}
# What calls nothing in AWS needs no permission.
WITHOUT_POLICY = {"ConsoleFunction"}
METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "x-amazon-apigateway-any-method"}


class NoManagedPolicies:
    """Looking up AWS's managed policies by name would need an account; the template names none."""

    def load(self):
        return {}


def as_list(value):
    return value if isinstance(value, list) else [value]


def of_type(template, kind):
    return {name: item for name, item in template["Resources"].items() if item["Type"] == kind}


def parts(value, path=()):
    """Every dictionary and string inside a value, with the keys that lead to it."""
    if isinstance(value, dict):
        yield path, value
        for key, item in value.items():
            yield from parts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from parts(item, (*path, index))
    elif isinstance(value, str):
        yield path, value


def filled_in(value, parameters):
    """A value of a nested template, with what its parent gives in place of its parameters."""
    if isinstance(value, dict):
        if value.keys() == {"Ref"} and value["Ref"] in parameters:
            return parameters[value["Ref"]]
        return {key: filled_in(item, parameters) for key, item in value.items()}
    if isinstance(value, list):
        return [filled_in(item, parameters) for item in value]
    return value


def names_in(value):
    """The resources, parameters and conditions that a value refers to."""
    for _, part in parts(value):
        if not isinstance(part, dict):
            continue
        if isinstance(part.get("Ref"), str):
            yield part["Ref"]
        if "Fn::GetAtt" in part:
            attribute = part["Fn::GetAtt"]
            yield attribute.split(".")[0] if isinstance(attribute, str) else attribute[0]
        if "Fn::Sub" in part:
            text, own = part["Fn::Sub"], {}
            if isinstance(text, list):
                text, own = text
            for name in re.findall(r"\$\{([^!}][^}]*)\}", text):
                if name not in own:
                    yield name.split(".")[0]
        if "Fn::If" in part:
            yield part["Fn::If"][0]
        if isinstance(part.get("Condition"), str):
            yield part["Condition"]


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
        if f"${{{meant[route]}Alias{ALIAS}}}" not in found[route]:
            report(f"{route} does not lead to the alias of {meant[route]}")
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
        alias = function + "Alias" + ALIAS
        if not allowed & {(alias, method.upper() + re.sub(r"\{[^}]*\}", "*", path)), (alias, "*")}:
            report(f"API Gateway may not invoke {function} for {method} {path}")
    for function, _ in allowed:
        if not function.endswith("Alias" + ALIAS):
            report(f"API Gateway may invoke {function} past its alias")


def check_api(source, result, report):
    (stage,) = (item["Properties"] for item in of_type(result, "AWS::ApiGatewayV2::Stage").values())
    log = stage.get("AccessLogSettings", {})
    if log.get("DestinationArn") != {"Fn::GetAtt": ["AccessLog", "Arn"]}:
        report("the API has no access log")
    fields = json.loads(log.get("Format", "{}"))
    said = {value.removeprefix("$context.") for value in fields.values()}
    if "requestId" not in said or not said <= LOGGED:
        report(f"the access log has no request id, or says what it should not: {sorted(said - LOGGED)}")
    for name, settings in {"default": stage.get("DefaultRouteSettings", {}), **stage.get("RouteSettings", {})}.items():
        if not all("Ref" in settings.get(bound, {}) for bound in ("ThrottlingRateLimit", "ThrottlingBurstLimit")):
            report(f"route {name}: its throttle is not a parameter")
    routes = {f"{method.upper()} {path}" for path, method in routes_meant(source)}
    for unknown in stage.get("RouteSettings", {}).keys() - routes:
        report(f"there are settings for {unknown}, which is no route: the deployment would fail")


def holds(value, parameters):
    """What a condition or the assertion of a rule comes to."""
    if not isinstance(value, dict):
        return value
    ((function, arguments),) = value.items()
    if function == "Ref":
        return parameters[arguments]
    if function == "Fn::Sub":
        return re.sub(r"\$\{([^}]+)\}", lambda name: parameters[name[1]], arguments)
    arguments = [holds(argument, parameters) for argument in arguments]
    match function:
        case "Fn::Equals":
            return arguments[0] == arguments[1]
        case "Fn::Not":
            return not arguments[0]
        case "Fn::Or":
            return any(arguments)
        case "Fn::And":
            return all(arguments)
    raise AssertionError(f"{function} is not known here")


def check_domain(source, result, report):
    """With a domain of its own the API has no other address; without one, and behind the edge, it has its default one."""
    (api,) = (item["Properties"] for item in of_type(result, "AWS::ApiGatewayV2::Api").values())
    servers = [server["x-amazon-apigateway-endpoint-configuration"] for server in api["Body"].get("servers", [])]
    off = [server.get("disableExecuteApiEndpoint") for server in servers]
    if off != [{"Fn::If": ["HasDomain", True, False]}]:
        report(f"the API's default address is not off exactly with a domain: {off}")
    stack = result["Resources"]["DomainStack"]
    given = stack["Properties"]["Parameters"]
    if stack.get("Condition") != "HasDomain" or given["Stage"] != {"Ref": "HttpApiApiGatewayDefaultStage"}:
        report("DomainStack: does not belong to the domain, or leads to no stage")
    if given["IssuerIsDomain"] != {"Fn::If": ["IssuerIsDomain", "true", "false"]}:
        report("DomainStack: is not told whether the issuer is the domain")
    for name in ("ApiUrl", "JwksUrl"):
        value = result["Outputs"][name]["Value"].get("Fn::If", [None, {}])
        if value[0] != "HasDomain" or not value[1].get("Fn::Sub", "").startswith("https://${DomainName}"):
            report(f"output {name}: names an address that does not answer when there is a domain")
    defaults = {name: str(item.get("Default", "")) for name, item in source["Parameters"].items()}
    domain = {"DomainName": "auth.example.com", "Issuer": "https://auth.example.com"}
    certified = {**domain, "DomainCertificateArn": "arn:aws:acm:eu-central-1:123456789012:certificate/1"}
    for given, allowed in [
        ({}, True),
        ({"Edge": "required"}, True),
        (certified, True),
        (domain, False),
        ({**certified, "Edge": "optional"}, False),
        ({**certified, "Edge": "required"}, False),
    ]:
        values = {**defaults, **given}
        if all(
            holds(one["Assert"], values) for rule in result["Rules"].values() for one in rule["Assertions"]
        ) != allowed:
            report(f"the rules {'forbid' if allowed else 'allow'} {given}")
        if holds(result["Conditions"]["HasDomain"], values) != ("DomainName" in given):
            report(f"HasDomain: is wrong for {given}")
    for issuer, right in [
        ("https://auth.example.com", True),
        ("https://auth.example.com/", False),
        ("https://auth.example.com/auth", False),
        ("https://other.example.com", False),
    ]:
        if holds(result["Conditions"]["IssuerIsDomain"], {**defaults, **domain, "Issuer": issuer}) != right:
            report(f"IssuerIsDomain: is wrong for {issuer}")
    nested = yaml_parse(Path(DOMAIN).read_text())
    if stack["Properties"]["Parameters"].keys() != nested["Parameters"].keys():
        report(f"{DOMAIN}: its parameters and those given differ")
    if nested["Parameters"]["IssuerIsDomain"]["AllowedValues"] != ["true"]:
        report(f"{DOMAIN}: is made whatever the issuer is")
    (name,) = (item["Properties"] for item in of_type(nested, "AWS::ApiGatewayV2::DomainName").values())
    if [one["SecurityPolicy"] for one in name["DomainNameConfigurations"]] != ["TLS_1_2"]:
        report(f"{DOMAIN}: speaks an older TLS than 1.2")


def check_functions(source, result, report):
    meant = of_type(source, "AWS::Serverless::Function")
    functions = of_type(result, "AWS::Lambda::Function")
    if meant.keys() != functions.keys():
        report(f"functions differ after the transform: {sorted(meant.keys() ^ functions.keys())}")
    over_http = set(routes_meant(source).values())
    # Somebody waits for the answer, so nothing is repeated here: Secrets Manager repeats a rotation itself, and the
    # mapping of the stream and the queue their batches.
    waited_for = over_http | {"AuthorizerFunction", "RotateKeysFunction", "EventsFunction", "NotifyFunction"}

    for name, function in functions.items():
        properties = function["Properties"]
        if properties["Runtime"] != "provided.al2023" or properties["Handler"] != "bootstrap":
            report(f"{name}: not a Rust binary on provided.al2023")
        if name in over_http and properties["Timeout"] >= API_GATEWAY_TIMEOUT:
            report(f"{name}: its timeout is not below API Gateway's {API_GATEWAY_TIMEOUT} s")

        if name == "AuthorizerFunction" and properties["Timeout"] >= AUTHORIZER_TIMEOUT:
            report(f"{name}: its timeout is not below the {AUTHORIZER_TIMEOUT} s that API Gateway waits")

        if properties.get("TracingConfig") != {"Mode": {"Ref": "Tracing"}}:
            report(f"{name}: tracing is not as the parameter says")
        log = properties.get("LoggingConfig", {})
        if log.get("LogGroup") != {"Ref": "LogGroup"} or log.get("SystemLogLevel") != {"Ref": "PlatformLogLevel"}:
            report(f"{name}: does not log to the group of all, or its failures at a level of its own")
        check_alias(name, result, report)
        check_settings(name, properties, result, report)
        retries = result["Resources"].get(f"{name}EventInvokeConfig", {}).get("Properties", {})
        if name not in waited_for and (retries.get("Qualifier"), retries.get("MaximumRetryAttempts")) != (ALIAS, 2):
            report(f"{name}: is not repeated when it fails")

        role = result["Resources"][properties["Role"]["Fn::GetAtt"][0]]["Properties"]
        statements = [
            statement for policy in role.get("Policies", []) for statement in policy["PolicyDocument"]["Statement"]
        ]
        if bool(statements) == (name in WITHOUT_POLICY):
            report(f"{name}: has {len(statements)} statements in its own policy")
        for statement in statements:
            # What a parameter takes away is judged as if it were there.
            statement = statement.get("Fn::If", [None, statement])[1]
            for action in as_list(statement["Action"]):
                if "*" in action:
                    report(f"{name}: may do {action}")
            for resource in as_list(statement["Resource"]):
                # The objects of a bucket have no other name, nor have the streams of a table or the sender of mails.
                lists_streams = as_list(statement["Action"]) == ["dynamodb:ListStreams"]
                sends = as_list(statement["Action"]) == ["ses:SendEmail"]
                named_so = lists_streams or sends or resource == {"Fn::Sub": "${DeadLetterBucket.Arn}/*"}
                if "*" in json.dumps(resource) and not named_so:
                    report(f"{name}: a policy reaches {resource}")


def check_alias(name, result, report):
    """An upgrade goes by way of the alias, a tenth of the requests first, and is taken back by alarms."""
    alias = result["Resources"].get(f"{name}Alias{ALIAS}", {})
    group = alias.get("UpdatePolicy", {}).get("CodeDeployLambdaAliasUpdate", {}).get("DeploymentGroupName", {})
    group = result["Resources"].get(group.get("Ref"), {}).get("Properties", {})
    canary = group.get("AlarmConfiguration", {}).get("Fn::If", [None, {}, {}])
    alarms = {alarm["Name"]["Ref"] for alarm in canary[1].get("Alarms", [])}
    if not alarms or canary[0] != "IsCanary" or not group["AutoRollbackConfiguration"]["Enabled"]:
        report(f"{name}: no alarm takes an upgrade back")
    if canary[2]:
        report(f"{name}: AllAtOnce, the way to repair, would be stopped by alarms")
    for alarm in alarms ^ ROLLS_BACK:
        report(f"{name}: {alarm} takes an upgrade back, or should")


def check_settings(name, properties, result, report):
    """A change of a parameter that the function runs with publishes a new version of it."""
    settings = {"Fn::GetAtt": ["Settings", "VersionNumber"]}
    if properties["Environment"]["Variables"].get("SETTINGS_VERSION") != settings:
        report(f"{name}: does not change with the settings")
    versions = [
        version["Properties"]
        for version in of_type(result, "AWS::Lambda::Version").values()
        if version["Properties"]["FunctionName"] == {"Ref": name}
    ]
    if [version.get("Description") for version in versions] != [{"Fn::Sub": "settings ${Settings.VersionNumber}"}]:
        report(f"{name}: a change of the settings publishes no version")
    # The reservation belongs to the function, not to a version.
    used = set(names_in({key: value for key, value in properties.items() if key != "ReservedConcurrentExecutions"}))
    for condition in used & result["Conditions"].keys():
        used |= set(names_in(result["Conditions"][condition]))
    known = set(names_in(result["Resources"]["Settings"]["Properties"]["Content"]))
    for parameter in (used & result["Parameters"].keys()) - known:
        report(f"{name}: runs with {parameter}, which is not among the settings: a change of it would do nothing")


def check_cleanup(result, report):
    rules = of_type(result, "AWS::Events::Rule")
    rules = {name: rule for name, rule in rules.items() if name != "MailRule"}
    if len(rules) != 1:
        report(f"there are {len(rules)} schedules instead of one")
    for name, rule in rules.items():
        properties = rule["Properties"]
        if properties["ScheduleExpression"] != SCHEDULE:
            report(f"{name}: runs at {properties['ScheduleExpression']} instead of {SCHEDULE}")
        if properties.get("State", "ENABLED") != "ENABLED":
            report(f"{name}: is not enabled")
        (target,) = properties["Targets"]
        if target["Arn"] != {"Ref": "CleanupFunctionAlias" + ALIAS}:
            report(f"{name}: does not run the cleanup")
        if target.keys() & {"Input", "InputPath", "InputTransformer"}:
            report(f"{name}: replaces the scheduled event by something else")


def check_events(result, report):
    """Nothing of the stream is lost: what fails is brought again until the bucket takes it, before the stream forgets it."""
    mapping = result["Resources"]["EventsMapping"]["Properties"]
    if mapping["FunctionName"] != {"Ref": "EventsFunctionAlias" + ALIAS}:
        report("EventsMapping: does not call the alias")
    if mapping["StartingPosition"] != "TRIM_HORIZON" or mapping["MaximumRetryAttempts"] != -1:
        report("EventsMapping: leaves records out")
    if not mapping["BisectBatchOnFunctionError"] or mapping["FunctionResponseTypes"] != ["ReportBatchItemFailures"]:
        report("EventsMapping: a record that fails holds up those before it")
    if not 0 < mapping["MaximumRecordAgeInSeconds"] < STREAM_RETENTION:
        report("EventsMapping: the stream forgets records before they go to the dead letters")
    if mapping["DestinationConfig"] != {"OnFailure": {"Destination": {"Fn::GetAtt": ["DeadLetterBucket", "Arn"]}}}:
        report("EventsMapping: has no dead letters")
    filters = [json.loads(each["Pattern"]) for each in mapping["FilterCriteria"]["Filters"]]
    mark = {"failed_sign_in": {"M": {"account": {"M": {"user_id": {"S": [{"exists": True}]}}}}}}
    items = [{"prefix": "USER#"}, {"prefix": "LINK#"}]
    if filters != [{"dynamodb": {"Keys": {"pk": {"S": items}}}}, {"dynamodb": {"NewImage": mark}}]:
        report("EventsMapping: its filter is not that of the items that events are made of")
    bucket = result["Resources"]["DeadLetterBucket"]["Properties"]
    if set(bucket["PublicAccessBlockConfiguration"].values()) != {True}:
        report("DeadLetterBucket: may become public")


def check_mail(result, report):
    """No mail is lost: what fails is brought again for a day, then it goes to the dead letters."""
    resources = result["Resources"]
    dead = {"Fn::GetAtt": ["MailDeadLetters", "Arn"]}
    queue = resources["MailQueue"]["Properties"]
    day = queue["VisibilityTimeout"] * queue["RedrivePolicy"]["maxReceiveCount"]
    if queue["RedrivePolicy"]["deadLetterTargetArn"] != dead or not 86400 <= day < queue["MessageRetentionPeriod"]:
        report("MailQueue: does not bring events for a day and then to the dead letters")
    if queue["VisibilityTimeout"] <= 60 or resources["NotifyFunction"]["Properties"]["Timeout"] >= 60:
        report("MailQueue: brings an event again while its mail is claimed, for a minute")
    (mapping,) = (
        item["Properties"]
        for item in of_type(result, "AWS::Lambda::EventSourceMapping").values()
        if item["Properties"]["EventSourceArn"] == {"Fn::GetAtt": ["MailQueue", "Arn"]}
    )
    if mapping["FunctionResponseTypes"] != ["ReportBatchItemFailures"]:
        report("MailQueue: a mail that fails holds up the others")
    (target,) = resources["MailRule"]["Properties"]["Targets"]
    if target["Arn"] != {"Fn::GetAtt": ["MailQueue", "Arn"]} or target["DeadLetterConfig"] != {"Arn": dead}:
        report("MailRule: loses what it cannot put on the queue")
    for name in ("NotifyFunction", "MailRule", "MailQueue", "MailDeadLetters", "MailQueuePolicy"):
        if resources[name].get("Condition") != "SendsMail":
            report(f"{name}: is there without mail")
def check_authorizer(result, report):
    """By signature alone it asks no table, so its role must name none then."""
    role = result["Resources"]["AuthorizerFunctionRole"]["Properties"]
    statements = [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]
    on_table = [one for one in statements if "dynamodb:" in json.dumps(one)]
    nothing = {"Ref": "AWS::NoValue"}
    if not on_table or any([one["Fn::If"][0], one["Fn::If"][2]] != ["AuthorizerAsks", nothing] for one in on_table):
        report("AuthorizerFunction: may read the table though it is to judge by the signature alone")
    for mode, asks in (("strict", True), ("offline", False)):
        if holds(result["Conditions"]["AuthorizerAsks"], {"AuthorizerMode": mode}) != asks:
            report(f"AuthorizerFunction: AuthorizerMode={mode} gives it the wrong role")


def check_costs(source, result, report):
    """The guards of the bill are off unless somebody wants them."""
    table = result["Resources"]["Table"]["Properties"]["OnDemandThroughput"].get("Fn::If", [None])
    off = {"MaxReadUnits": "", "MaxWriteUnits": "", "MonthlyBudget": "0", "BudgetEmail": ""}
    rule = result["Rules"]["BudgetHasEmail"]["Assertions"][0]["Assert"]
    for condition, given in [
        ("BoundsReads", {"MaxReadUnits": "5000"}),
        ("BoundsWrites", {"MaxWriteUnits": "5000"}),
        ("HasBudget", {"MonthlyBudget": "50", "BudgetEmail": "a@example.com"}),
    ]:
        for values, is_on in ((off, False), ({**off, **given}, True)):
            if holds(result["Conditions"][condition], values) != is_on or not holds(rule, values):
                report(f"{condition}: is wrong for {values}")
    for half in ({"MonthlyBudget": "50"}, {"BudgetEmail": "a@example.com"}):
        if holds(rule, {**off, **half}):
            report(f"the rules allow {half} alone")
    if table[0] != "BoundsTable" or result["Resources"]["Budget"].get("Condition") != "HasBudget":
        report("Table, Budget: a guard of the bill is on though nobody wants it")
    for name, value in off.items():
        if str(source["Parameters"][name]["Default"]) != value:
            report(f"{name}: is on by default")


def check_data(result, report):
    for name in ("Table", "TokenSecret", "LogGroup", "DeadLetterBucket"):
        item = result["Resources"][name]
        if item.get("DeletionPolicy") != "Retain" or item.get("UpdateReplacePolicy") != "Retain":
            report(f"{name}: would be deleted with the stack")
    (table,) = (item["Properties"] for item in of_type(result, "AWS::DynamoDB::Table").values())
    if table["BillingMode"] != "PAY_PER_REQUEST":
        report("Table: has units that somebody has to choose")
    if not table["DeletionProtectionEnabled"]:
        report("Table: is not protected from deletion")
    if not table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]:
        report("Table: has no point-in-time recovery")
    # The stack's table, or the one that ExistingTableName names, everywhere.
    for section in ("Resources", "Outputs"):
        for path, part in parts(result[section], (section,)):
            if part in ({"Ref": "Table"}, {"Fn::GetAtt": ["Table", "Arn"]}) and path[-2:] != ("Fn::If", 1):
                report(f"{'.'.join(map(str, path))}: knows the stack's own table only")
            if isinstance(part, dict) and part.get("Fn::If", [None])[0] == "MakesTable":
                if "ExistingTableName" not in names_in(part["Fn::If"][2]):
                    report(f"{'.'.join(map(str, path))}: does not know ExistingTableName")


def check_logs(template, result, report):
    for name, group in of_type(result, "AWS::Logs::LogGroup").items():
        if group["Properties"].get("RetentionInDays") != {"Ref": "LogRetentionDays"}:
            report(f"{template}: {name}: is kept for another time than LogRetentionDays")


def metrics_of(alarm):
    """Namespace, name and dimensions of each metric of an alarm."""
    single = [alarm] if "MetricName" in alarm else []
    terms = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
    for metric in single + terms:
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric.get("Dimensions", [])}
        yield as_text(metric["Namespace"]), metric["MetricName"], dimensions


def period_of(alarm):
    """Of one metric, or of each that an expression adds up."""
    periods = {query["MetricStat"]["Period"] for query in alarm.get("Metrics", []) if "MetricStat" in query}
    (period,) = periods or {alarm["Period"]}
    return period


def as_text(value):
    return value["Fn::Sub"] if isinstance(value, dict) else value


def with_mail(value):
    return isinstance(value, dict) and value.get("Fn::If", [None])[0] == "SendsMail"


def watch_of(source, report):
    """The template of the dashboard and the other alarms, read as what it makes in this stack."""
    watch = yaml_parse(Path(WATCH).read_text())
    given = source["Resources"]["WatchStack"]["Properties"]["Parameters"]
    # As it is with mail; without it there is nothing to watch.
    given = {name: value["Fn::If"][1] if with_mail(value) else value for name, value in given.items()}
    if given.keys() != watch["Parameters"].keys():
        report(f"{WATCH}: its parameters and those given differ: {sorted(given.keys() ^ watch['Parameters'].keys())}")
    for name in given.keys() & source["Parameters"].keys():
        if given[name] != {"Ref": name}:
            report(f"{WATCH}: {name} is given another parameter's value")
    for name in watch["Parameters"].keys() & source["Resources"].keys():
        if given.get(name) != {"Ref": name}:
            report(f"{WATCH}: {name} is given another resource")
    # "Latchkey/${StackName}" there is "Latchkey/${AWS::StackName}" here.
    text = json.dumps(watch["Resources"]).replace("${StackName}", "${AWS::StackName}")
    return filled_in(json.loads(text), given)


def check_metric(who, namespace, name, dimensions, made, report):
    """Whether anybody writes this metric, with these dimensions."""
    if namespace in AWS_METRICS:
        needed, names = AWS_METRICS[namespace]
        if name not in names or not needed <= set(dimensions):
            report(f"{who}: AWS writes no {namespace} {name} by {sorted(dimensions)}")
    elif namespace == OWN_NAMESPACE:
        if set(dimensions) != {"Stack"}:
            report(f"{who}: {name} is written by Stack, not by {sorted(dimensions)}")
    elif (namespace, name) not in made or dimensions:
        report(f"{who}: nothing writes {namespace} {name}")


def check_alarms(source, result, report):
    both = {"Resources": {**watch_of(source, report), **result["Resources"]}}
    made = {
        (as_text(metric["MetricNamespace"]), metric["MetricName"])
        for one in of_type(both, "AWS::Logs::MetricFilter").values()
        for metric in one["Properties"]["MetricTransformations"]
    }
    watched, alarmed = {}, set()
    alarms = of_type(both, "AWS::CloudWatch::Alarm")
    for name, alarm in alarms.items():
        alarm = alarm["Properties"]
        metrics = list(metrics_of(alarm))
        if not 1 <= len(metrics) <= METRICS_OF_AN_ALARM:
            report(f"{name}: has {len(metrics)} metrics")
        for namespace, metric, dimensions in metrics:
            check_metric(name, namespace, metric, dimensions, made, report)
            alarmed.add((namespace, metric))
            if namespace == "AWS/Lambda":
                watched.setdefault(metric, set()).add(dimensions["FunctionName"]["Ref"])
        by_parameter = "Ref" in alarm["Threshold"] if isinstance(alarm["Threshold"], dict) else False
        if by_parameter == (name in AT_ONCE) or (name in AT_ONCE and alarm["Threshold"] != 1):
            report(f"{name}: its threshold is not a parameter, or not 1")
        if "AlarmDescription" not in alarm or not alarm.get("AlarmActions") or not alarm.get("OKActions"):
            report(f"{name}: tells nobody, or not what it means")
        missing = "breaching" if name == "CleanupMissedAlarm" else "notBreaching"
        if alarm.get("TreatMissingData") != missing:
            report(f"{name}: missing data should be {missing}")
        periods, period = alarm["EvaluationPeriods"], period_of(alarm)
        if name in ROLLS_BACK and (period != 60 or not 1 < alarm.get("DatapointsToAlarm", 0) <= periods <= 5):
            report(f"{name}: takes an upgrade back too late, or after a single minute")
        if isinstance(periods, dict):
            periods = source["Parameters"][periods["Ref"]]["MaxValue"]
        if period * periods > (LONGEST_LOOK_BACK if period >= 3600 else 86_400):
            report(f"{name}: CloudWatch does not look back so far")

    # A failed invocation of any function is a line of Lambda's in the one group, from which one metric is made. What Lambda
    # has no room for is a 5xx of the API; the authorizer is behind another.
    if "AuthorizerFunction" not in watched.get("Throttles", set()):
        report("AuthorizerFunction: no alarm watches whether it is throttled")
    for metric in made - alarmed:
        report(f"{metric}: is made from logs, and no alarm watches it")
    if alarms["CleanupMissedAlarm"]["Properties"]["EvaluationPeriods"] != {"Ref": "CleanupOverdueHours"}:
        report("CleanupMissedAlarm: when it goes off is not a parameter")

    (dashboard,) = of_type(both, "AWS::CloudWatch::Dashboard").values()
    body = dashboard["Properties"]["DashboardBody"]["Fn::Sub"]
    shown = set()
    for widget in json.loads(body)["widgets"]:
        title = f"dashboard, {widget['properties']['title']!r}"
        for row in widget["properties"].get("metrics", []):
            row = [cell for cell in row if not isinstance(cell, dict)]
            if row:
                namespace, name, *dimensions = row
                shown.add((namespace, name))
                check_metric(title, namespace, name, dict(zip(dimensions[::2], dimensions[1::2])), made, report)
    for namespace, name in alarmed - shown:
        report(f"the dashboard does not show {namespace} {name}, for which there is an alarm")
    return len(alarms)


def check_order(result, report):
    """No resource waits for itself. CloudFormation would say so, but only in an account; update policies count."""
    waits = {
        name: (set(names_in(item)) | set(as_list(item.get("DependsOn", [])))) & result["Resources"].keys()
        for name, item in result["Resources"].items()
    }
    while free := {name for name, others in waits.items() if not others & waits.keys()}:
        waits = {name: others for name, others in waits.items() if name not in free}
    if waits:
        report(f"these wait for each other: {sorted(waits)}")


def check_edge(report):
    edge = yaml_parse(Path(EDGE).read_text())
    (distribution,) = (item["Properties"] for item in of_type(edge, "AWS::CloudFront::Distribution").values())
    config = distribution["DistributionConfig"]
    policies = {
        name: item["Properties"]["CachePolicyConfig"]
        for name, item in of_type(edge, "AWS::CloudFront::CachePolicy").items()
    }
    paths = {"default": config["DefaultCacheBehavior"]}
    paths.update({behavior["PathPattern"]: behavior for behavior in config["CacheBehaviors"]})
    if paths.keys() - {"default"} != CACHED:
        report(f"{EDGE}: caches other paths than {sorted(CACHED)}")
    for path, behavior in paths.items():
        policy = policies[behavior["CachePolicyId"]["Ref"]]
        key = policy["ParametersInCacheKeyAndForwardedToOrigin"]["HeadersConfig"]["Headers"]
        if policy["MinTTL"] != 0 or policy["DefaultTTL"] != 0:
            report(f"{EDGE}: {path} is cached without being asked to")
        if path == "default" and (policy["MaxTTL"] > 1 or "Authorization" not in key):
            report(f"{EDGE}: what needs a token is cached, or gets none")
        if behavior["ViewerProtocolPolicy"] != "https-only":
            report(f"{EDGE}: {path} is answered without TLS")
    (passed,) = (item["Properties"] for item in of_type(edge, "AWS::CloudFront::OriginRequestPolicy").values())
    headers = set(passed["OriginRequestPolicyConfig"]["HeadersConfig"]["Headers"])
    if "Host" in headers or len(headers) > 10:
        report(f"{EDGE}: passes Host on, at which API Gateway answers 403, or more than 10 headers")
    (origin,) = config["Origins"]
    proof = [as_text(header["HeaderValue"]) for header in origin["OriginCustomHeaders"]]
    if proof != ["{{resolve:secretsmanager:${SecretArn}:SecretString}}"]:
        report(f"{EDGE}: does not prove itself to the functions")
    if origin["CustomOriginConfig"]["OriginProtocolPolicy"] != "https-only":
        report(f"{EDGE}: calls the API without TLS")
    if config.get("WebACLId") != {"Ref": "WebAclArn"} or "Default" in edge["Parameters"]["WebAclArn"]:
        report(f"{EDGE}: can be made without a web ACL")

    firewall = yaml_parse(Path(WEB_ACL).read_text())
    (acl,) = (item["Properties"] for item in of_type(firewall, "AWS::WAFv2::WebACL").values())
    statements = [rule["Statement"] for rule in acl["Rules"]]
    rates = [statement["RateBasedStatement"] for statement in statements if "RateBasedStatement" in statement]
    if acl["Scope"] != "CLOUDFRONT" or not rates:
        report(f"{WEB_ACL}: bounds nothing at CloudFront")
    for rate in rates:
        if "Ref" not in rate["Limit"]:
            report(f"{WEB_ACL}: a rate is not a parameter")
    check_logs(WEB_ACL, firewall, report)


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
    for nested in of_type(packaged, "AWS::CloudFormation::Stack").values():
        nested["Properties"]["TemplateURL"] = "https://s3.amazonaws.com/bucket/key"
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    result = transform(packaged, parameters, NoManagedPolicies())
    Path(output).write_text(json.dumps(result, indent=2) + "\n")

    problems = []
    check_routes(source, result, problems.append)
    check_functions(source, result, problems.append)
    check_api(source, result, problems.append)
    check_domain(source, result, problems.append)
    check_cleanup(result, problems.append)
    check_events(result, problems.append)
    check_mail(result, problems.append)
    check_authorizer(result, problems.append)
    check_costs(source, result, problems.append)
    check_data(result, problems.append)
    check_logs(template, result, problems.append)
    alarms = check_alarms(source, result, problems.append)
    check_order(result, problems.append)
    check_edge(problems.append)
    for problem in problems:
        print(f"{template}: {problem}", file=sys.stderr)
    if not problems:
        functions = len(of_type(result, "AWS::Lambda::Function"))
        print(
            f"{template}: {functions} functions, {len(routes_meant(source))} routes, {alarms} alarms, as meant after "
            "the transform"
        )
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
