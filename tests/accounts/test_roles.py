"""The role table: deny by default, and what no role may hold (AC2, AC8, CD2, ES5)."""

import pytest

from accounts.roles import ROLES, SITE_DATA_PERMISSIONS, Permission, Scope, Side, role_allows

READING = {
    Permission.VIEW_PARTICIPANT,
    Permission.VIEW_ALLOCATION,
    Permission.VIEW_DOSE,
    Permission.VIEW_DASHBOARD,
    Permission.EXPORT_DATA,
    Permission.VIEW_AUDIT,
}


@pytest.mark.parametrize("permission", Permission)
def test_each_permission_is_somebodys_and_has_a_sentence(permission):
    assert any(permission in role.permissions for role in ROLES.values())
    assert permission.meaning.endswith(".")
    assert permission.meaning[0].isupper()
    assert "\n" not in permission.meaning


def test_no_two_permissions_have_the_same_sentence():
    # An Enum takes a second member with the same value for an alias of the first, without a word.
    assert len(Permission) == len(Permission.__members__)


@pytest.mark.parametrize("key, role", ROLES.items())
def test_a_role_can_be_read_aloud(key, role):
    assert role.key == key
    assert role.display_name
    assert role.description.strip().endswith(".")
    assert role.permissions <= set(Permission)


@pytest.mark.requirement("CD2")
@pytest.mark.parametrize("key, role", ROLES.items())
def test_only_site_roles_touch_what_a_site_entered(key, role):
    if role.side is not Side.SITE:
        assert not role.permissions & SITE_DATA_PERMISSIONS


def test_a_role_for_all_sites_is_not_a_sites_role():
    assert all((role.scope is Scope.SITE) == (role.side is Side.SITE) for role in ROLES.values())


def test_the_inspector_only_reads():
    assert ROLES["inspector"].permissions <= READING
    assert Permission.VIEW_AUDIT in ROLES["inspector"].permissions


@pytest.mark.requirement("AC8")
@pytest.mark.parametrize(
    "one, other",
    [
        (Permission.DRAFT_PROTOCOL, Permission.PUBLISH_PROTOCOL),
        (Permission.ENTER_DOSING_TABLE, Permission.APPROVE_DOSING_TABLE),
        (Permission.RAISE_DATA_QUERY, Permission.ANSWER_DATA_QUERY),
        (Permission.MANAGE_MEMBERS, Permission.RECORD_OBSERVATION),
        (Permission.MANAGE_MEMBERS, Permission.RUN_ANALYSIS),
        (Permission.LOCK_DATA, Permission.SIGN_CASEBOOK),
    ],
)
def test_duties_that_no_single_role_holds_together(one, other):
    assert not any({one, other} <= role.permissions for role in ROLES.values())


def test_readers_of_endpoints_are_blind():
    blind = {Permission.VIEW_ALLOCATION, Permission.UNBLIND_PARTICIPANT, Permission.VIEW_DOSE, Permission.EXPORT_DATA}
    assert not ROLES["endpoint_reader"].permissions & blind


@pytest.mark.parametrize(
    "key, permission, allowed",
    [
        ("coordinator", Permission.RECORD_OBSERVATION, True),
        ("coordinator", Permission.WAIVE_CRITERION, False),
        ("investigator", Permission.WAIVE_CRITERION, True),
        ("monitor", Permission.RECORD_OBSERVATION, False),
        ("no_such_role", Permission.VIEW_PARTICIPANT, False),
    ],
)
def test_role_allows(key, permission, allowed):
    assert role_allows(key, permission) is allowed


@pytest.mark.django_db
def test_the_role_page_prints_the_whole_table(client, alice):
    client.force_login(alice)
    page = client.get("/account/roles/").content.decode()
    assert all(permission.meaning in page for permission in Permission)
    assert page.count(">yes<") == sum(len(role.permissions) for role in ROLES.values())
