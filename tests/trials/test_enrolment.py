from tests.world import World


def test_smoke(world: World) -> None:
    participant = world.enrolled()
    assert participant.number == "P001"
    print(list(participant.visits.values_list("code", "planned_date", "earliest_date")))
