"""The API as it describes itself: complete, valid OpenAPI 3.1, and true."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import yaml
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.test import Client
from django.urls import reverse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode

from tests.isolation.everything import everything_at, with_model, with_table
from tests.isolation.test_every_address import PARTS, ROUTES, client_of
from tests.world import World
from trials.models import Membership

EXAMPLES = 4
#: What a member may get back; a refusal of what was sent is an answer, a failure of the server is none.
REFUSALS = (400, 403, 404, 405, 406, 409, 415)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    generator = SchemaGenerator()
    return yaml.safe_load(yaml.safe_dump(generator.get_schema(request=None, public=True), sort_keys=False))


def test_the_schema_is_valid_and_nothing_in_it_was_guessed(tmp_path: Any) -> None:
    file = tmp_path / "schema.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(file))
    document = yaml.safe_load(file.read_text())
    assert document["openapi"].startswith("3.1")
    validate_schema(document)


def test_every_route_of_the_api_is_described(document: dict[str, Any]) -> None:
    routes = {route for route in ROUTES if route.partition(":")[0].endswith("_api")}
    described = set(document["paths"])
    for route in routes:
        parts = PARTS[route]
        words = {"trial": "trial", "form": "form", "key": uuid.UUID(int=1)}
        address = reverse(route, kwargs={part: words.get(part, 7) for part in parts})
        spoken = "/".join(
            "{}" if part in {str(words.get(name, 7)) for name in parts} else part for part in address.split("/")
        )
        assert spoken in {re.sub(r"{\w+}", "{}", path) for path in described}, (
            f"{route} ({address}) is not in the schema"
        )
    subjects = ("participants", "eligibility", "draws", "adverse-events", "worksheets", "administrations")
    for subject in (*subjects, "endpoints", "gates", "exports"):
        assert any(f"/{subject}/" in path for path in described), subject


@pytest.mark.django_db
def test_the_schema_is_served_to_who_is_logged_in(world: World) -> None:
    address = reverse("schema")
    assert Client().get(address).status_code in (401, 403)
    answer = client_of(world.user("bob")).get(address)
    assert answer.status_code == 200
    assert "openapi: 3.1" in answer.content.decode()


# --- It does what it says ------------------------------------------------------------------------------------------


@pytest.fixture
def one_connection(db: None) -> Iterator[None]:
    """Requests of a real WSGI handler stay in the test's transaction."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


TOKEN = "c" * 32


def cookies_of(member: Membership) -> dict[str, str]:
    """The session of a person, with the token that guards it against other sites' forms."""
    return {"sessionid": client_of(member.user).cookies["sessionid"].value, "csrftoken": TOKEN}


def tried(operation: Any, cases: SearchStrategy[schemathesis.Case], who: dict[str, str]) -> Counter[int]:
    """Send some of ``cases``; every answer must be one that the schema describes. How often each status came."""
    asked: Counter[int] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def ask(case: schemathesis.Case) -> None:
        with transaction.atomic():
            answer = case.call(cookies=who, headers={"X-CSRFToken": TOKEN, "Accept-Encoding": "identity"})
            transaction.set_rollback(True)
        asked[answer.status_code] += 1
        said = f"{answer.status_code} to {case.method} {case.formatted_path} {case.query} {case.body}"
        assert answer.status_code < 300 or answer.status_code in REFUSALS, said
        operation.validate_response(answer, case=case)

    ask()
    return asked


@pytest.mark.slow
@pytest.mark.usefixtures("one_connection")
def test_no_request_makes_the_server_fail_and_every_answer_is_as_described(
    world: World, document: dict[str, Any]
) -> None:
    """A few requests for each operation, as described and against the description, on records that there are."""
    table, model = with_table(world), with_model(world)
    at = everything_at(world, world.bob, world.alice)
    api = schemathesis.openapi.from_dict(document)
    api.app = get_wsgi_application()
    sessions = {name: cookies_of(world.members[name]) for name in ("alice", "bob")}
    asked: Counter[int] = Counter()

    for found in api.get_all_operations():
        operation = found.ok()
        known = {"trial": "larch", "form": "VS", "stage": 1, "run": 1, "table": table, "model": model, **at.keys}
        known["event"] = at.keys["adverse_events.event" if "adverse-events" in operation.path else "casebook.event"]
        known["key"] = str(known["key"])
        path = {one.name: known[one.name] for one in operation.path_parameters}
        who = sessions["bob" if "lab-imports" in operation.path else "alice"]

        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
                continue

            cases = operation.as_strategy(generation_mode=mode, path_parameters=path)
            asked += tried(operation, cases, who)

    assert asked.total() > 150
    answered = asked[200] + asked[201] + asked[202]
    assert answered > 40, f"nearly everything was refused, so little was tried: {asked}"
