"""Whose turn it is to take a connection."""

from app.web.server.balance import Balance


def test_it_is_the_turn_of_whoever_has_fewer() -> None:
    one, other = Balance(7, 2), Balance(8, 2)
    assert not one.is_turn_of_another(5)
    other.say(4)
    assert one.is_turn_of_another(5)
    assert not one.is_turn_of_another(4)
    other.leave()
    assert not one.is_turn_of_another(5)
